"""One process of the bridge: the real core between simulated sides."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bridge.core.directory import Directory
from bridge.core.ports import StoreUnavailableError
from bridge.model.places import Network
from bridge.model.records import Portal
from tests.core import join_core
from tests.fakes_store import Disk
from tests.simulation.dice import Dice
from tests.simulation.homeserver import Happened, SimHomeserver
from tests.simulation.jabber import JabberServer
from tests.simulation.line import Line, Ring
from tests.simulation.loop import Nursery, Process, SimLoop
from tests.simulation.matrix import SimMatrix
from tests.simulation.net import Net
from tests.simulation.stanza import Stanza
from tests.simulation.store import SimStore, Weather
from tests.simulation.xmpp import SimXmpp


@dataclass
class Surroundings:
    """All that outlives a process, on this machine and on others."""

    loop: SimLoop
    dice: Dice
    net: Net
    disk: Disk
    weather: Weather
    homeserver: SimHomeserver
    jabber: JabberServer
    ring: Ring | None
    tea: str


class Bridge:
    """A process; *ready* once it has taken up its work."""

    def __init__(self, name: str, around: Surroundings) -> None:
        self.process = Process(name)
        self.ready = False
        self._around = around
        self._tasks: asyncio.TaskGroup = Nursery(around.loop, self.process)
        self._listens = False

    def begin(self) -> None:
        """Start it."""
        self._tasks.create_task(self._main(), name=f"{self.process.name} main")

    def stop(self) -> None:
        """Ask it to end in good order, as SIGTERM does."""
        self._tasks.create_task(self._stop(), name="stop")

    @property
    def listens(self) -> bool:
        """Whether it takes transactions."""
        return self._listens and self.process.alive

    def push(self, events: Sequence[Happened]) -> "asyncio.Future[bool]":
        """Take a transaction; see ``Listener``."""
        answer: asyncio.Future[bool] = self._around.loop.create_future()

        async def take() -> None:
            try:
                await self._matrix.take(events)
            except StoreUnavailableError:
                taken = False
            else:
                taken = True
            if not answer.done():
                answer.set_result(taken)

        loop, context = self._around.loop, self.process.context
        loop.call_soon(
            lambda: self._tasks.create_task(take(), name="push"), context=context
        )
        return answer

    async def _main(self) -> None:
        while True:
            try:
                await self._start()
            except StoreUnavailableError:
                # It ends, and is started again by its supervisor.
                await asyncio.sleep(1.0)
                self.process.kill()
                return
            break
        self.ready = True
        await self._matrix.run(lambda: tuple(self._directory))

    async def _start(self) -> None:
        around = self._around
        store = SimStore(
            around.disk, around.loop, around.dice, around.weather, self.process
        )
        self._directory = Directory(await store.load(Portal))
        self._matrix = SimMatrix(around.homeserver, around.net, store)
        self._xmpp = SimXmpp(self._line, around.net, store)
        hub, dispatch = join_core(
            self._tasks,
            adapters={Network.MATRIX: self._matrix, Network.XMPP: self._xmpp},
            store=store,
            directory=self._directory,
            matrix=self._matrix,
            xmpp=self._xmpp,
        )
        self._hub, self._dispatch = hub, dispatch
        await self._matrix.start(hub)
        await self._xmpp.start(hub, self._tasks, (around.tea,))
        self._listens = True
        await self._xmpp.line.wait_up()
        await hub.start()
        await dispatch.start()

    async def _stop(self) -> None:
        self._listens = False
        if self.ready:
            try:
                async with asyncio.timeout(3.0):
                    await self._hub.wait_empty()
                    await self._dispatch.wait_empty()
            except TimeoutError:
                pass
            self._hub.close()
            self._dispatch.close()
            await asyncio.sleep(0.2)
        self.process.kill()

    def _line(self, received: Callable[[Stanza], None]) -> Line:
        around = self._around
        return Line(around.jabber, around.net, self.process, around.ring, received)
