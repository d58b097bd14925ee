"""The Olm machine, asked as the adapter asks it."""

from bridge.matrix.megolm.ports import (
    Plain,
    Trust,
)
from tests.unit.matrix.megolm.party import (
    ALICE,
    BOT,
    GHOST,
    ROOM,
    Party,
    room,
    text,
)


async def test_what_a_ghost_says_is_read_by_who_is_in_the_room(
    bridge: Party, alice: Party
) -> None:
    event = await bridge.says(GHOST, room(GHOST, ALICE), "good morrow")
    await alice.hears(ALICE)

    opened = await alice.reads(event)

    assert opened == Plain("m.room.message", text("good morrow"), Trust.SIGNED)


async def test_the_bot_reads_what_people_say(bridge: Party, alice: Party) -> None:
    await bridge.joins(BOT)
    event = await alice.says(ALICE, room(BOT, ALICE), "good morrow")
    news = await bridge.hears(BOT)

    opened = await bridge.reads(event)

    assert opened == Plain("m.room.message", text("good morrow"), Trust.SIGNED)
    assert news.keys == {(ROOM, event["content"]["session_id"])}
