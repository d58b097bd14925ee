from typing import Any

import pytest

from bridge.core.ports import Unit
from bridge.matrix.megolm.letterbox import VERIFIERS_MAX, Letterbox
from bridge.matrix.megolm.own import Own
from bridge.matrix.megolm.withheld import Refusals
from tests.unit.matrix.megolm.key_server import FakeKeyServer
from tests.unit.matrix.megolm.party import ALICE, BOT, ROOM, Party, room


@pytest.fixture
async def bot(bridge: Party) -> Own:
    await bridge.joins(BOT)
    return await bridge.machine._accounts.get(BOT)


@pytest.fixture
def box(bridge: Party) -> Letterbox:
    machine = bridge.machine
    return Letterbox(machine._vault, machine._devices, machine._inbound, Refusals())


async def letter(server: FakeKeyServer, alice: Party, own: Own) -> dict[str, Any]:
    await alice.says(ALICE, room(BOT), "hello")
    return server.take(BOT, own.device)[0]


async def test_what_comes_twice_is_taken_once_and_staged_twice(
    server: FakeKeyServer, alice: Party, bot: Own, box: Letterbox
) -> None:
    event = await letter(server, alice, bot)
    first, again = Unit(), Unit()

    keys = [await box.take(bot, unit, event) for unit in (first, again)]

    assert keys[0]
    assert keys[0] == keys[1]
    assert keys[0][0] == ROOM
    assert first.late
    assert first.late == again.late
    assert bot.broken == {}


async def test_what_cannot_be_read_is_noted_as_broken_once(
    server: FakeKeyServer, alice: Party, bot: Own, box: Letterbox
) -> None:
    event = await letter(server, alice, bot)
    await box.take(bot, Unit(), event)
    bot.peers.clear()
    changed = event | {"more": 1}
    unit = Unit()

    assert await box.take(bot, unit, changed) is None

    assert list(bot.broken.values()) == [ALICE]
    assert unit == Unit()


async def test_who_verifies_waits_for_an_answer_but_not_without_end(
    bot: Own, box: Letterbox
) -> None:
    for number in range(VERIFIERS_MAX + 5):
        content = {"transaction_id": str(number)}
        event = {
            "type": "m.key.verification.start",
            "sender": ALICE,
            "content": content,
        }
        await box.take(bot, Unit(), event)

    assert len(bot.verifiers) == VERIFIERS_MAX


async def test_who_has_no_device_takes_nothing(
    server: FakeKeyServer, alice: Party, bot: Own, box: Letterbox
) -> None:
    event = await letter(server, alice, bot)
    nobody = Own("@_xmpp_nobody:hs", {}, 0)

    assert await box.take(nobody, Unit(), event) is None
