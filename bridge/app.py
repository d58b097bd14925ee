"""Builds the parts and joins them; starts and stops them in order."""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress

from bridge.config import Config
from bridge.core.commands import Commands
from bridge.core.directory import Directory
from bridge.core.dispatch import Dispatch
from bridge.core.guard import Guard, Limits
from bridge.core.hub import Hub
from bridge.core.ports import Adapter
from bridge.core.provisioning import Provisioning
from bridge.ends import (
    CONFIG,
    DATABASE,
    PATIENCE_S,
    XMPP_AWAY,
    XMPP_REFUSES,
    StartError,
    meet_homeserver,
    of_file,
)
from bridge.lookup import Addresses, Queries
from bridge.matrix.adapter import MatrixAdapter
from bridge.matrix.appservice import Appservice, RawEvent
from bridge.matrix.audit import Audit
from bridge.matrix.client import Homeserver
from bridge.matrix.megolm.ports import Strictness
from bridge.matrix.queries import ThirdParty
from bridge.matrix.secrecy import Encryption
from bridge.matrix.watch import Watch
from bridge.model.places import Network, Room
from bridge.model.records import Portal
from bridge.store.errors import SupersededError
from bridge.store.store import SqlStore
from bridge.upkeep import Upkeep
from bridge.xmpp.adapter import XmppAdapter
from bridge.xmpp.component import ComponentRefusedError

logger = logging.getLogger(__name__)

REUNION_S = 10.0
CONFIRM_S = 2.0
STOP_S = 3.5

Work = Coroutine[None, None, None]


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
        self._guard = _guard(config)
        self._matrix = self._matrix_side()
        self._xmpp = self._xmpp_side()
        self._hub = self._core()
        self._upkeep = self._maintenance()
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
        self._appservice.on_gap = self._look_again
        self._watching: set[asyncio.Task[None]] = set()
        self._meets_xmpp = False
        self._count()

    @property
    def waiting(self) -> int:
        """How many messages were left by an earlier run, or wait since."""
        return self._upkeep.progress.waiting

    def _maintenance(self) -> Upkeep:
        config = self._config
        return Upkeep(
            self._store,
            self._directory,
            self._dispatch,
            self._homeserver,
            bot=f"@{config.appservice.bot}:{config.homeserver.name}",
            folder=config.directory.resolve(),
            depth=lambda: self._hub.depth() + self._dispatch.depth(),
        )

    def _matrix_side(self) -> MatrixAdapter:
        config = self._config
        return MatrixAdapter(
            self._homeserver,
            self._store,
            f"@{config.appservice.bot}:{config.homeserver.name}",
            members_max=config.limits.room_members_max,
            encryption=_encryption(config),
        )

    def _xmpp_side(self) -> XmppAdapter:
        config = self._config
        return XmppAdapter(
            domain=config.xmpp.component,
            secret=config.xmpp.secret,
            host=config.xmpp.address.host,
            port=config.xmpp.address.port,
            store=self._store,
            tasks=self._tasks,
            written=config.directory.resolve() / "written.ring",
            omemo=config.encryption.omemo,
        )

    def _core(self) -> Hub:
        adapters: dict[Network, Adapter] = {
            Network.MATRIX: self._matrix,
            Network.XMPP: self._xmpp,
        }
        store, directory = self._store, self._directory
        self._dispatch = Dispatch(adapters, store, directory, self._tasks)
        provisioning = Provisioning(
            store,
            directory,
            self._dispatch,
            self._matrix,
            self._xmpp,
            guard=self._guard,
            exposes=self._config.encryption.plaintext == "allow",
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
            guard=self._guard,
        )

    def _count(self) -> None:
        """Let the parts tell what is worth counting, and what has come back."""
        count = self._dispatch.counters.add
        self._audit.on_rescued = lambda events: count("rescued", by=events)
        self._xmpp.on_poison = lambda: count("poison")
        self._xmpp.on_up = lambda: self._dispatch.hasten(Network.XMPP)

    async def start(self) -> None:
        """Start every part, in the order in which they need each other.

        What the homeserver has kept for us comes first: it is asked for at once, while
        the XMPP server may still be away.

        Raises ``StartError`` if a server cannot be reached or refuses us.
        """
        self._keep_watching("epoch", self._give_way())
        await meet_homeserver(self._homeserver, self._config.homeserver.url)
        await self._upkeep.begin()
        await self._matrix.start(self._hub)
        try:
            await self._xmpp.start(self._hub)
        except OSError as error:
            raise StartError(DATABASE, of_file(error)) from None
        await self._upkeep.ready((self._matrix, self._xmpp))
        listen = self._config.appservice.listen
        try:
            await self._appservice.start(listen.host, listen.port)
        except OSError as error:
            raise StartError(
                CONFIG,
                f"appservice.listen: {listen}: {error.strerror}; does another program,"
                " or another bridge, listen there?",
            ) from None
        self._keep_watching("homeserver", self._watch.run())
        # A new one that the XMPP server refuses, for there is another, leaves no trace.
        is_new = not await self._matrix.has_device()
        if not is_new:
            self._keep_watching("keys", self._matrix.run())
        self._meets_xmpp = True
        self._tasks.create_task(self._run_xmpp(), name="xmpp")
        await self._meet_xmpp()
        await self._upkeep.mark()
        if is_new:
            self._keep_watching("keys", self._matrix.run())
        await self._hub.start()
        await self._dispatch.start()
        self._keep_watching("audit", self._audit.run(self._rooms))
        for name, work in self._upkeep.works().items():
            self._keep_watching(name, work)

    async def stop(self) -> None:
        """End in good order: what waits stays on disk, what comes is still kept there.

        Nothing more is sent; of what was, we wait to hear that it has arrived.
        """
        logger.info("stopping")
        for task in self._watching:
            task.cancel()  # it would only find that the homeserver cannot reach us
        self._begin_nothing()
        try:
            async with asyncio.timeout(STOP_S):
                await self._confirm()
                await self._appservice.stop()
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

    async def _confirm(self) -> None:
        """Wait for what was begun: its answer spares the next run the question."""
        try:
            async with asyncio.timeout(CONFIRM_S):
                await self._hub.wait_empty()
                await self._dispatch.wait_empty()
        except TimeoutError:
            logger.info("some of what was sent is not confirmed: the next run sees")

    def _begin_nothing(self) -> None:
        self._hub.close()
        self._dispatch.close()

    def _keep_watching(self, name: str, work: Work) -> None:
        task = self._tasks.create_task(work, name=name)
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def _give_way(self) -> None:
        """End once another instance has begun: what we do counts no more."""
        await self._store.superseded()
        raise SupersededError

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
        """Fetch what the homeserver forgot to push before *events*."""
        rooms = {Room(Network.MATRIX, event.room_id) for event in events}
        found = (self._directory.portal(room) for room in rooms)
        with suppress(TimeoutError):
            async with asyncio.timeout(REUNION_S):
                await self._audit.catch_up(
                    (portal.matrix, portal.agent) for portal in found if portal
                )

    async def _intake(self, events: Sequence[RawEvent]) -> None:
        await self._keep(events)
        self._audit.note(events)

    async def _keep(self, events: Sequence[RawEvent]) -> None:
        arrivals = self._matrix.arrivals(events)
        if arrivals:
            await self._hub.keep(arrivals)

    async def _homeserver_is_back(self) -> None:
        self._matrix.doubt()
        self._dispatch.hasten(Network.MATRIX)
        await self._audit.audit(self._rooms())
        self._look_again()

    def _look_again(self) -> None:
        """Read all rooms again, soon: some push may be stuck with the homeserver."""
        self._keep_watching("audit again", self._audit.look_again(self._rooms))

    def _rooms(self) -> Iterable[tuple[str, str]]:
        return ((portal.matrix, portal.agent) for portal in self._directory)


def _guard(config: Config) -> Guard:
    limits = config.limits
    return Guard(
        Limits(
            requests_per_minute=limits.requests_per_minute,
            messages_per_minute=limits.messages_per_minute,
            blocked=frozenset(limits.blocked),
        )
    )


def _encryption(config: Config) -> Encryption:
    """Put what the admin wishes in the words of the Matrix side."""
    strict = config.encryption.strict
    return Encryption(
        Strictness.SIGNED if strict else Strictness.PINNED,
        direct=config.encryption.default,
    )
