"""Says how much waits, and when that will be worked off."""

import logging
import time
from asyncio import sleep
from collections.abc import Awaitable, Callable, Mapping

from bridge.core.ports import StoreUnavailableError

logger = logging.getLogger(__name__)

TELL_EVERY_S = 30.0
BACKLOG_MIN = 500
"""Fewer are no backlog: they are gone before anybody reads of them."""

Count = Callable[[], Awaitable[Mapping[str, int]]]


class Progress:
    """Looks now and then at what *count* counts as waiting, wherever it waits.

    *depth* tells, at no cost, how much waits in memory: as long as that is little, and
    was, nobody counts.
    """

    def __init__(
        self,
        count: Count,
        depth: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count = count
        self._depth = depth
        self._clock = clock
        self._last: tuple[float, int] | None = None
        self.waiting = 0

    async def run(self, every_s: float = TELL_EVERY_S) -> None:
        """Tell now and then, until cancelled."""
        while True:
            await self.look()
            await sleep(every_s)

    async def look(self) -> None:
        """Count, if there is reason to, and tell how it goes on."""
        if self._last is None or self._last[1] or self._depth() >= BACKLOG_MIN:
            try:
                counts = await self._count()
            except StoreUnavailableError:
                return
            self._tell(self._clock(), sum(counts.values()))

    def _tell(self, now: float, waiting: int) -> None:
        before, self._last = self._last, (now, waiting)
        self.waiting = waiting
        if waiting < BACKLOG_MIN:
            if before and before[1] >= BACKLOG_MIN:
                logger.info("the backlog is worked off")
            self._last = (now, 0)
        elif before is None or not before[1]:
            logger.info("%d messages wait", waiting)
        else:
            rate = (before[1] - waiting) / max(now - before[0], 0.001)
            logger.info("%d messages wait, %s", waiting, _outlook(waiting, rate))


def _outlook(waiting: int, rate: float) -> str:
    if rate <= 0:
        return f"{-rate:.0f}/s more than leave"
    return f"{rate:.0f}/s fewer, worked off in {_span(waiting / rate)}"


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
