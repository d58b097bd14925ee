"""Messages of ours that come back from those they were for."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from bridge.model.delivery import Parcel
from bridge.xmpp.codec.fault import Fault

logger = logging.getLogger(__name__)

LATE_S = 600.0
LATE_MAX = 10_000


class Bounce:
    """Whether a message came back; *fault* tells why."""

    __slots__ = ("fault",)

    def __init__(self) -> None:
        self.fault: Fault | None = None


class Bounces:
    """What may still come back, by its id and by whom it was for.

    *late* counts what came back after we believed it had arrived.
    """

    def __init__(self) -> None:
        self.late = 0
        self._open: dict[tuple[str, str], Bounce] = {}
        self._past: dict[tuple[str, str], tuple[float, Parcel]] = {}

    @contextmanager
    def expect(self, parcel: Parcel, bare: str) -> Iterator[Bounce]:
        """Look out for the message in *parcel*, to *bare*."""
        name = parcel.wire.key
        bounce = self._open[name, bare] = Bounce()
        try:
            yield bounce
        finally:
            del self._open[name, bare]

    def arrived(self, parcel: Parcel, bare: str) -> None:
        """Take note that we believe that *parcel*, to *bare*, has arrived."""
        self._forget_old()
        now = asyncio.get_running_loop().time()
        self._past[parcel.wire.key, bare] = now, parcel

    def came(self, name: str, bare: str, fault: Fault) -> Parcel | None:
        """Take note that *bare*, or a server for them, has sent *name* back.

        Return the parcel if it comes late: its sender believes that it arrived.
        """
        bounce = self._open.get((name, bare))
        if bounce is not None:
            bounce.fault = fault
            return None
        past = self._past.pop((name, bare), None)
        if past is None:
            return None
        self.late += 1
        logger.warning("%s came back late: %s", name, fault.condition)
        return past[1]

    def _forget_old(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._past:
            oldest = next(iter(self._past))
            if len(self._past) < LATE_MAX and self._past[oldest][0] > now - LATE_S:
                return
            del self._past[oldest]
