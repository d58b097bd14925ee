"""Counts what went wrong, by kind and by reason; never what it was about."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping

logger = logging.getLogger(__name__)

TELL_EVERY_S = 60.0


class Counters:
    """What has happened since the start, as "refused REJECTED" or "rescued".

    Whoever counts passes one or two plain words, the same ones each time, so there
    are only ever a few kinds.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._told: Mapping[str, int] = {}

    def add(self, kind: str, reason: str = "", by: int = 1) -> None:
        """Count *by* more of a kind."""
        self._counts[f"{kind} {reason}" if reason else kind] += by

    def counts(self) -> dict[str, int]:
        """Tell all counts."""
        return dict(self._counts)

    def tell(self) -> None:
        """Log what has changed since it was last told, in one line."""
        changed = self._counts - Counter(self._told)
        if changed:
            self._told = dict(self._counts)
            logger.info("since the start: %s", _line(self._counts))

    async def run(self, every_s: float = TELL_EVERY_S) -> None:
        """Tell now and then, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            self.tell()


def _line(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {counts[kind]}" for kind in sorted(counts))
