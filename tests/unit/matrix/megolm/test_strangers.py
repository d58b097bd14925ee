"""What comes to devices of ours from people who should not be believed."""

from typing import Any

import pytest
import vodozemac

from bridge.core.ports import Unit
from bridge.matrix.megolm.olm import begin, seal
from bridge.matrix.megolm.own import Own
from bridge.matrix.megolm.persons import Device
from bridge.matrix.megolm.ports import Encrypted, Plain
from tests.unit.matrix.megolm.key_server import FakeKeyServer, Wild
from tests.unit.matrix.megolm.party import ALICE, BOB, BOT, ROOM, Party, room

HERE = room(BOT, ALICE)


@pytest.fixture
async def bot(bridge: Party) -> Party:
    await bridge.joins(BOT)
    return bridge


async def letter(sender: Party, to: Party, kind: str, content: Wild) -> dict[str, Any]:
    """Write anything by Olm, from Alice to the bot."""
    her: Own = await sender.machine._accounts.get(ALICE)
    bot: Own = await to.machine._accounts.get(BOT)
    device = Device(BOT, bot.device, bot.curve, bot.ed25519)
    claimed = await sender.server.claim_keys({BOT: {bot.device: ""}})
    key = next(iter(claimed["one_time_keys"][BOT][bot.device].values()))
    assert begin(her, device, key)
    sealed = seal(her, Unit(), device, kind, content)
    return {"type": "m.room.encrypted", "sender": ALICE, "content": sealed}


@pytest.mark.parametrize(
    "kind",
    ["m.forwarded_room_key", "m.dummy", "m.secret.send", "m.room_key_request", "x"],
)
async def test_only_a_room_key_gives_a_session(
    server: FakeKeyServer, bot: Party, alice: Party, kind: str
) -> None:
    """E62: CVE-2022-39249, CVE-2022-39252: a key that somebody forwards is none.

    S19, CVE-2021-40823, CVE-2021-40824: nor is one given to who asks, whoever it is.
    """
    session = vodozemac.GroupSession()
    content = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "room_id": ROOM,
        "session_id": session.session_id,
        "session_key": session.session_key.to_base64(),
        "sender_key": "c",
        "sender_claimed_ed25519_key": "e",
        "forwarding_curve25519_key_chain": [],
    }

    came = await letter(alice, bot, kind, content)
    asked = dict(server.asked)

    forwarded = await bot.takes(BOT, [came])

    assert server.asked == asked
    given = await bot.takes(BOT, [await letter(alice, bot, "m.room_key", content)])

    assert forwarded.keys == frozenset()
    assert given.keys == {(ROOM, session.session_id)}


@pytest.mark.parametrize(
    "event",
    [
        {"type": "m.room_key", "sender": ALICE, "content": {"room_id": ROOM}},
        {"type": "m.forwarded_room_key", "sender": ALICE, "content": {}},
        {"type": "m.room_key_request", "sender": BOB, "content": {"action": "request"}},
        {"type": "m.secret.request", "sender": ALICE, "content": {"name": "x"}},
        {"type": "m.room.encrypted", "sender": ALICE, "content": None},
        {"type": "m.room.encrypted", "sender": ALICE},
        {"type": "m.room.encrypted", "sender": None, "content": {}},
        {"type": "m.room.encrypted", "sender": ALICE, "content": {"a": "\ud800"}},
        {"type": None},
        {},
    ],
)
async def test_what_strangers_send_is_neither_taken_nor_answered(
    server: FakeKeyServer, bot: Party, event: dict[str, Any]
) -> None:
    """E62, S19: nobody gets a key by asking for it."""
    asked = dict(server.asked)

    news = await bot.takes(BOT, [event])

    assert news.keys == frozenset()
    assert server.asked == asked


async def room_key(alice: Party, bot: Party) -> tuple[dict[str, Any], str]:
    """Have Alice write a letter with a key; return it and the session."""
    session = vodozemac.GroupSession()
    content = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "room_id": ROOM,
        "session_id": session.session_id,
        "session_key": session.session_key.to_base64(),
    }
    return await letter(alice, bot, "m.room_key", content), session.session_id


async def test_a_key_that_megolm_carried_is_none(bot: Party, alice: Party) -> None:
    """E63: CVE-2022-39251: Olm and Megolm are not the same."""
    await alice.says(ALICE, HERE, "good morrow")
    await bot.hears(BOT)
    session = vodozemac.GroupSession()
    key = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "room_id": ROOM,
        "session_id": session.session_id,
        "session_key": session.session_key.to_base64(),
    }
    unit = Unit()
    sealed = await alice.machine.encrypt(unit, ALICE, HERE, "m.room_key", key)
    await alice.store.commit(unit)
    assert isinstance(sealed, Encrypted)
    event = alice.event(ALICE, ROOM, sealed.content)

    news = await bot.takes(BOT, [event])
    said = await bot.reads(event)

    assert news.keys == frozenset()
    assert isinstance(said, Plain)  # in the room it is an event of an odd type
    assert not await bot.machine._inbound.knows((ROOM, session.session_id))


async def test_a_letter_that_calls_itself_megolm_is_none(
    bot: Party, alice: Party
) -> None:
    """E63: CVE-2022-39251: what it is called has to be what it is."""
    event, session = await room_key(alice, bot)
    called = {**event["content"], "algorithm": "m.megolm.v1.aes-sha2"}

    lied = await bot.takes(BOT, [{**event, "content": called}])
    told = await bot.takes(BOT, [event])

    assert lied.keys == frozenset()
    assert told.keys == {(ROOM, session)}


async def test_a_letter_in_the_name_of_another_gives_nothing(
    bot: Party, alice: Party
) -> None:
    """S14, CVE-2025-48937: who sent it, the homeserver cannot say alone."""
    event, session = await room_key(alice, bot)

    news = await bot.takes(BOT, [{**event, "sender": BOB}])

    assert news.keys == frozenset()
    assert not await bot.machine._inbound.knows((ROOM, session))
