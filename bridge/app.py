"""Builds the parts and joins them; starts and stops them in order."""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any

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
REUNION_S = 10.0
DRAIN_S = 2.0
STOP_S = 3.5
LAST_S = 4.5
"""When we end, asked to stop, even if something hangs: all that counts is on disk."""

CONFIG, HOMESERVER, XMPP_AWAY, XMPP_REFUSES, SECOND, DATABASE, FAULT = (
    *range(2, 8),
    70,
)

Work = Coroutine[None, None, None]


class StartError(Exception):
    """The bridge cannot start; one line that says why, and an exit code."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


def run(config: Config) -> int:
    """Run the bridge until SIGTERM and return the exit code."""
    try:
        uvloop.run(_serve(config))
    except Exception as error:  # noqa: BLE001 - every end has its line and its code
        return _complain(error)
    return 0


def _complain(error: Exception) -> int:
    """Say in one line why we end, and return the exit code."""
    ends = [_end(cause) for cause in _causes(error)]
    # What has a code of its own says more than what broke along with it.
    end = next((end for end in ends if end.code != FAULT), ends[0])
    print(f"xmpp-matrix-bridge: {end}", file=sys.stderr)
    return end.code


def _causes(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _causes(one)
    else:
        yield error


def _end(cause: BaseException) -> StartError:
    if isinstance(cause, StartError):
        return cause
    if isinstance(cause, StoreError | StoreUnavailableError):
        return StartError(DATABASE, f"the database cannot be used: {cause}")
    logger.error("a part of the bridge failed", exc_info=cause)
    name = type(cause).__name__
    return StartError(FAULT, f"a fault of the bridge ({name}): see the log, report it")


async def _serve(config: Config) -> None:
    began = time.monotonic()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, _ask_to_stop, stop)
    store = await open_store(config)
    try:
        async with asyncio.TaskGroup() as tasks:
            app = App(config, store, tasks, await store.load(Portal))
            try:
                if await _unless(stop, app.start(), tasks):
                    gc.collect()
                    # Collections cost much and find little.
                    gc.set_threshold(20_000, 50, 100)
                    gc.freeze()  # what is there now stays: nobody looks at it again
                    took = time.monotonic() - began
                    print(f"xmpp-matrix-bridge {__version__} is ready ({took:.1f} s)")
                    sys.stdout.flush()
                    await stop.wait()
                await app.stop()
            finally:
                await app.close()
    finally:
        await store.close()


def _ask_to_stop(stop: asyncio.Event) -> None:
    if not stop.is_set():
        stop.set()
        last = threading.Timer(LAST_S, _end_anyway)
        last.daemon = True
        last.start()


def _end_anyway() -> None:
    logger.warning("something hangs: ending all the same; what counts is on disk")
    os._exit(0)


async def _unless(stop: asyncio.Event, start: Work, tasks: asyncio.TaskGroup) -> bool:
    """Start, unless asked to stop before; tell whether it is started."""
    starting = tasks.create_task(start, name="start")
    stopping = tasks.create_task(stop.wait(), name="stop")
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        return True
    starting.cancel()
    await asyncio.wait((starting,))
    return False


async def open_store(config: Config) -> SqlStore:
    """Open the database; raises ``StartError``."""
    try:
        return await SqlStore.open(config.database_url(), config.store.seal_key())
    except AlreadyRunningError as error:
        raise StartError(SECOND, str(error)) from None
    except (StoreError, StoreUnavailableError) as error:
        raise StartError(DATABASE, str(error)) from None
    except OSError as error:
        raise StartError(DATABASE, _of_file(error)) from None


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
            written=config.directory.resolve() / "written.ring",
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
            reunited=self._reunited,
        )
        self._watching: set[asyncio.Task[None]] = set()
        self._meets_xmpp = False

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
        await meet_homeserver(self._homeserver, self._config.homeserver.url)
        await self._matrix.start(self._hub)
        try:
            await self._xmpp.start(self._hub)
        except OSError as error:
            raise StartError(DATABASE, _of_file(error)) from None
        listen = self._config.appservice.listen
        try:
            await self._appservice.start(listen.host, listen.port)
        except OSError as error:
            raise StartError(
                CONFIG,
                f"appservice.listen: {listen}: {error.strerror}; does another program,"
                " or another bridge, listen there?",
            ) from None
        self._meets_xmpp = True
        self._tasks.create_task(self._run_xmpp(), name="xmpp")
        await self._meet_xmpp()
        await self._hub.start()
        await self._dispatch.start()
        self._keep_watching("homeserver", self._watch.run())
        self._keep_watching("audit", self._audit.run(self._rooms))

    async def stop(self) -> None:
        """End in good order; what is on its way stays on disk."""
        logger.info("stopping")
        for task in self._watching:
            task.cancel()  # it would only find that the homeserver cannot reach us
        try:
            async with asyncio.timeout(STOP_S):
                await self._appservice.stop()
                await self._drain()
                self._begin_nothing()
                if self._meets_xmpp:
                    await self._xmpp.close()
        except TimeoutError:
            logger.warning("not all ended in good time: the rest is cut off")

    async def close(self) -> None:
        """Let go of everything, in good order or not."""
        self._begin_nothing()
        await self._appservice.stop()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await self._homeserver.close()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._hub.wait_empty()
                await self._dispatch.wait_empty()
        except TimeoutError:
            logger.info("%d messages wait on disk", self._dispatch.depth())

    def _begin_nothing(self) -> None:
        self._hub.close()
        self._dispatch.close()

    def _keep_watching(self, name: str, work: Work) -> None:
        task = self._tasks.create_task(work, name=name)
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

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

    async def _reunited(self, events: Sequence[RawEvent]) -> None:
        """Fetch what a homeserver that has restarted forgot to push before *events*."""
        rooms = {event.room_id for event in events}
        with suppress(TimeoutError):
            async with asyncio.timeout(REUNION_S):
                await self._audit.catch_up(r for r in self._rooms() if r[0] in rooms)

    async def _intake(self, events: Sequence[RawEvent]) -> None:
        await self._keep(events)
        self._audit.note(events)

    async def _keep(self, events: Sequence[RawEvent]) -> None:
        arrivals = self._matrix.arrivals(events)
        if arrivals:
            await self._hub.keep(arrivals)

    async def _homeserver_is_back(self) -> None:
        await self._audit.audit(self._rooms())
        self._keep_watching("audit again", self._audit.look_again(self._rooms))

    def _rooms(self) -> Iterable[tuple[str, str]]:
        return ((portal.matrix, portal.agent) for portal in self._directory)


async def meet_homeserver(homeserver: Homeserver, url: str) -> None:
    """Wait a little for the homeserver to know us; raises ``StartError``."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        left_s = max(deadline - time.monotonic(), 1.0)
        path = join("account", "whoami")
        try:
            answer = await homeserver.request("GET", path, timeout_s=left_s)
        except MatrixError as error:
            if not error.retry_after_s:
                raise StartError(HOMESERVER, _of_refusal(error)) from None
            why = str(error)
        except HomeserverDownError as error:
            why = str(error)
        else:
            check_name(answer, homeserver.server_name)
            return
        if time.monotonic() > deadline:
            raise StartError(
                HOMESERVER,
                f"the homeserver cannot be reached at {url}: {why}; does it run, and"
                " is homeserver.url right?",
            )
        await asyncio.sleep(0.5)


def check_name(whoami: Mapping[str, Any], name: str) -> None:
    """See that the homeserver has the name we believe; raises ``StartError``."""
    server = str(whoami.get("user_id", "")).partition(":")[2]
    if server != name:
        raise StartError(
            CONFIG,
            f"homeserver.name: the homeserver is called {server!r}, not {name!r}: run"
            " init again with that name",
        )


def _of_refusal(error: MatrixError) -> str:
    if error.status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"the homeserver answers {error}; is homeserver.url right?"
    return (
        f"the homeserver refuses our as_token ({error}); does it use the"
        " registration.yaml beside the configuration, and was it restarted?"
    )


def _of_file(error: OSError) -> str:
    where = error.filename or "a file beside the configuration"
    return f"{where}: cannot be written: {error.strerror}"
