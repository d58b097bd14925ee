"""Brings the machine what the homeserver holds for our devices.

    pull -> received -> one commit with how far was read -> catch up -> tell

The bot's device is listened to all the time; a ghost's when somebody writes to it.
Never by the appservice's own transactions: homeservers push to-device messages there
once at best, and some not at all (synapse#14710). What they push so comes here too.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus

import msgspec

from bridge.core.ports import Store, StoreUnavailableError, Unit
from bridge.matrix.client import Homeserver, HomeserverDownError, MatrixError
from bridge.matrix.megolm.machine import Machine
from bridge.matrix.megolm.ports import News, Role
from bridge.matrix.pulls import Mark, Pulls
from bridge.matrix.recent import Locks, Recent
from bridge.model.records import Cursor

logger = logging.getLogger(__name__)

KIND = "keys"
WAIT_S = 30.0
PAUSE_S = 1.0
PAUSE_S_MAX = 60.0
TURN_S_MIN = 0.05
MARKS_MAX = 10_000
PAGES_MAX = 50

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Mark).decode


class KeyFeed:
    """Feeds *machine*; *told* is shown what came of it, once it is safe.

    *bot* is whose device is listened to all the time. *prepare*, which may be set, is
    awaited before.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        store: Store,
        machine: Machine,
        bot: str,
        told: Callable[[News], None],
    ) -> None:
        self._pulls = Pulls(homeserver)
        self._store = store
        self._machine = machine
        self._bot = bot
        self._told = told
        self._marks: Recent[str, Mark] = Recent(MARKS_MAX)
        self._locks: Locks[str] = Locks()
        self._wanted = asyncio.Event()
        self.prepare: Callable[[], Awaitable[None]] = _nothing
        self._connected = False
        self._begun = False
        self._complained = ""
        self.pulls = 0

    @property
    def connected(self) -> bool:
        """Whether the homeserver answered when it was last asked."""
        return self._connected

    async def run(self) -> None:
        """Listen for the bot until cancelled."""
        pause_s = PAUSE_S
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            self._wanted.clear()
            try:
                await self.prepare()
                # The first answer comes at once, so that it is known to work.
                await self._turn(self._bot, WAIT_S if self._connected else 0.0)
            except (HomeserverDownError, MatrixError, StoreUnavailableError) as error:
                self._connected = False
                self._complain(str(error))
                await self._rest(max(pause_s, getattr(error, "retry_after_s", 0.0)))
                pause_s = min(pause_s * 2, PAUSE_S_MAX)
            else:
                self._connected = True
                self._complained = ""
                pause_s = PAUSE_S
                # One that does not wait for news must not keep us busy.
                await self._rest(TURN_S_MIN - (clock() - began))

    async def _rest(self, wait_s: float) -> None:
        """Wait, unless somebody waits for a key."""
        if wait_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wanted.wait()

    async def pull(self, user: str) -> None:
        """Fetch what is there for the device of *user*, at once."""
        if user == self._bot:
            self._wanted.set()  # if it listens, it hears at once anyway
            return
        try:
            for _ in range(PAGES_MAX):
                if not await self._turn(user, 0.0):
                    return
        except (HomeserverDownError, MatrixError, StoreUnavailableError) as error:
            logger.warning("keys of %s cannot be fetched: %s", user, error)

    async def expect(self, user: str, device: str) -> None:
        """Take note that *device* of *user* has an inbox, before anything is in it."""
        key = f"{user} {device}"
        known = self._marks.get(key) or await self._store.find(Cursor, KIND, key)
        if known is None:
            await self._note(Unit(), user, device, Mark())

    def _complain(self, why: str) -> None:
        """Say once why no keys come: some homeservers never bring any."""
        level = logging.DEBUG if why == self._complained else logging.WARNING
        self._complained = why
        logger.log(level, "keys cannot be fetched, will be retried: %s", why)

    async def _turn(self, user: str, wait_s: float) -> bool:
        """Fetch once; tell whether there is more."""
        role = Role.BOT if user == self._bot else Role.CONTACT
        async with self._locks(user):
            device = await self._machine.ensure(user, role)
            mark = await self._mark(user, device)
            try:
                pulled = await self._pulls.pull(user, device, mark, wait_s)
            except MatrixError as error:
                await self._understand(user, device, mark, error)
                return True
            self.pulls += 1
            unit = Unit()
            # What an earlier run was told, and did not look into, is not known.
            first = user == self._bot and not self._begun
            feed = replace(pulled.feed, gap=True) if first else pulled.feed
            news = await self._machine.received(unit, user, feed)
            await self._note(unit, user, device, pulled.mark)
            self._begun = self._begun or first
        await self._machine.catch_up(user)
        if news.keys:
            self._told(news)
        return pulled.more

    async def _mark(self, user: str, device: str) -> Mark:
        key = f"{user} {device}"
        known = self._marks.get(key)
        if known is not None:
            return known
        cursor = await self._store.find(Cursor, KIND, key)
        return Mark() if cursor is None else _decode(cursor.value)

    async def _note(self, unit: Unit, user: str, device: str, mark: Mark) -> None:
        key = f"{user} {device}"
        unit.put.append(Cursor(KIND, key, _encode(mark).decode()))
        await self._store.commit(unit)
        self._marks.put(key, mark)

    async def _understand(
        self, user: str, device: str, mark: Mark, error: MatrixError
    ) -> None:
        """Mend what the homeserver objects to, or raise *error* again."""
        if "UNKNOWN_DEVICE" in error.errcode:
            logger.error("%s has lost its device %s: it gets another", user, device)
            await self._machine.replace(user)
            return
        if error.status != HTTPStatus.BAD_REQUEST or not (mark.pos or mark.plain):
            raise error
        logger.info("%s: the feed of keys begins anew: %s", user, error.errcode)
        # What is not acknowledged stays with the homeserver: nothing is lost.
        await self._note(Unit(), user, device, Mark(since=mark.since))


async def _nothing() -> None:
    """Have nothing to prepare."""
