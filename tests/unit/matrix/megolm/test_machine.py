"""The Olm machine, asked as the adapter asks it."""

import asyncio
import copy
from typing import Any

import pytest

from bridge.core.ports import Unit
from bridge.matrix.megolm.machine import Machine
from bridge.matrix.megolm.ports import (
    Fault,
    Feed,
    Plain,
    Rejected,
    Role,
    Trust,
    Unknown,
    Withheld,
)
from tests.unit.matrix.megolm.key_server import FakeKeyServer, Wild
from tests.unit.matrix.megolm.party import (
    ALICE,
    BOB,
    BOT,
    GHOST,
    ROOM,
    Fuse,
    Party,
    PowerCutError,
    room,
    text,
)

HERE = room(BOT, ALICE)


@pytest.fixture
async def bot(bridge: Party) -> Party:
    await bridge.joins(BOT)
    return bridge


async def test_what_a_ghost_says_is_read_by_who_is_in_the_room(
    bridge: Party, alice: Party
) -> None:
    event = await bridge.says(GHOST, room(GHOST, ALICE), "good morrow")
    await alice.hears(ALICE)

    opened = await alice.reads(event)

    assert opened == Plain("m.room.message", text("good morrow"), Trust.SIGNED)


async def test_the_bot_reads_what_people_say(bot: Party, alice: Party) -> None:
    event = await alice.says(ALICE, HERE, "good morrow")
    news = await bot.hears(BOT)

    opened = await bot.reads(event)

    assert opened == Plain("m.room.message", text("good morrow"), Trust.SIGNED)
    assert news.keys == {(ROOM, event["content"]["session_id"])}


async def test_a_ghost_reads_what_is_said_to_it_alone(
    bridge: Party, alice: Party
) -> None:
    await bridge.joins(GHOST, Role.CONTACT)
    event = await alice.says(ALICE, room(GHOST, ALICE), "good morrow")

    await bridge.hears(GHOST)

    assert await bridge.understands(event) == "good morrow"


async def test_what_was_read_is_read_again_after_a_restart(
    bot: Party, alice: Party
) -> None:
    event = await alice.says(ALICE, HERE, "good morrow")
    await bot.hears(BOT)
    await bot.reads(event)

    await bot.start()

    assert await bot.understands(event) == "good morrow"


async def test_words_whose_key_comes_late_wait_for_it(bot: Party, alice: Party) -> None:
    event = await alice.says(ALICE, HERE, "good morrow")
    session = event["content"]["session_id"]
    assert await bot.reads(event) == Unknown(session)

    async with asyncio.timeout(1), asyncio.TaskGroup() as tasks:
        tasks.create_task(bot.machine.key(ROOM, session))
        await asyncio.sleep(0)
        await bot.hears(BOT)
    await bot.machine.key(ROOM, session)  # known: nobody waits

    assert await bot.understands(event) == "good morrow"


async def test_why_a_key_does_not_come_is_told(bot: Party, alice: Party) -> None:
    event = await alice.says(ALICE, HERE, "good morrow")
    session = event["content"]["session_id"]
    content = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "room_id": ROOM,
        "session_id": session,
        "sender_key": "c",
        "code": "m.unverified",
    }
    said = {"type": "m.room_key.withheld", "sender": ALICE, "content": content}
    await bot.takes(BOT, [said])

    opened = await bot.reads(event)

    assert isinstance(opened, Withheld)
    assert opened.code == "m.unverified"


@pytest.mark.parametrize("lost", [1, 2, 3, 4])
async def test_keys_are_not_lost_however_the_power_goes(
    server: FakeKeyServer, bot: Party, alice: Party, lost: int
) -> None:
    """The feed's token is not kept either, so the same comes again."""
    event = await alice.says(ALICE, HERE, "good morrow")
    device = await bot.machine.device(BOT)
    assert device
    came = server.take(BOT, device)
    bot.step = server.step = Fuse(lost)
    try:
        await bot.takes(BOT, came, one_time=0)
    except PowerCutError:
        bot.step = server.step = lambda _: None
        await bot.start()
        await bot.takes(BOT, came)
    bot.step = server.step = lambda _: None

    assert await bot.understands(event) == "good morrow"
    assert server.refused == []


async def test_a_feed_that_was_not_written_is_written_when_it_comes_again(
    server: FakeKeyServer, bot: Party, alice: Party
) -> None:
    event = await alice.says(ALICE, HERE, "good morrow")
    device = await bot.machine.device(BOT)
    assert device
    feed = Feed(server.take(BOT, device))
    first = await bot.machine.received(Unit(), BOT, feed)  # never committed

    unit = Unit()
    again = await bot.machine.received(unit, BOT, feed)
    await bot.store.commit(unit)
    await bot.start()

    assert first == again
    assert await bot.understands(event) == "good morrow"
    assert (await bot.machine._accounts.get(BOT)).broken == {}


async def test_a_message_that_comes_again_after_a_restart_breaks_nothing(
    server: FakeKeyServer, bot: Party, alice: Party
) -> None:
    await alice.says(ALICE, HERE, "good morrow")
    device = await bot.machine.device(BOT)
    assert device
    came = server.take(BOT, device)
    await bot.takes(BOT, came)
    await bot.start()

    await bot.takes(BOT, came)

    assert server.asked["claim_keys"] == 1


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"algorithm": "m.megolm.v9"}, Fault.ALGORITHM),
        ({"algorithm": "m.olm.v1.curve25519-aes-sha2"}, Fault.ALGORITHM),
        ({"algorithm": None}, Fault.MALFORMED),
        ({"session_id": 1}, Fault.MALFORMED),
        ({"ciphertext": {}}, Fault.MALFORMED),
        ({"ciphertext": []}, Fault.MALFORMED),
        ({"ciphertext": ""}, Fault.MALFORMED),
    ],
)
async def test_what_is_no_megolm_is_refused(
    bot: Party, alice: Party, change: dict[str, Any], fault: Fault
) -> None:
    event = await alice.says(ALICE, HERE, "good morrow")
    await bot.hears(BOT)
    event["content"] |= change

    assert await bot.reads(event) == Rejected(fault)


@pytest.mark.parametrize("content", [None, [], "x"])
async def test_content_that_is_none_is_refused(bot: Party, content: Wild) -> None:
    event = bot.event(ALICE, ROOM, {}) | {"content": content}

    assert await bot.reads(event) == Rejected(Fault.MALFORMED)


async def test_words_in_the_mouth_of_another_are_refused(
    bot: Party, alice: Party
) -> None:
    event = await alice.says(ALICE, HERE, "good morrow")
    await bot.hears(BOT)

    assert await bot.reads(event | {"sender": BOB}) == Rejected(Fault.FOREIGN)


async def test_words_that_are_said_twice_are_said_once(
    bot: Party, alice: Party
) -> None:
    event = await alice.says(ALICE, HERE, "good morrow")
    await bot.hears(BOT)
    await bot.reads(event)

    replayed = await bot.reads(event | {"event_id": "$again"})

    assert replayed == Rejected(Fault.REPLAYED)
    assert await bot.understands(event) == "good morrow"


async def test_when_one_time_keys_are_used_up_the_fallback_key_serves(
    server: FakeKeyServer, bot: Party
) -> None:
    device = await bot.machine.device(BOT)
    assert device
    server.one_time[BOT, device].clear()
    for user in (ALICE, BOB):
        party = await Party(server).start()
        await party.joins(user)

        event = await party.says(user, room(BOT, user), user)
        await bot.hears(BOT, one_time=50, fallback=True)

        assert await bot.understands(event) == user


async def test_many_ghosts_may_say_their_first_words_at_once(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    ghosts = [f"@_xmpp_{number}:hs" for number in range(20)]

    events = await asyncio.gather(
        *(
            bridge.says(ghost, room(ALICE, ghost), ghost)
            for ghost in ghosts
            for _ in "12"
        )
    )

    await alice.hears(ALICE)
    assert [await alice.understands(one) for one in events] == [
        ghost for ghost in ghosts for _ in "12"
    ]
    assert len(server.names) == 22  # theirs, Alice's and the other ghost's
    assert server.refused == []


async def test_after_a_restored_backup_no_ratchet_is_used_again(
    server: FakeKeyServer, bot: Party, alice: Party
) -> None:
    before = [await bot.says(GHOST, room(ALICE), "one")]
    heard = await alice.says(ALICE, HERE, "history")
    await bot.hears(BOT)
    backup = copy.deepcopy(bot.disk.records)
    before += [await bot.says(GHOST, room(ALICE), str(n)) for n in range(3)]
    bot.disk.records = backup
    await bot.start()

    await bot.machine.recover()
    await bot.joins(BOT)
    after = await bot.says(GHOST, room(ALICE), "again")
    await alice.hears(ALICE, changed=[GHOST, BOT])

    assert after["content"]["session_id"] not in {
        one["content"]["session_id"] for one in before
    }
    assert await alice.understands(after) == "again"
    assert await bot.understands(heard) == "history"
    answer = await alice.says(ALICE, HERE, "welcome back")
    await bot.hears(BOT)
    assert await bot.understands(answer) == "welcome back"
    assert server.refused == []


async def test_identities_that_another_database_ousted_are_put_back(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    await bridge.joins(BOT)
    await bridge.joins(GHOST)
    ours = copy.deepcopy(server.identities)
    other = await Party(server, bridge=True).start()
    await other.joins(BOT)
    await other.joins(GHOST)
    assert server.identities != ours

    await bridge.start()
    await bridge.machine.reclaim(BOT)
    await bridge.joins(BOT)
    event = await bridge.says(GHOST, room(ALICE), "it is me")

    assert {user: server.identities[user] for user in ours} == ours
    await alice.hears(ALICE, changed=[GHOST])
    assert await alice.understands(event) == "it is me"


async def test_an_identity_that_is_known_is_left_alone(
    server: FakeKeyServer, bridge: Party
) -> None:
    await bridge.machine.reclaim(BOT)
    await bridge.joins(BOT)
    device = await bridge.machine.device(BOT)

    await bridge.start()
    await bridge.machine.reclaim(BOT)

    assert await bridge.joins(BOT) == device


async def test_a_device_that_somebody_removed_is_replaced(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    before = await bridge.machine.device(GHOST)
    identity = server.identities[GHOST]

    await bridge.machine.replace(GHOST)
    event = await bridge.says(GHOST, room(ALICE), "still here")

    assert await bridge.machine.device(GHOST) != before
    assert server.identities[GHOST] == identity
    await alice.hears(ALICE)
    assert await alice.understands(event) == "still here"


async def test_a_device_that_is_missed_while_keys_are_sent_is_replaced(
    server: FakeKeyServer, bridge: Party, alice: Party, caplog: pytest.LogCaptureFixture
) -> None:
    before = await bridge.machine.device(GHOST)
    assert before
    await server.delete_device(GHOST, before)

    event = await bridge.says(GHOST, room(ALICE), "still here")

    assert await bridge.machine.device(GHOST) != before
    await alice.hears(ALICE)
    assert await alice.understands(event) == "still here"
    assert "lost its device" in caplog.text


async def test_people_can_compare_what_they_see(
    server: FakeKeyServer, bridge: Party
) -> None:
    device = await bridge.machine.device(GHOST)
    assert device

    shown = await bridge.machine.fingerprint(GHOST)

    keys = server.device_keys[GHOST][device]["keys"]
    master = server.identities[GHOST]["master_key"]["keys"]
    assert shown
    assert shown.ed25519 == keys[f"ed25519:{device}"]
    assert [shown.master] == list(master.values())
    assert await bridge.machine.fingerprint("@_xmpp_nobody:hs") is None


async def test_who_has_no_device_asks_for_nothing(
    server: FakeKeyServer, bridge: Party
) -> None:
    asked = dict(server.asked)

    await bridge.machine.catch_up("@_xmpp_nobody:hs")
    await bridge.machine.received(Unit(), "@_xmpp_nobody:hs", Feed([{"type": "x"}]))

    assert await bridge.machine.device("@_xmpp_nobody:hs") is None
    assert server.asked == asked


async def test_the_keys_are_nowhere_in_what_is_printed(
    bot: Party, alice: Party, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    event = await alice.says(ALICE, HERE, "canary")
    await bot.hears(BOT)
    await bot.reads(event | {"event_id": "$1"})
    await bot.reads(event)

    own = await bot.machine._accounts.get(BOT)
    assert own.keys
    assert "canary" not in caplog.text
    assert own.curve not in caplog.text
    assert isinstance(bot.machine, Machine)
    assert all("value" not in repr(one) for one in bot.disk.records.values())
