"""Programs that die, stop and come back; the rows of the fault matrix are named."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

import pytest

from deploy.lab.world import World
from tests.e2e.conftest import Company
from tests.e2e.rooms import reachable
from tests.faults.scenes import Scene, foreign_muc, hosted_room
from tests.faults.world import FaultyWorld, Ways

Place = Callable[[World, Company, str], Awaitable[Scene]]
Fault = Callable[[FaultyWorld, Scene], Awaitable[None]]

WARM = 10
ROUNDS = 4


async def bridge_killed(world: FaultyWorld, scene: Scene) -> None:
    """Kill the bridge with SIGKILL, again and again (row 1)."""
    for round_ in range(ROUNDS):
        async with asyncio.TaskGroup() as tasks:
            speaking = tasks.create_task(scene.speak(20))
            await asyncio.sleep(0.1 + 0.13 * round_)
            await world.crash("bridge")
            await speaking
        await scene.sit_down_again()


async def bridge_frozen(world: FaultyWorld, scene: Scene) -> None:
    """Freeze the bridge so long that all who wait for it give up (row 19)."""
    world.bridge.send(signal.SIGSTOP)
    await scene.speak(20)
    await asyncio.sleep(8)
    world.bridge.send(signal.SIGCONT)


async def bridge_away(world: FaultyWorld, scene: Scene) -> None:
    """Have no bridge while people talk (row 7)."""
    await world.end_bridge(10)
    start, scene.said = scene.said, scene.said + 60
    await scene.on_matrix(start, 60)
    if scene.hosted:
        await world.start_bridge()
        await scene.sit_down_again()
        await scene.on_xmpp(start, 60)
    else:
        await scene.on_xmpp(start, 60)
        await world.start_bridge()


async def synapse_killed(world: FaultyWorld, scene: Scene) -> None:
    """Kill Synapse with SIGKILL while both speak (rows 8 and 9)."""
    async with asyncio.TaskGroup() as tasks:
        speaking = tasks.create_task(scene.speak(40))
        await asyncio.sleep(0.5)
        await world.crash("synapse")
        await speaking


async def xmpp_killed(world: FaultyWorld, scene: Scene) -> None:
    """Kill the XMPP server with SIGKILL while Matrix speaks (row 14)."""
    scene.doubted = True
    start, scene.said = scene.said, scene.said + 30
    async with asyncio.TaskGroup() as tasks:
        speaking = tasks.create_task(scene.on_matrix(start, 30))
        await world.crash("xmpp")
        await speaking
    for seat in (scene.speaker, scene.observer):
        await seat.person.comes_back()
        await reachable(seat.person, world.puppet(scene.alice))
    await scene.sit_down_again()
    await scene.on_xmpp(start, 30)


FAULTS: list[Fault] = [
    bridge_killed,
    bridge_frozen,
    bridge_away,
    synapse_killed,
    xmpp_killed,
]


@pytest.mark.parametrize("place", [hosted_room, foreign_muc])
@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_is_lost_doubled_or_out_of_order(
    world: FaultyWorld,
    ways: Ways,
    company: Company,
    word: str,
    place: Place,
    fault: Fault,
) -> None:
    assert ways.component.connections
    scene = await place(world, company, word)
    await scene.speak(WARM)
    await fault(world, scene)
    await scene.speak(WARM)
    await scene.end()

    assert await scene.verdicts() == []
