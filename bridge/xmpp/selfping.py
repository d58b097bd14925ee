"""Asks a MUC whether somebody of ours is still in it (XEP-0410)."""

from bridge.xmpp.codec.xml import node
from bridge.xmpp.component import IqError
from bridge.xmpp.gate import StanzaError
from bridge.xmpp.means import Means

TIMEOUT_S = 15.0

_PING = node("ping", {"xmlns": "urn:xmpp:ping"})
_IN = frozenset(("service-unavailable", "feature-not-implemented", "item-not-found"))
_UNKNOWN = frozenset(
    ("remote-server-not-found", "remote-server-timeout", "recipient-unavailable")
)


async def still_in(means: Means, address: str, sender: str) -> bool | None:
    """Tell whether *sender* is still at *address*, room and nick; None if unknown."""
    try:
        await means.stream.iq("get", address, sender, _PING, TIMEOUT_S)
    except IqError as error:
        if error.condition in _UNKNOWN:
            return None
        # §3.2: these come from the client behind the nick, so that it is there.
        return error.condition in _IN
    except (TimeoutError, ConnectionError, StanzaError):
        return None
    return True
