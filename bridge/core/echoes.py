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

_Words = tuple[float, str, int]


class _Carried:
    """What was said in one portal a moment ago, by the network it came from."""

    __slots__ = ("matrix", "xmpp")

    def __init__(self) -> None:
        self.matrix: deque[_Words] = deque(maxlen=_WORDS_MAX)
        self.xmpp: deque[_Words] = deque(maxlen=_WORDS_MAX)


class Echoes:
    """What was carried in a moment ago, and which portals are paused for it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._carried: OrderedDict[PortalId, _Carried] = OrderedDict()
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
        carried = self._carried.get(portal)
        if carried is None:
            carried = self._carried[portal] = _Carried()
            if len(self._carried) > _PORTALS_MAX:
                self._carried.popitem(last=False)
        self._carried.move_to_end(portal)
        here, there = carried.matrix, carried.xmpp
        if network is Network.XMPP:
            here, there = there, here
        times = _times(words, there, now) if there else 0
        here.append((now, words, times))
        if times < ECHOES_MAX:
            return False
        del self._carried[portal]
        self._paused[portal] = now + PAUSE_S
        return True


def _times(words: str, there: deque[_Words], now: float) -> int:
    """Count how often *words* have come back by now, the last time from *there*."""
    times = 0
    for at, known, before in reversed(there):
        if now - at > ECHO_S:
            break
        if _repeats(words, known):
            times = max(times, before + 1)
    return times


def _repeats(words: str, known: str) -> bool:
    """Tell whether *words* are *known* once more, perhaps with a name before them."""
    if words == known:
        return bool(known)
    return len(known) >= _TELLING_CHARS and words.endswith(known)
