"""Hands what comes from XMPP to the core, many at a time, and slows down for it.

Nothing acknowledges a stanza on a component's stream. So while nothing can be kept
we stop reading, and after a while close the stream: then servers tell the senders.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from bridge.core.ports import Host, StoreUnavailableError
from bridge.model.delivery import Arrival

logger = logging.getLogger(__name__)

WAITING_MAX = 1000
HOLD_S = 1.0
PATIENCE_S = 5.0
RETRY_S = 0.5


class Valve(Protocol):
    """What holds back the XMPP server."""

    def pause(self) -> None:
        """Read nothing more until *resume*."""

    def resume(self) -> None:
        """Read on."""

    def shut(self) -> None:
        """Disconnect until *reopen*, so that servers bounce what is for us."""

    def reopen(self) -> None:
        """Connect again."""


class Inbound:
    """Keeps arrivals in the order in which they came, grouped by turn of the loop.

    *lost* tells the sender of what can never be kept.
    """

    def __init__(self, host: Host, valve: Valve) -> None:
        self.lost: Callable[[Arrival], Awaitable[None]] | None = None
        self._host = host
        self._valve = valve
        self._waiting: list[Arrival] = []
        self._calls: list[Callable[[], None]] = []
        self._some = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._paused = False
        self._shut = False

    def add(self, arrival: Arrival) -> None:
        """Have *arrival* kept, after those that were added before."""
        self._waiting.append(arrival)
        if len(self._waiting) >= WAITING_MAX and not self._paused:
            self._hold()
        self._wake()

    def after(self, call: Callable[[], None]) -> None:
        """Call *call* once all that was added before is on disk."""
        self._calls.append(call)
        self._wake()

    def up(self) -> None:
        """Take note of a new stream: it is held back as the one before was."""
        if self._paused:
            self._valve.pause()

    async def run(self) -> None:
        """Keep what is added, for ever."""
        while True:
            await self._some.wait()
            self._some.clear()
            arrivals, self._waiting = self._waiting, []
            calls, self._calls = self._calls, []
            if arrivals:
                await self._keep(arrivals)
            for call in calls:
                call()
            if not self._waiting:
                self._release()
            if not self._some.is_set():
                self._idle.set()

    async def wait_empty(self) -> None:
        """Wait until everything that came is kept."""
        await self._idle.wait()

    def _wake(self) -> None:
        self._some.set()
        self._idle.clear()

    async def _keep(self, arrivals: list[Arrival]) -> None:
        try:
            await self._keep_somehow(arrivals)
        except Exception:
            # The end of the line for an arrival: it must not take others with it.
            if len(arrivals) == 1:
                logger.exception("an arrival in %s is lost", arrivals[0].room.address)
                await self._lose(arrivals[0])
                return
            for arrival in arrivals:
                await self._keep([arrival])

    async def _lose(self, arrival: Arrival) -> None:
        """Tell the sender of *arrival* that it can never be kept."""
        try:
            if self.lost is not None:
                await self.lost(arrival)
        except Exception:
            logger.exception("its sender cannot be told")

    async def _keep_somehow(self, arrivals: list[Arrival]) -> None:
        """Keep *arrivals*, however long nothing can be written."""
        loop = asyncio.get_running_loop()
        # A database may also give no answer at all.
        clocks = (
            loop.call_later(HOLD_S, self._hold),
            loop.call_later(PATIENCE_S, self._close),
        )
        try:
            while not await self._is_kept(arrivals):
                self._hold()
                await asyncio.sleep(RETRY_S)
        finally:
            for clock in clocks:
                clock.cancel()
            self._reopen()

    async def _is_kept(self, arrivals: list[Arrival]) -> bool:
        try:
            await self._host.keep(arrivals)
        except StoreUnavailableError:
            return False
        return True

    def _close(self) -> None:
        logger.error("nothing can be written: XMPP is closed until it can")
        self._shut = True
        self._valve.shut()

    def _reopen(self) -> None:
        """Open XMPP, if it was closed: whoever refuses something for good can write."""
        if self._shut:
            self._shut = False
            logger.info("writing works again: XMPP is opened")
            self._valve.reopen()

    def _hold(self) -> None:
        if not self._paused:
            self._paused = True
            self._valve.pause()

    def _release(self) -> None:
        if self._paused:
            self._paused = False
            self._valve.resume()
