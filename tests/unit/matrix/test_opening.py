from collections.abc import AsyncIterator

import msgspec
import pytest

from bridge.matrix import late
from bridge.matrix.wires import Says, order
from bridge.model.delivery import Refusal, Unreadable
from bridge.model.events import Command, Message
from bridge.model.records import Kind, Secret
from tests.homeserver import Fault
from tests.unit.matrix.megolm.party import ALICE
from tests.unit.matrix.secret import SecretWorld, secret_world
from tests.unit.matrix.world import BOB, BOT, GHOST, HALL


@pytest.fixture
async def secret() -> AsyncIterator[SecretWorld]:
    async with secret_world() as world:
        world.room()
        world.matrix.link()
        await world.listens()
        yield world


def words(read: object) -> str:
    assert isinstance(read, Message), read
    return read.content.body.plain


async def test_what_is_read_twice_says_the_same(secret: SecretWorld) -> None:
    event = await secret.alice_says("hello")
    await secret.listens()

    assert words(await secret.reads(event)) == "hello"
    assert words(await secret.reads(event)) == "hello"


async def test_a_command_is_obeyed_and_a_replay_of_it_is_not(
    secret: SecretWorld,
) -> None:
    event = await secret.alice_says("!xmpp status")
    await secret.listens()

    read = await secret.reads(event)
    again = await secret.reads({**event, "event_id": "$copy"})

    assert isinstance(read, Command)
    assert read.words == "status"
    assert isinstance(again, Unreadable)
    assert again.why is Refusal.UNDECIPHERABLE
    assert "copy" in again.detail


async def test_what_another_claims_to_have_said_is_refused(
    secret: SecretWorld,
) -> None:
    event = await secret.alice_says("hello")
    await secret.listens()

    read = await secret.reads({**event, "sender": BOB})

    assert isinstance(read, Unreadable)


async def test_a_late_key_lets_later_ones_pass_and_the_message_comes_late(
    secret: SecretWorld,
) -> None:
    """E56."""
    lates = secret.secrecy.lates
    first = await secret.alice_says("first")
    inbox, held = _hold(secret)
    first_read = await secret.reads(first)
    late_one = lates._late[first["event_id"]]
    inbox += held
    await secret.listens()
    await lates._look(secret.secrecy.feed)

    (arrival,) = secret.matrix.host.kept
    read = await secret.reads(first, arrival.key)

    assert first_read is None
    assert late_one.turn == 1
    assert words(read) == "first"
    assert len(lates) == 0
    assert [s for s in await _secrets(secret) if s.owner == late.OWNER] == []


async def test_a_key_that_does_not_come_is_told_of_once_and_when_it_comes(
    secret: SecretWorld,
) -> None:
    lates, host = secret.secrecy.lates, secret.matrix.host
    one, two = await secret.alice_says("one"), await secret.alice_says("two")
    inbox, held = _hold(secret)
    await secret.reads(one)
    await secret.reads(two)
    _age(secret, 11)
    await lates._look(secret.secrecy.feed)
    await lates._look(secret.secrecy.feed)

    ((_, notice),) = host.later_wires
    said = order(notice.data)
    assert isinstance(said, Says)
    assert late.UNDECIPHERABLE.encode() in bytes(said.content)
    lates.said(said.about, "$notice")
    inbox += held
    await secret.listens()
    await lates._look(secret.secrecy.feed)
    for arrival, event in zip(host.kept, (one, two), strict=True):
        await secret.reads(event, arrival.key)

    assert len(host.later_wires) == 2
    edit = order(host.later_wires[1][1].data)
    assert isinstance(edit, Says)
    assert b'"event_id":"$notice"' in bytes(edit.content)
    assert late.CARRIED.encode() in bytes(edit.content)


async def test_all_that_waits_outlives_a_restart(secret: SecretWorld) -> None:
    event = await secret.alice_says("hello")
    inbox, held = _hold(secret)
    await secret.reads(event)
    inbox += held

    await secret.matrix.restarts()
    await secret.listens()
    await secret.secrecy.lates._look(secret.secrecy.feed)
    (arrival,) = secret.matrix.host.kept

    assert words(await secret.reads(event, arrival.key)) == "hello"


async def test_a_try_in_vain_can_be_made_again(secret: SecretWorld) -> None:
    event = await secret.alice_says("hello")
    inbox, held = _hold(secret)
    await secret.reads(event)
    await secret.matrix.restarts()
    await secret.secrecy.lates._look(secret.secrecy.feed)
    (first,) = secret.matrix.host.kept
    assert await secret.reads(event, first.key) is None

    inbox += held
    await secret.listens()
    await secret.secrecy.lates._look(secret.secrecy.feed)
    second = secret.matrix.host.kept[-1]

    assert second.key != first.key
    assert words(await secret.reads(event, second.key)) == "hello"


async def test_after_a_day_nobody_waits(secret: SecretWorld) -> None:
    event = await secret.alice_says("hello")
    _hold(secret)
    await secret.reads(event)

    _age(secret, 25 * 3600)
    await secret.secrecy.lates._look(secret.secrecy.feed)

    assert len(secret.secrecy.lates) == 0
    assert [s for s in await _secrets(secret) if s.owner == late.OWNER] == []


async def test_a_key_that_is_withheld_is_told_in_words(secret: SecretWorld) -> None:
    event = await secret.alice_says("hello")
    inbox, _ = _hold(secret)
    content = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "room_id": HALL,
        "session_id": event["content"]["session_id"],
        "sender_key": "x",
        "code": "m.unverified",
    }
    inbox.append({"type": "m.room_key.withheld", "sender": ALICE, "content": content})
    await secret.listens()

    assert await secret.reads(event) is None
    await secret.secrecy.lates._look(secret.secrecy.feed)

    ((_, notice),) = secret.matrix.host.later_wires
    assert b"Not delivered" in notice.data
    assert late.UNDECIPHERABLE.encode() not in notice.data


async def test_in_a_chat_the_ghost_is_asked_for_the_key(secret: SecretWorld) -> None:
    secret.matrix.link(Kind.DIRECT, agent=GHOST)
    await secret.matrix.adapter.exists("juliet@capulet.lit")
    secret.matrix.joins(HALL, GHOST)
    event = await secret.alice_says("hello")
    _empty(secret, BOT)

    assert words(await secret.reads(event)) == "hello"


async def test_a_sender_whose_devices_cannot_be_asked_for_waits(
    secret: SecretWorld,
) -> None:
    event = await secret.alice_says("hello")
    await secret.listens()
    error = {"errcode": "M_FORBIDDEN", "error": "no"}
    secret.matrix.server.faults.append(Fault("keys/query", 403, error, times=9))

    assert await secret.reads(event) is None
    assert len(secret.secrecy.lates) == 1


async def test_what_is_bridged_nowhere_is_nobodys_business(
    secret: SecretWorld,
) -> None:
    event = await secret.alice_says("hello")
    secret.matrix.joins(HALL, BOB)
    secret.matrix.host.portals.clear()

    assert await secret.reads(event) is None
    assert await secret.reads({**event, "content": {}}) is None
    assert len(secret.secrecy.lates) == 0


def _hold(secret: SecretWorld) -> tuple[list[object], list[object]]:
    """Keep from the bot what was sent to it; return its inbox, and that."""
    (device,) = secret.matrix.server.keys.device_keys[BOT]
    inbox = secret.matrix.server.keys.inboxes[BOT, device]
    held = list(inbox)
    inbox.clear()
    return inbox, held  # type: ignore[return-value]


def _empty(secret: SecretWorld, user: str) -> None:
    (device,) = secret.matrix.server.keys.device_keys[user]
    secret.matrix.server.keys.inboxes[user, device].clear()


def _age(secret: SecretWorld, by_s: float) -> None:
    """Let all that waits have waited for so long."""
    waiting = secret.secrecy.lates._late
    for name, one in tuple(waiting.items()):
        waiting[name] = msgspec.structs.replace(one, at=one.at - by_s)


async def _secrets(secret: SecretWorld) -> list[Secret]:
    return list(await secret.matrix.store.load(Secret))
