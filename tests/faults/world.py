"""Real servers and a bridge between them, with a proxy on each of its three ways.

Synapse  <- homeserver -  bridge  - component ->  XMPP server
Synapse  - appservice ->  bridge
                          bridge  -  database ->  PostgreSQL
"""

import asyncio
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from typing_extensions import override

from deploy.lab.children import Child
from deploy.lab.gateway import Gateway
from deploy.lab.ports import HOST, Ports, free_port
from deploy.lab.world import World, place_for
from tests import postgres
from tests.faults.disks import small_disk
from tests.faults.proxy import Proxy

PLACES = ("prosody-sqlite", "ejabberd-postgresql")
WAYS = ("homeserver", "appservice", "component", "database")
SMALL = "small"
TABLES_MB = 24
FILES_MB = 96
"""SQLite takes nothing more in when 32 are left."""


class Link(Protocol):
    """What can be stopped for a while."""

    def hold(self) -> None:
        """Stop it."""

    def release(self) -> None:
        """Let it go on."""


class Locked:
    """A database of SQLite, which somebody else locks to stop it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._other: sqlite3.Connection | None = None

    def hold(self) -> None:
        """Begin to lock it."""
        self._other = sqlite3.connect(self._file, isolation_level=None)
        self._other.execute("BEGIN EXCLUSIVE")

    def release(self) -> None:
        """Unlock it, if it is locked."""
        if self._other is not None:
            self._other.close()
            self._other = None


@dataclass(frozen=True)
class Ways:
    """The proxies that stand while a test runs; SQLite has none, but can be locked."""

    homeserver: Proxy
    appservice: Proxy
    component: Proxy
    database: Link


class FaultyGateway(Gateway):
    """A bridge that finds the servers, and is found, through proxies."""

    ways: dict[str, int]
    database: str
    environment: Mapping[str, str]

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

    @override
    def child(self) -> Child:
        made = super().child()
        made.environment |= self.environment
        return made


class FaultyWorld(World):
    """One of each; the servers stay, the bridge and the proxies come for a test.

    *database* is the way of everybody but the bridge to its database, *disk* the small
    one on which that lies, if there is one.
    """

    disk: Path | None = None

    def __init__(
        self, kind: str, python: Path, folder: Path, cluster: Path | None = None
    ) -> None:
        super().__init__(kind, python, folder)
        self.cluster = cluster
        self.database = ""
        if cluster is not None:
            self.database = postgres.database(cluster, "faults", SMALL)
        ports = Ports(folder / "ports.json")
        self._listen = ports.port("bridge")
        gateway = FaultyGateway(
            python, folder / "bridge", ports, self.synapse, self.xmpp
        )
        gateway.ways = {way: ports.port(f"{way} proxy") for way in WAYS}
        gateway.environment = {}
        gateway.database = self.database and postgres.through(
            self.database, gateway.ways["database"]
        )
        self._ways = gateway.ways
        self.gateway = self._faulty = gateway

    @property
    def sqlite(self) -> Path:
        """The file of the database, if that is SQLite."""
        return self.gateway.folder / "bridge.db"

    def wrong_clock(self, environment: Mapping[str, str]) -> None:
        """Start the bridge so that its clock is wrong, from the next time on."""
        self._faulty.environment = environment

    async def start_another(self) -> int:
        """Start a bridge as on another machine; return the port that it listens on."""
        first, port = self.gateway.config, free_port()
        folder = first.parent.with_name("another")
        left = shutil.ignore_patterns("written.ring")
        shutil.copytree(first.parent, folder, ignore=left, dirs_exist_ok=True)
        self.gateway.config = folder / first.name
        text = first.read_text().replace(f":{self._listen}", f":{port}")
        self.gateway.config.write_text(text)
        try:
            await self.start_bridge()
        finally:
            self.gateway.config = first
        return port

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
        targets: list[int | Path] = [
            int(self.synapse.url.rpartition(":")[2]),
            self._listen,
            self.xmpp.component_port,
        ]
        if self.cluster is not None:
            targets.append(postgres.socket_of(self.cluster))
        async with AsyncExitStack() as ends:
            made = [
                await ends.enter_async_context(Proxy(target, self._ways[way]))
                for way, target in zip(WAYS, targets, strict=False)
            ]
            await self.start_bridge()
            try:
                homeserver, appservice, component, *database = made
                link = database[0] if database else Locked(self.sqlite)
                yield Ways(homeserver, appservice, component, link)
            finally:
                await self.end_bridge(10)


@contextmanager
def faulty_world(place: str) -> Iterator[FaultyWorld]:
    """Bring up the servers of a place, from nothing, and end them."""
    kind, _, database = place.partition("-")
    with ExitStack() as ends:
        folder = ends.enter_context(place_for(f"faults-{place}"))
        if database == "postgresql":
            cluster = ends.enter_context(postgres.cluster(fsync=True))
            tables = cluster / SMALL
            disk = ends.enter_context(small_disk(tables, TABLES_MB))
            postgres.tablespace(cluster, SMALL, tables)
            world = FaultyWorld(kind, Path(sys.executable), folder, cluster)
        else:
            disk = ends.enter_context(small_disk(folder / "bridge", FILES_MB))
            world = FaultyWorld(kind, Path(sys.executable), folder)
        world.disk = disk
        ends.callback(world.stop)
        world.start()
        yield world
