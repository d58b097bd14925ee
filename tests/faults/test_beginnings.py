"""A room that is made in the very moment in which something breaks."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from deploy.lab.heard import NotHeardError
from deploy.lab.matrix_people import MatrixPerson, MatrixRefusedError
from tests.e2e.conftest import Company
from tests.e2e.ledger import LONG_S
from tests.faults.town import Town, foreign_muc, muc_seats, open_people
from tests.faults.world import FaultyWorld, Ways

Break = Callable[[FaultyWorld, Ways], Awaitable[None]]

MADE = b"POST /_matrix/client/v3/createRoom"


async def falls(world: FaultyWorld, ways: Ways) -> None:
    """Kill the bridge, and start it again."""
    await world.kill("bridge")
    await ways.homeserver.cut()
    ways.homeserver.back.release()
    await world.start_bridge()


async def loses_the_answer(_: FaultyWorld, ways: Ways) -> None:
    """Break the connection on which the answer is to come."""
    await ways.homeserver.cut()
    ways.homeserver.back.release()


@pytest.mark.parametrize("breaks", [falls, loses_the_answer])
async def test_a_muc_whose_room_is_being_made_is_bridged_all_the_same(
    world: FaultyWorld, ways: Ways, company: Company, word: str, breaks: Break
) -> None:
    """The homeserver has made it, and lets people in, before we know (rows 1, 3)."""
    town = await open_people(world, company)
    alice = town.cast.alice
    await muc_seats(town, word)
    there, back = ways.homeserver.there, ways.homeserver.back
    asked = asyncio.Event()

    def watch(piece: bytes) -> None:
        if piece.startswith(MADE) and not asked.is_set():
            back.hold()
            asked.set()

    there.watch = watch
    async with asyncio.TaskGroup() as tasks:
        joining = tasks.create_task(_joins(town, word))
        await asked.wait()
        await back.blocks()  # the homeserver has made the room
        await breaks(world, ways)
    room = joining.result()
    await alice.until(lambda: ghosts(alice, room) or None, "somebody of XMPP", LONG_S)

    town.scenes = [await foreign_muc(town, word)]
    await town.speak(6)

    assert await town.wrong() == []


def ghosts(alice: MatrixPerson, room: str) -> list[str]:
    """List who of XMPP is in a room."""
    there = alice.members.get(room, {})
    return [user for user in there if user.startswith("@_xmpp_")]


async def _joins(town: Town, word: str) -> str:
    """Let Alice try until she is in, as people do; return the room."""
    alias = town.world.muc_alias(f"{word}@{town.world.xmpp.muc}")
    end = time.monotonic() + LONG_S
    while True:
        try:
            return await town.cast.alice.joins(alias)
        except (MatrixRefusedError, NotHeardError):
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.5)
