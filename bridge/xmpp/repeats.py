"""Tells what a client sends again, as it is not sure of it, from what is new.

Clients use ids again, too, so that an id holds only for a while and for the same words.
"""

import hashlib
import time
from collections import OrderedDict
from typing import Final

WHILE_S: Final = 3600.0
KNOWN_MAX: Final = 20_000


class Repeats:
    """Names messages: the same, within a while, if all that tells them apart is.

    The name is the same also for a run that comes after us, but at the turn of a while.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, tuple[float, str]] = OrderedDict()

    def name(self, *parts: str, at_s: float | None = None) -> str:
        """Name the message of *parts* (who, where, its id, its words).

        It was said at *at_s* (seconds since 1970), or now.
        """
        digest = hashlib.sha256("\0".join(parts).encode(errors="replace"))
        now = time.time() if at_s is None else at_s
        key = digest.digest()
        known = self._known.get(key)
        if known is not None and abs(now - known[0]) < WHILE_S:
            return known[1]
        digest.update(b"\0%d" % (now // WHILE_S))
        name = digest.hexdigest()
        self._known[key] = now, name
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return name
