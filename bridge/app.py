"""Builds the parts and joins them; starts and stops them in order."""

import asyncio
import gc
import logging
import signal
import sys
import time
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path

import uvloop

from bridge import __version__
from bridge.config import Config
from bridge.core.commands import Commands
from bridge.core.directory import Directory
from bridge.core.dispatch import Dispatch
from bridge.core.hub import Hub
from bridge.core.ports import Adapter, StoreUnavailableError
from bridge.core.provisioning import Provisioning
from bridge.lookup import Addresses, Queries
from bridge.matrix.adapter import MatrixAdapter
from bridge.matrix.appservice import Appservice, RawEvent
from bridge.matrix.audit import Audit
from bridge.matrix.client import Homeserver, HomeserverDownError, MatrixError, join
from bridge.matrix.queries import ThirdParty
from bridge.matrix.watch import Watch
from bridge.model.places import Network
from bridge.model.records import Portal
from bridge.store.errors import AlreadyRunningError, StoreError
from bridge.store.store import SqlStore
from bridge.xmpp.adapter import XmppAdapter
from bridge.xmpp.component import ComponentRefusedError

logger = logging.getLogger(__name__)

PATIENCE_S = 10.0
DRAIN_S = 2.0

HOMESERVER, XMPP_AWAY, XMPP_REFUSES, SECOND, DATABASE = 3, 4, 5, 6, 7


Work = Coroutine[None, None, None]


class StartError(Exception):
    """The bridge cannot start; one line that says why, and an exit code."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


def run(config: Config) -> int:
    """Run the bridge until SIGTERM and return the exit code."""
    refused: Sequence[BaseException] = ()
    try:
        uvloop.run(_serve(config))
    except* StartError as group:
        refused = group.exceptions
    return _complain(refused) if refused else 0


def _complain(errors: Sequence[BaseException]) -> int:
    error: BaseException = errors[0]
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, StartError)
    print(f"xmpp-matrix-bridge: {error}", file=sys.stderr)
    return error.code


async def _serve(config: Config) -> None:
    began = time.monotonic()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    store = await open_store(config)
    try:
        async with asyncio.TaskGroup() as tasks:
            app = App(config, store, tasks, await store.load(Portal))
            if await _unless(stop, app.start(), tasks):
                gc.collect()
                gc.freeze()  # what is there now stays: no collection looks at it again
                took = time.monotonic() - began
                print(f"xmpp-matrix-bridge {__version__} is ready ({took:.1f} s)")
                sys.stdout.flush()
                await stop.wait()
            await app.stop()
    finally:
        await store.close()


async def _unless(stop: asyncio.Event, start: Work, tasks: asyncio.TaskGroup) -> bool:
    """Start, unless asked to stop before; tell whether it is started."""
    starting = tasks.create_task(start, name="start")
    stopping = tasks.create_task(stop.wait(), name="stop")
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        return False
    stopping.cancel()
    return True


async def open_store(config: Config) -> SqlStore:
    """Open the database; raises ``StartError``."""
    try:
        return await SqlStore.open(config.database_url(), config.store.seal_key())
    except AlreadyRunningError as error:
        raise StartError(SECOND, str(error)) from None
    except (StoreError, StoreUnavailableError) as error:
        raise StartError(DATABASE, str(error)) from None


class App:
    """All the parts, joined."""

    def __init__(
        self,
        config: Config,
        store: SqlStore,
        tasks: asyncio.TaskGroup,
        portals: Iterable[Portal],
    ) -> None:
        self._config = config
        self._store = store
        self._tasks = tasks
        self._directory = Directory(portals)
        name = config.homeserver.name
        self._homeserver = Homeserver(
            config.homeserver.url, config.appservice.as_token, name
        )
        self._matrix = MatrixAdapter(
            self._homeserver, store, f"@{config.appservice.bot}:{name}"
        )
        self._xmpp = XmppAdapter(
            domain=config.xmpp.component,
            secret=config.xmpp.secret,
            host=config.xmpp.address.host,
            port=config.xmpp.address.port,
            store=store,
            tasks=tasks,
            written=_written(config),
        )
        self._hub = self._core()
        self._audit = Audit(self._homeserver, store, self._keep)
        self._watch = Watch(
            self._homeserver, config.appservice.id, self._homeserver_is_back
        )
        self._appservice = Appservice(
            config.appservice.hs_token,
            self._intake,
            Queries(name, self._matrix, self._hub),
            ThirdParty(name, Addresses(config.xmpp.component)),
        )
        self._running: list[asyncio.Task[None]] = []

    def _core(self) -> Hub:
        adapters: dict[Network, Adapter] = {
            Network.MATRIX: self._matrix,
            Network.XMPP: self._xmpp,
        }
        store, directory = self._store, self._directory
        self._dispatch = Dispatch(adapters, store, directory, self._tasks)
        provisioning = Provisioning(
            store, directory, self._dispatch, self._matrix, self._xmpp
        )
        commands = Commands(
            adapters=adapters,
            store=store,
            directory=directory,
            dispatch=self._dispatch,
            provisioning=provisioning,
            matrix=self._matrix,
            xmpp=self._xmpp,
        )
        return Hub(
            adapters=adapters,
            store=store,
            directory=directory,
            dispatch=self._dispatch,
            provisioning=provisioning,
            commands=commands,
            tasks=self._tasks,
        )

    async def start(self) -> None:
        """Start every part, in the order in which they need each other.

        Raises ``StartError`` if a server cannot be reached or refuses us.
        """
        await meet_homeserver(self._homeserver)
        await self._matrix.start(self._hub)
        await self._xmpp.start(self._hub)
        listen = self._config.appservice.listen
        try:
            await self._appservice.start(listen.host, listen.port)
        except OSError as error:
            raise StartError(
                2, f"appservice.listen: {listen}: {error.strerror}"
            ) from None
        self._keep_running("xmpp", self._run_xmpp())
        await self._meet_xmpp()
        await self._hub.start()
        await self._dispatch.start()
        self._keep_running("homeserver", self._watch.run())
        self._keep_running("audit", self._audit.run(self._rooms))

    async def stop(self) -> None:
        """Stop every part; what is on its way stays on disk."""
        logger.info("stopping")
        await self._appservice.stop()
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._hub.wait_empty()
                await self._dispatch.wait_empty()
        except TimeoutError:
            logger.info("%d messages wait on disk", self._dispatch.depth())
        self._hub.close()
        self._dispatch.close()
        await self._xmpp.close()
        for task in self._running:
            task.cancel()
        await self._homeserver.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            if task.get_name().startswith("lane "):
                task.cancel()

    def _keep_running(self, name: str, work: Work) -> None:
        self._running.append(self._tasks.create_task(work, name=name))

    async def _run_xmpp(self) -> None:
        try:
            await self._xmpp.run()
        except ComponentRefusedError as error:
            raise StartError(XMPP_REFUSES, str(error)) from None

    async def _meet_xmpp(self) -> None:
        """Wait a little for the XMPP server to accept us."""
        address = self._config.xmpp.address
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._xmpp.wait_up()
        except TimeoutError:
            raise StartError(
                XMPP_AWAY,
                f"the XMPP server cannot be reached at {address}; does it listen there"
                " for components?",
            ) from None

    async def _intake(self, events: Sequence[RawEvent]) -> None:
        await self._keep(events)
        self._audit.note(events)

    async def _keep(self, events: Sequence[RawEvent]) -> None:
        arrivals = self._matrix.arrivals(events)
        if arrivals:
            await self._hub.keep(arrivals)

    async def _homeserver_is_back(self) -> None:
        await self._audit.audit(self._rooms())

    def _rooms(self) -> Iterable[tuple[str, str]]:
        return ((portal.matrix, portal.agent) for portal in self._directory)


async def meet_homeserver(homeserver: Homeserver) -> None:
    """Wait a little for the homeserver to know us; raises ``StartError``."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            await homeserver.request("GET", join("account", "whoami"))
        except MatrixError as error:
            raise StartError(
                HOMESERVER,
                f"the homeserver refuses our as_token ({error}); does it use the"
                " registration.yaml beside the configuration, and was it restarted?",
            ) from None
        except HomeserverDownError as error:
            if time.monotonic() > deadline:
                raise StartError(
                    HOMESERVER, f"the homeserver cannot be reached: {error}"
                ) from None
            await asyncio.sleep(0.5)
        else:
            return


def _written(config: Config) -> Path:
    """Name the file that survives us and tells what we had written to XMPP."""
    return config.directory.resolve() / "written.ring"
