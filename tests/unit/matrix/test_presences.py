import asyncio

import pytest

from bridge.matrix.client import MatrixError
from bridge.model.records import Presence
from tests.unit.matrix.world import ALICE, BOT, GHOST, HALL, JULIET, MatrixWorld


async def test_one_request_joins_and_names_a_ghost(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE)

    await matrix.adapter._presences.enter(HALL, GHOST, JULIET.id, "Juliet")

    assert matrix.server.name_of(HALL, GHOST) == "Juliet"
    assert len(matrix.server.asked(r"state/m.room.member")) == 1
    assert matrix.adapter._presences.fits(HALL, GHOST, "Juliet")


async def test_who_is_there_already_is_not_joined_again(matrix: MatrixWorld) -> None:
    matrix.room()
    presences = matrix.adapter._presences

    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(presences.enter(HALL, GHOST, JULIET.id, "Juliet"))
    await matrix.restarts()
    await matrix.adapter._presences.enter(HALL, GHOST, JULIET.id, "Juliet")
    await matrix.adapter._presences.enter(HALL, GHOST, JULIET.id, "")

    assert len(matrix.server.asked(r"state/m.room.member")) == 1


async def test_a_new_name_is_told_to_the_room(matrix: MatrixWorld) -> None:
    matrix.room()
    presences = matrix.adapter._presences

    await presences.enter(HALL, GHOST, JULIET.id, "Juliet")
    await presences.enter(HALL, GHOST, JULIET.id, "Juliet C.")

    assert matrix.server.name_of(HALL, GHOST) == "Juliet C."


async def test_our_agent_invites_where_nobody_comes_in_by_themselves(
    matrix: MatrixWorld,
) -> None:
    matrix.room()
    matrix.server.closed.add(HALL)

    await matrix.adapter._presences.enter(HALL, GHOST, JULIET.id, "Juliet")

    assert matrix.server.membership(HALL, GHOST) == "join"
    assert len(matrix.server.asked("invite")) == 1


async def test_who_can_neither_come_in_nor_be_invited_stays_out(
    matrix: MatrixWorld,
) -> None:
    matrix.server.add(HALL, ALICE, "m.room.create", {}, state_key="")
    matrix.server.closed.add(HALL)

    with pytest.raises(MatrixError):
        await matrix.adapter._presences.enter(HALL, GHOST, JULIET.id, "Juliet")
    with pytest.raises(MatrixError):
        await matrix.adapter._presences.enter(HALL, BOT, "", "")

    assert await matrix.adapter._presences.find(HALL, GHOST) is None


async def test_all_of_a_room_are_found_also_after_a_restart(
    matrix: MatrixWorld,
) -> None:
    matrix.room()
    await matrix.adapter._presences.enter(HALL, GHOST, JULIET.id, "Juliet")
    await matrix.adapter._presences.note("!other:hs", GHOST, "Juliet")

    await matrix.restarts()

    everybody = await matrix.adapter._presences.all_in(HALL)
    assert everybody == [Presence(HALL, GHOST, "Juliet")]
    assert await matrix.adapter._presences.find(HALL, GHOST) == everybody[0]


async def test_who_left_is_forgotten_for_good(matrix: MatrixWorld) -> None:
    await matrix.adapter._presences.note(HALL, GHOST, "Juliet")

    await matrix.adapter._presences.forget(HALL, GHOST)
    await matrix.restarts()

    assert await matrix.adapter._presences.find(HALL, GHOST) is None


@pytest.mark.parametrize(
    "name", ["Alice", "\u0430lice", "A1ice", "alice\u200b", "\uff21lice", "a l i c e"]
)
async def test_a_ghost_does_not_pass_for_somebody_who_is_there(
    matrix: MatrixWorld, name: str
) -> None:
    """S7, S15, E21: UTS 39."""
    matrix.room(HALL, ALICE)

    await matrix.adapter._presences.enter(HALL, GHOST, JULIET.id, name)

    assert matrix.server.name_of(HALL, GHOST) == f"{name} ({JULIET.id})"


async def test_a_name_of_ones_own_needs_nothing_beside_it(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE)

    await matrix.adapter._presences.enter(HALL, GHOST, JULIET.id, "Juliet")

    assert matrix.server.name_of(HALL, GHOST) == "Juliet"
