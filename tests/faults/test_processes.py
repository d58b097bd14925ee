"""Programs that die, stop and come back; the rows of the fault matrix are named."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

import pytest

from bridge.ends import SUPERSEDED
from tests.e2e.conftest import Company
from tests.faults.proxy import Proxy
from tests.faults.town import Town, open_town
from tests.faults.world import FaultyWorld, Ways

Fault = Callable[[FaultyWorld, Ways, Town], Awaitable[None]]

WARM = 6
ROUNDS = 2
TAKEN_OVER_S = 20


async def bridge_killed(world: FaultyWorld, _: Ways, town: Town) -> None:
    """Kill the bridge with SIGKILL, again and again (row 1)."""
    for round_ in range(ROUNDS):
        async with asyncio.TaskGroup() as tasks:
            speaking = tasks.create_task(town.speak(10))
            await asyncio.sleep(0.1 + 0.13 * round_)
            await world.crash("bridge")
            town.bridge_fell()
            await speaking
        await town.come_back()


async def killed_before_its_answer(world: FaultyWorld, ways: Ways, town: Town) -> None:
    """Kill the bridge when it has taken a transaction and not said so (row 2)."""
    await _killed_while_held(world, ways.appservice, town)


async def killed_before_it_knows(world: FaultyWorld, ways: Ways, town: Town) -> None:
    """Kill the bridge when the homeserver has accepted, before it hears (row 3)."""
    await _killed_while_held(world, ways.homeserver, town)


async def killed_before_the_echo(world: FaultyWorld, ways: Ways, town: Town) -> None:
    """Kill the bridge when a MUC has shown what it said, before it sees it (row 4)."""
    await _killed_while_held(world, ways.component, town)


async def _killed_while_held(world: FaultyWorld, way: Proxy, town: Town) -> None:
    for _ in range(2):
        async with asyncio.TaskGroup() as tasks:
            way.back.hold()
            speaking = tasks.create_task(town.speak(10))
            await way.back.blocks()
            await asyncio.sleep(0.3)  # more comes than the first that is held
            await world.kill("bridge")
            town.bridge_fell()
            await way.cut()
            way.back.release()
            await world.start_bridge()
            await speaking
        await town.come_back()


async def bridge_frozen(world: FaultyWorld, _: Ways, town: Town) -> None:
    """Freeze the bridge so long that all who wait for it give up (row 19)."""
    world.bridge.send(signal.SIGSTOP)
    await town.speak(20)
    await asyncio.sleep(8)
    world.bridge.send(signal.SIGCONT)


async def bridge_succeeded(world: FaultyWorld, ways: Ways, town: Town) -> None:
    """Have another bridge take over while the first is frozen; wake that (row 18)."""
    assert isinstance(ways.database, Proxy)
    first = world.bridge
    await town.speak(10)
    first.send(signal.SIGSTOP)
    town.bridge_fell()
    await town.on_matrix(10)
    for way in (ways.component, ways.database):
        await way.cut()  # as servers do that hear nothing for long
    ways.appservice.target = await world.start_another()
    await ways.appservice.cut()
    await town.come_back()
    first.send(signal.SIGCONT)
    await town.speak(10)
    assert await asyncio.to_thread(first.wait, TAKEN_OVER_S) == SUPERSEDED


async def bridge_away(world: FaultyWorld, _: Ways, town: Town) -> None:
    """Have no bridge while people talk; what nobody keeps is said later (row 7)."""
    await world.end_bridge(10)
    await town.on_matrix(30)
    kept = [scene for scene in town.scenes if scene.archived]
    lost = [scene for scene in town.scenes if not scene.archived]
    for scene in kept:
        await scene.on_xmpp(30)
    await world.start_bridge()
    await town.come_back()
    for scene in lost:
        await scene.on_xmpp(30)


async def homeserver_moves(world: FaultyWorld, ways: Ways, town: Town) -> None:
    """Have the homeserver at another address for a while (row 40)."""
    before = world.gateway.config.read_text()
    old, new = f":{ways.homeserver.port}", f":{ways.homeserver.target}"
    for text in (before.replace(old, new), before):
        await world.end_bridge(10)
        world.gateway.config.write_text(text)
        await town.on_matrix(10)
        await world.start_bridge()
        await town.come_back()
        await town.on_xmpp(10)


async def synapse_killed(world: FaultyWorld, _: Ways, town: Town) -> None:
    """Kill Synapse with SIGKILL while both speak, twice (rows 8, 9)."""
    for _round in range(2):
        async with asyncio.TaskGroup() as tasks:
            speaking = tasks.create_task(town.speak(20))
            await asyncio.sleep(0.5)
            await world.crash("synapse")
            await speaking


async def xmpp_killed(world: FaultyWorld, _: Ways, town: Town) -> None:
    """Kill the XMPP server with SIGKILL while Matrix speaks (row 14)."""
    town.xmpp_fell()
    async with asyncio.TaskGroup() as tasks:
        speaking = tasks.create_task(town.on_matrix(20))
        await world.crash("xmpp")
        await speaking
    await town.log_in_again()
    await town.come_back()
    await town.on_xmpp(20)


async def xmpp_restarted(world: FaultyWorld, _: Ways, town: Town) -> None:
    """Restart the XMPP server politely while Matrix speaks (row 14)."""
    town.xmpp_fell()
    async with asyncio.TaskGroup() as tasks:
        speaking = tasks.create_task(town.on_matrix(20))
        await world.restart("xmpp")
        await speaking
    await town.log_in_again()
    await town.come_back()
    await town.on_xmpp(20)


FAULTS: list[Fault] = [
    bridge_killed,
    killed_before_its_answer,
    killed_before_it_knows,
    killed_before_the_echo,
    bridge_frozen,
    bridge_succeeded,
    bridge_away,
    homeserver_moves,
    synapse_killed,
    xmpp_killed,
    xmpp_restarted,
]

ONLY: dict[Fault, str] = {bridge_succeeded: "postgresql"}


@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_is_lost_doubled_or_out_of_order(
    world: FaultyWorld, ways: Ways, company: Company, word: str, fault: Fault
) -> None:
    town = await open_town(world, company, word)
    await town.speak(WARM)
    await fault(world, ways, town)
    await town.speak(WARM)

    assert await town.wrong() == []
