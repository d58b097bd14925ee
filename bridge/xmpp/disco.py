"""Says what the component and the puppets are, to whoever asks."""

from collections.abc import Callable
from xml.etree.ElementTree import Element

from bridge.xmpp import replies
from bridge.xmpp.codec.xml import Node, node

PING = "urn:xmpp:ping"
VERSION = "jabber:iq:version"
GATEWAY = "jabber:iq:gateway"

_QUERY_INFO = f"{{{replies.DISCO_INFO}}}query"
_QUERY_ITEMS = f"{{{replies.DISCO_ITEMS}}}query"
_QUERY_VERSION = f"{{{VERSION}}}query"
_QUERY_GATEWAY = f"{{{GATEWAY}}}query"
_PING = f"{{{PING}}}ping"

# A gateway identity also keeps Conversations and Gajim from making the bridge the
# default service for their users' own group chats.
_SERVICE = replies.Identity("gateway", "matrix", "Matrix")
MUC = "http://jabber.org/protocol/muc"

# The gateway's feature keeps clients from taking us for their server's own MUC service.
_SERVICE_FEATURES = (
    replies.DISCO_INFO,
    replies.DISCO_ITEMS,
    GATEWAY,
    MUC,
    PING,
    VERSION,
)
_PUPPET_FEATURES = (replies.DISCO_INFO, replies.DISCO_ITEMS, PING)


class Disco:
    """Answers service discovery, pings, version requests and address prompts.

    *translate* makes a JID of what people call somebody on Matrix, or None.
    """

    def __init__(
        self,
        domain: str,
        version: str = "",
        translate: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._domain = domain
        self._version = version
        self._translate = translate

    def service(self, iq: Element) -> Node | None:
        """Answer *iq*, a get or a set; None if it is not for the domain itself."""
        if iq.get("to") != self._domain:
            return None
        query = _payload(iq)
        if query is not None and query.tag == _QUERY_GATEWAY:
            return self._gateway(iq, query)
        if (
            query is not None
            and query.tag == _QUERY_VERSION
            and iq.get("type") == "get"
        ):
            return replies.result(iq, self._about())
        return _answer(iq, _SERVICE, _SERVICE_FEATURES)

    def puppet(self, iq: Element, name: str = "") -> Node:
        """Answer *iq*, a get or a set, for the puppet of somebody called *name*."""
        identity = replies.Identity("account", "registered", name)
        return _answer(iq, identity, _PUPPET_FEATURES)

    def _about(self) -> Node:
        fields = [node("name", None, "xmpp-matrix-bridge")]
        if self._version:
            fields.append(node("version", None, self._version))
        return node("query", {"xmlns": VERSION}, *fields)

    def _gateway(self, iq: Element, query: Element) -> Node:
        """Help a client find the JID of somebody on Matrix; XEP-0100 §6."""
        if iq.get("type") == "get":
            desc = node("desc", None, "Enter a Matrix user id, as @alice:example.org")
            prompt = node("prompt", None, "Matrix user id")
            return replies.result(iq, node("query", {"xmlns": GATEWAY}, desc, prompt))
        asked = query.findtext("{*}prompt") or ""
        jid = self._translate(asked.strip())
        if jid is None:
            return replies.error(iq, "modify", "item-not-found")
        found = node("query", {"xmlns": GATEWAY}, node("jid", None, jid))
        return replies.result(iq, found)


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
    tag = query.tag if iq.get("type") == "get" else ""
    if tag == _PING:
        return replies.result(iq)
    if tag not in (_QUERY_INFO, _QUERY_ITEMS):
        return replies.error(iq, "cancel", "service-unavailable")
    if query.get("node"):
        return replies.error(iq, "cancel", "item-not-found")
    if tag == _QUERY_INFO:
        return replies.result(iq, replies.info(identity, features))
    return replies.result(iq, replies.items())


def _payload(iq: Element) -> Element | None:
    return iq[0] if len(iq) else None
