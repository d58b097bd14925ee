"""Recognises that two bridges throw the same words at each other.

Bridges of our kind mark what they carry. Others do not: what they bring back comes
as somebody else's, at once, with the same words or with a name before them.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable

from bridge.model.places import Network, PortalId

ECHO_S = 5.0
ECHOES_MAX = 5
PAUSE_S = 60.0

_WORDS_MAX = 30
_CHARS_MAX = 200
_TELLING_CHARS = 8
_PORTALS_MAX = 5_000

_Words = tuple[float, Network, str, int]


class Echoes:
    """What was carried in a moment ago, and which portals are paused for it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._carried: OrderedDict[PortalId, deque[_Words]] = OrderedDict()
        self._paused: dict[PortalId, float] = {}

    def paused(self, portal: PortalId) -> bool:
        """Tell whether *portal* is paused."""
        until = self._paused.get(portal)
        if until is None:
            return False
        if until > self._clock():
            return True
        del self._paused[portal]
        return False

    def circles(self, portal: PortalId, network: Network, words: str) -> bool:
        """Take note of *words* that came from *network*.

        Tell whether they have now gone back and forth too often: then pause.
        """
        now = self._clock()
        words = words[-_CHARS_MAX:].strip()
        carried = self._carried.setdefault(portal, deque(maxlen=_WORDS_MAX))
        self._carried.move_to_end(portal)
        if len(self._carried) > _PORTALS_MAX:
            self._carried.popitem(last=False)
        times = 0
        for at, came_from, known, before in carried:
            fresh = now - at <= ECHO_S and came_from is not network
            if fresh and _repeats(words, known):
                times = max(times, before + 1)
        carried.append((now, network, words, times))
        if times < ECHOES_MAX:
            return False
        carried.clear()
        self._paused[portal] = now + PAUSE_S
        return True


def _repeats(words: str, known: str) -> bool:
    """Tell whether *words* are *known* once more, perhaps with a name before them."""
    if words == known:
        return bool(known)
    return len(known) >= _TELLING_CHARS and words.endswith(known)
