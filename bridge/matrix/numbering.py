"""Tells by the numbers of transactions whether one is missing.

Synapse numbers its transactions; one that it makes just when it finds us back can stay
with it until the next failure, and later ones overtake it. But it counts for all its
appservices in one row: where there are others, what is left out went to them.
"""

import logging
import time
from collections import deque
from collections.abc import Callable

logger = logging.getLogger(__name__)

DIGITS_MAX = 18
"""Longer ones are times, not numbers."""
GAPS_MAX = 5
OFTEN_S = 600.0
"""So many gaps in that time are others' doing: one of ours is missing once in a run."""


class Numbering:
    """Follows the numbers of what is pushed; *clock* counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = 0
        self._gaps: deque[float] = deque(maxlen=GAPS_MAX)
        self._alone = True

    def skips(self, txn: str) -> bool:
        """Take note of *txn*; tell whether one of ours is missing before it."""
        known = txn.isascii() and txn.isdigit() and len(txn) <= DIGITS_MAX
        number = int(txn) if known else 0
        gap = 0 < self._last < number - 1
        self._last = number
        return gap and self._is_ours()

    def _is_ours(self) -> bool:
        """Tell whether a gap means anything: to look back costs homeservers a lot."""
        now = self._clock()
        often = len(self._gaps) == GAPS_MAX and now - self._gaps[0] < OFTEN_S
        self._gaps.append(now)
        if often and self._alone:
            self._alone = False
            logger.info("the homeserver counts transactions for others, too")
        return self._alone
