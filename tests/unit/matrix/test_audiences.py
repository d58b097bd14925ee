import asyncio

from bridge.matrix.audiences import Audiences
from tests.homeserver import Event
from tests.unit.matrix.world import ALICE, BOB, BOT, HALL, MatrixWorld, opened

MEGOLM = {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 7}
INVITE = {"membership": "invite"}


def audiences(matrix: MatrixWorld) -> Audiences:
    return matrix.adapter._secrecy.audiences


def hall(matrix: MatrixWorld, *members: str) -> Audiences:
    """Have an encrypted room."""
    matrix.room(HALL, *members)
    matrix.server.add(HALL, ALICE, "m.room.encryption", MEGOLM, state_key="")
    return audiences(matrix)


def sees(matrix: MatrixWorld, event: Event) -> None:
    matrix.adapter.arrivals([opened(event)])


async def test_who_is_in_or_invited_may_read(matrix: MatrixWorld) -> None:
    there = hall(matrix, ALICE)
    matrix.server.add(HALL, ALICE, "m.room.member", INVITE, state_key=BOB)

    room = await there.of(HALL)

    assert room.members == {ALICE, BOB, BOT}
    assert room.encryption == MEGOLM
    assert room.watched


async def test_where_only_who_is_in_may_read_nobody_else_does(
    matrix: MatrixWorld,
) -> None:
    there = hall(matrix, ALICE)
    matrix.server.add(HALL, ALICE, "m.room.member", INVITE, state_key=BOB)
    assert BOB in (await there.of(HALL)).members
    visibility = {"history_visibility": "joined"}
    event = matrix.server.add(
        HALL, ALICE, "m.room.history_visibility", visibility, state_key=""
    )

    sees(matrix, event)

    assert (await there.of(HALL)).members == {ALICE, BOT}


async def test_whoever_comes_or_goes_counts_at_once(matrix: MatrixWorld) -> None:
    there = hall(matrix, ALICE)
    await there.of(HALL)

    sees(matrix, matrix.joins(HALL, BOB))
    came = await there.of(HALL)
    gone = {"membership": "leave"}
    sees(matrix, matrix.server.add(HALL, BOB, "m.room.member", gone, state_key=BOB))
    went = await there.of(HALL)

    assert BOB in came.members
    assert BOB not in went.members


async def test_a_new_name_makes_nobody_ask(matrix: MatrixWorld) -> None:
    there = hall(matrix, ALICE)
    await there.of(HALL)
    asked = len(matrix.server.requests)

    sees(matrix, matrix.joins(HALL, ALICE, "Alicia"))
    await there.of(HALL)

    assert len(matrix.server.requests) == asked


async def test_who_comes_while_it_is_asked_is_not_forgotten(
    matrix: MatrixWorld,
) -> None:
    there = hall(matrix, ALICE)

    asked = asyncio.gather(there.of(HALL))
    while not matrix.server.asked("history_visibility"):  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0)
    sees(matrix, matrix.joins(HALL, BOB))
    await asked

    assert BOB in (await there.of(HALL)).members


async def test_encryption_that_is_stated_no_more_holds(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE)
    await matrix.adapter._sealed.add(HALL)

    room = await audiences(matrix).of(HALL)

    assert room.encryption == {"algorithm": "m.megolm.v1.aes-sha2"}


async def test_a_room_without_the_bot_is_not_watched(matrix: MatrixWorld) -> None:
    there = hall(matrix, ALICE)
    gone = {"membership": "leave"}
    matrix.server.add(HALL, BOT, "m.room.member", gone, state_key=BOT)
    matrix.server.users.add(BOT)

    assert not (await there.of(HALL)).watched


async def test_who_is_invited_where_nobody_else_is_has_to_look_around_first(
    matrix: MatrixWorld,
) -> None:
    there = hall(matrix)
    matrix.server.add(HALL, BOT, "m.room.member", INVITE, state_key=BOB)
    alone = (await there.of(HALL)).awaited

    sees(matrix, matrix.joins(HALL, ALICE))
    there.pause_s = 0.0

    assert alone == {BOB}
    assert (await there.of(HALL)).awaited == set()


async def test_who_has_just_come_in_has_to_look_around_first(
    matrix: MatrixWorld,
) -> None:
    there = hall(matrix, ALICE)
    told: list[str] = []
    await matrix.adapter._sealed.add(HALL)
    there.on_join = told.append
    await there.of(HALL)

    sees(matrix, matrix.joins(HALL, BOB))
    came = await there.of(HALL)
    there.pause_s = 0.0

    assert came.awaited == {BOB}
    assert told == [HALL]
    assert (await there.of(HALL)).awaited == set()


async def test_who_accepts_an_invitation_at_once_is_awaited(
    matrix: MatrixWorld,
) -> None:
    there = hall(matrix, ALICE)
    there.settle_s = 3600.0
    async with asyncio.TaskGroup() as tasks:
        coming = tasks.create_task(there.enters(HALL, BOB))
        await asyncio.sleep(0)

        sees(matrix, matrix.joins(HALL, BOB))

        assert await coming
    assert await there.enters(HALL, BOB)


async def test_who_does_not_is_awaited_for_a_moment_only(matrix: MatrixWorld) -> None:
    there = hall(matrix, ALICE)
    there.settle_s = 0.01

    assert not await there.enters(HALL, BOB)
