"""How often each of many may do something: a token bucket for everybody."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

WHO_MAX = 20_000
BURST_MINUTES = 2

_MINUTE_S = 60.0


class Pace:
    """Allows each *per_minute* times a minute, and twice that at once after a rest.

    0 sets no limit. Whoever was not seen for longest is forgotten first, so memory
    is bounded however many there are.
    """

    def __init__(
        self, per_minute: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = per_minute / _MINUTE_S
        self._burst = float(max(per_minute * BURST_MINUTES, 1))
        self._clock = clock
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def allows(self, who: Hashable) -> bool:
        """Tell whether *who* may do it once more, and count it if so."""
        if not self._rate:
            return True
        now = self._clock()
        left, since = self._left.get(who, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        allowed = left >= 1.0
        self._left[who] = (left - 1.0 if allowed else left, now)
        self._left.move_to_end(who)
        if len(self._left) > WHO_MAX:
            self._left.popitem(last=False)
        return allowed
