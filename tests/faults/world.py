"""Real servers and a bridge between them, with a proxy on each of its three ways.

Synapse  <- homeserver -  bridge  - component ->  XMPP server
Synapse  - appservice ->  bridge
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from deploy.lab.gateway import Gateway
from deploy.lab.ports import HOST, Ports
from deploy.lab.world import World, place_for
from tests import postgres
from tests.faults.proxy import Proxy

PLACES = ("prosody-sqlite", "ejabberd-postgresql")
WAYS = ("homeserver", "appservice", "component")


@dataclass(frozen=True)
class Ways:
    """The proxies that stand while a test runs."""

    homeserver: Proxy
    appservice: Proxy
    component: Proxy


class FaultyGateway(Gateway):
    """A bridge that finds the servers, and is found, through proxies."""

    ways: dict[str, int]
    database: str

    @override
    def init(self, *more: str) -> str:
        ways = self.ways
        database = (f"--database={self.database}",) if self.database else ()
        # What comes later on a command line counts.
        return super().init(
            f"--homeserver=http://{HOST}:{ways['homeserver']}",
            f"--component-address={HOST}:{ways['component']}",
            f"--public-url=http://{HOST}:{ways['appservice']}",
            *database,
            *more,
        )


class FaultyWorld(World):
    """One of each; the servers stay, the bridge and the proxies come for a test."""

    def __init__(
        self, kind: str, python: Path, folder: Path, cluster: Path | None = None
    ) -> None:
        super().__init__(kind, python, folder)
        self.cluster = cluster
        self.database = "" if cluster is None else postgres.database(cluster, "faults")
        ports = Ports(folder / "ports.json")
        self._listen = ports.port("bridge")
        gateway = FaultyGateway(
            python, folder / "bridge", ports, self.synapse, self.xmpp
        )
        gateway.ways = {way: ports.port(f"{way} proxy") for way in WAYS}
        gateway.database = self.database
        self._ways = gateway.ways
        self.gateway = gateway

    @property
    def sqlite(self) -> Path:
        """The file of the database, if that is SQLite."""
        return self.gateway.folder / "bridge.db"

    async def kill(self, name: str) -> None:
        """Kill a server with SIGKILL."""
        await asyncio.to_thread(self._servers[name].kill)

    @override
    def start(self) -> None:
        """Bring up the servers."""
        self.gateway.init()
        self.synapse.registrations = [self.gateway.registration]
        self._start("xmpp")
        self._start("synapse")

    @asynccontextmanager
    async def bridged(self) -> AsyncIterator[Ways]:
        """Have the proxies and the bridge stand for a while."""
        targets = (
            int(self.synapse.url.rpartition(":")[2]),
            self._listen,
            self.xmpp.component_port,
        )
        async with AsyncExitStack() as ends:
            made = [
                await ends.enter_async_context(Proxy(target, self._ways[way]))
                for way, target in zip(WAYS, targets, strict=True)
            ]
            await self.start_bridge()
            try:
                yield Ways(*made)
            finally:
                await self.end_bridge(10)


@contextmanager
def faulty_world(place: str) -> Iterator[FaultyWorld]:
    """Bring up the servers of a place, from nothing, and end them."""
    kind, _, database = place.partition("-")
    with ExitStack() as ends:
        folder = ends.enter_context(place_for(f"faults-{place}"))
        cluster = None
        if database == "postgresql":
            cluster = ends.enter_context(postgres.cluster(fsync=True))
        world = FaultyWorld(kind, Path(sys.executable), folder, cluster)
        ends.callback(world.stop)
        world.start()
        yield world
