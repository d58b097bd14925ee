"""Says what the component and the puppets are, to whoever asks."""

from xml.etree.ElementTree import Element

from bridge.xmpp import replies
from bridge.xmpp.codec.xml import Node, node

PING = "urn:xmpp:ping"
VERSION = "jabber:iq:version"

_QUERY_INFO = f"{{{replies.DISCO_INFO}}}query"
_QUERY_ITEMS = f"{{{replies.DISCO_ITEMS}}}query"
_QUERY_VERSION = f"{{{VERSION}}}query"
_PING = f"{{{PING}}}ping"

# A gateway identity also keeps Conversations and Gajim from making the bridge the
# default service for their users' own group chats.
_GATEWAY = replies.Identity("gateway", "matrix", "Matrix")
_GATEWAY_FEATURES = (
    replies.DISCO_INFO,
    replies.DISCO_ITEMS,
    "jabber:iq:gateway",
    PING,
    VERSION,
)
_PUPPET_FEATURES = (replies.DISCO_INFO, replies.DISCO_ITEMS, PING)


class Disco:
    """Answers service discovery, pings and version requests."""

    def __init__(self, domain: str, version: str = "") -> None:
        self._domain = domain
        self._version = version

    def service(self, iq: Element) -> Node | None:
        """Answer *iq*, a get or a set; None if it is not for the domain itself."""
        if iq.get("to") != self._domain:
            return None
        query = _payload(iq)
        if query is not None and query.tag == _QUERY_VERSION and _is_get(iq):
            return replies.result(iq, self._about())
        return _answer(iq, _GATEWAY, _GATEWAY_FEATURES)

    def puppet(self, iq: Element, name: str = "") -> Node:
        """Answer *iq*, a get or a set, for the puppet of somebody called *name*."""
        return _answer(
            iq, replies.Identity("account", "registered", name), _PUPPET_FEATURES
        )

    def _about(self) -> Node:
        fields = [node("name", None, "xmpp-matrix-bridge")]
        if self._version:
            fields.append(node("version", None, self._version))
        return node("query", {"xmlns": VERSION}, *fields)


def nobody(iq: Element) -> Node:
    """Answer *iq*, a get or a set, for an address that nobody has."""
    query = _payload(iq)
    if query is not None and query.tag in (_QUERY_INFO, _QUERY_ITEMS):
        return replies.error(iq, "cancel", "item-not-found")
    return replies.error(iq, "cancel", "service-unavailable")


def _answer(iq: Element, identity: replies.Identity, features: tuple[str, ...]) -> Node:
    query = _payload(iq)
    if query is None:
        return replies.error(iq, "modify", "bad-request")
    if not _is_get(iq):
        return replies.error(iq, "cancel", "service-unavailable")
    if query.tag in (_QUERY_INFO, _QUERY_ITEMS) and query.get("node"):
        return replies.error(iq, "cancel", "item-not-found")
    match query.tag:
        case t if t == _PING:
            return replies.result(iq)
        case t if t == _QUERY_INFO:
            return replies.result(iq, replies.info(identity, features))
        case t if t == _QUERY_ITEMS:
            return replies.result(iq, replies.items())
        case _:
            return replies.error(iq, "cancel", "service-unavailable")


def _payload(iq: Element) -> Element | None:
    return iq[0] if len(iq) else None


def _is_get(iq: Element) -> bool:
    return iq.get("type") == "get"
