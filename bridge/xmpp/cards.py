"""What puppets are called: visiting cards (XEP-0054) and nicknames (XEP-0172).

message of a direct chat -> learned -> who watches the nickname is told
question                 -> learned, or asked of the core -> answer
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from bridge.xmpp.codec.names import mxid_of
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.means import OWN
from bridge.xmpp.omemo.means import NotNowError

NICK: Final = "http://jabber.org/protocol/nick"
VCARD: Final = "vcard-temp"
NAMES_MAX: Final = 10_000
FRESH_S: Final = 600.0
AWAY: Final = "remote-server-timeout"

_ITEM: Final = "current"
_BRIDGE: Final = "Matrix bridge"


def nick(name: str) -> Node:
    """Write what somebody calls themselves, for a message or a presence."""
    return node("nick", {"xmlns": NICK}, name)


class Cards:
    """The names of puppets; a source of PEP for their nicknames.

    *ask* looks somebody of Matrix up by their id: "" is nobody's name, None says that
    nobody can tell now. *clock* counts seconds.
    """

    slow = False

    def __init__(
        self,
        ask: Callable[[str], Awaitable[str | None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._names: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def learn(self, account: str, name: str) -> bool:
        """Take note of a name that was just used; tell whether it is another one."""
        before = self._names.get(account)
        self._keep(account, name)
        return before is not None and before[0] != name

    async def nodes(self, account: str) -> Sequence[str]:
        """List the nodes that *account* has; see ``Source``."""
        return () if _local(account) in OWN else (NICK,)

    async def items(
        self,
        account: str,
        node: str,
        asker: str,  # noqa: ARG002 - the protocol's signature
    ) -> Sequence[tuple[str, Node]] | None:
        """Return the nickname of *account*; see ``Source``."""
        if node != NICK or _local(account) in OWN:
            return None
        name = await self._name(account)
        return None if not name else ((_ITEM, nick(name)),)

    async def card(self, account: str) -> Node | None:
        """Write the card of *account*; None if there is nobody."""
        local = _local(account)
        if local in OWN:
            return node("vCard", {"xmlns": VCARD}, node("FN", None, _BRIDGE))
        name = await self._name(account)
        if not name:
            return None
        url = f"https://matrix.to/#/{mxid_of(local)}"
        fields = {"FN": name, "NICKNAME": name, "URL": url}
        inside = (node(field, None, text) for field, text in fields.items())
        return node("vCard", {"xmlns": VCARD}, *inside)

    async def _name(self, account: str) -> str:
        """Tell what *account* is called, "" if nobody is; raises ``NotNowError``."""
        known = self._names.get(account)
        if known is not None and self._clock() - known[1] < FRESH_S:
            return known[0]
        mxid = mxid_of(_local(account))
        name = "" if mxid is None else await self._ask(mxid)
        if name is None:
            if known is None:
                raise NotNowError(AWAY)
            return known[0]
        self._keep(account, name)
        return name

    def _keep(self, account: str, name: str) -> None:
        self._names[account] = (name, self._clock())
        self._names.move_to_end(account)
        if len(self._names) > NAMES_MAX:
            self._names.popitem(last=False)


def _local(account: str) -> str:
    return account.rpartition("@")[0]
