"""Which servers answer no question, so that nobody waits for each of them in vain.

RFC 6120 §8.2.3 wants every question answered, if only by an error; some servers drop
what they do not know. A conversation must not stand still for that at each message.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

SILENT_S = 600.0
"""How long a server is not asked that has left a question unanswered."""
KNOWN_MAX = 1000


class Silences:
    """The servers that have left us without an answer a while ago."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: OrderedDict[str, float] = OrderedDict()

    def note(self, jid: str) -> None:
        """Take note that nothing came back from *jid*."""
        server = _server(jid)
        self._since[server] = self._clock()
        self._since.move_to_end(server)
        if len(self._since) > KNOWN_MAX:
            self._since.popitem(last=False)

    def expects(self, jid: str) -> bool:
        """Tell whether it is in vain to wait for an answer from *jid*."""
        since = self._since.get(_server(jid))
        return since is not None and self._clock() - since < SILENT_S


def _server(jid: str) -> str:
    return jid.partition("/")[0].rpartition("@")[2]
