import asyncio

import pytest

from bridge.matrix.members import Roster, plain_name
from tests.homeserver import Fault
from tests.unit.matrix.world import ALICE, BOB, BOT, GHOST, HALL, MatrixWorld


def test_two_of_one_name_are_told_apart() -> None:
    """Client-server API, "Calculating the display name for a user"."""
    roster = Roster()
    roster.put(ALICE, "Al")
    roster.put(BOB, "Al")

    assert roster.shown(ALICE) == "Al (@alice:hs)"
    assert roster.shown(BOB) == "Al (@bob:hs)"


def test_the_name_is_plain_again_when_the_other_has_gone_or_changed() -> None:
    roster = Roster()
    roster.put(ALICE, "Al")
    roster.put(BOB, "Al")
    roster.put(BOB, "Bob")

    assert roster.shown(ALICE) == "Al"

    roster.put(BOB, "Al")
    roster.drop(BOB)
    roster.drop(BOB)

    assert roster.shown(ALICE) == "Al"


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("Alice  in\nWonderland ", "Alice in Wonderland"),
        ("", "alice"),
        ("  ", "alice"),
        (None, "alice"),
        ({"a": 1}, "alice"),
        ("x" * 100_000, "x" * 100),
    ],
)
def test_a_name_is_a_short_line_whatever_was_given(given: object, plain: str) -> None:
    assert plain_name(ALICE, given) == plain


async def test_a_room_is_asked_for_its_members_once(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE, BOB)
    members = matrix.adapter._members

    names = [await members.name(HALL, user) for user in (ALICE, BOB, ALICE)]

    assert names == ["Alice", "Bob", "Alice"]
    assert len(matrix.server.asked("joined_members")) == 1


async def test_ghosts_and_the_bot_are_no_people(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE, GHOST)

    roster = await matrix.adapter._members.of(HALL)

    assert list(roster) == [ALICE]
    assert roster.bot
    assert BOT not in roster


async def test_who_came_while_the_room_was_asked_is_asked_for(
    matrix: MatrixWorld,
) -> None:
    matrix.room(HALL, ALICE)
    members = matrix.adapter._members
    await members.of(HALL)
    matrix.joins(HALL, BOB, "Bobby")

    assert await members.name(HALL, BOB) == "Bobby"
    assert BOB in await members.of(HALL)


async def test_who_is_asked_for_while_the_roster_is_replaced_keeps_their_name(
    matrix: MatrixWorld,
) -> None:
    matrix.room()
    members = matrix.adapter._members
    await members.of(HALL)
    matrix.joins(HALL, BOB, "Bob")
    hold = asyncio.Event()
    matrix.server.faults.append(Fault("m.room.member", hold=hold))

    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(members.name(HALL, BOB))
        while not matrix.server.asked("m.room.member"):  # noqa: ASYNC110 - a list
            await asyncio.sleep(0)
        await members.load(HALL)
        hold.set()

    assert asked.result() == "Bob"


async def test_who_leaves_while_the_roster_is_asked_for_is_not_in_it(
    matrix: MatrixWorld,
) -> None:
    """The answer may have been given a moment before; XMPP would see them for ever."""
    matrix.room(HALL, ALICE, BOB)
    members = matrix.adapter._members
    hold = asyncio.Event()
    matrix.server.faults.append(Fault("joined_members", hold=hold))

    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(members.load(HALL))
        while not matrix.server.asked("joined_members"):  # noqa: ASYNC110 - a list
            await asyncio.sleep(0)
        members.left(HALL, ALICE)
        members.left(HALL, BOB)
        members.joined(HALL, BOB, "Bob")
        hold.set()

    assert list(asked.result()) == [BOB]


async def test_somebody_who_left_has_the_name_they_left_with(
    matrix: MatrixWorld,
) -> None:
    matrix.room(HALL, ALICE)
    left = {"membership": "leave", "displayname": "Bobby"}
    matrix.server.add(HALL, BOB, "m.room.member", left, state_key=BOB)

    assert await matrix.adapter._members.name(HALL, BOB) == "Bobby"
    assert await matrix.adapter._members.name(HALL, "@nobody:hs") == "nobody"


async def test_a_room_that_cannot_be_seen_has_nobody(matrix: MatrixWorld) -> None:
    matrix.server.faults.append(
        Fault("joined_members", 403, {"errcode": "M_FORBIDDEN"})
    )

    roster = await matrix.adapter._members.of(HALL)
    await matrix.adapter._members.of(HALL)

    assert not list(roster)
    assert len(matrix.server.asked("joined_members")) == 1


async def test_only_what_is_unexpected_is_worth_a_warning(
    matrix: MatrixWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever is only invited may not ask who is there: that is how chats begin."""
    for status, code in ((403, "M_FORBIDDEN"), (404, "M_NOT_FOUND")):
        fault = Fault("joined_members", status, {"errcode": code})
        matrix.server.faults.append(fault)
        await matrix.adapter._members.load(HALL)

    (warning,) = [r for r in caplog.records if r.levelname == "WARNING"]
    assert "M_NOT_FOUND" in warning.getMessage()


async def test_rosters_that_were_not_used_for_long_are_forgotten(
    matrix: MatrixWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.matrix.members.ROOMS_MAX", 1)
    matrix.room(HALL, ALICE)
    matrix.room("!other:hs", BOB)
    members = matrix.adapter._members

    await members.of(HALL)
    await members.of("!other:hs")

    assert members.known(HALL) is None
    assert members._size == 1
