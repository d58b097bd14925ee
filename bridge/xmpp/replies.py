"""Answers to what came: results, errors and service discovery, as plain trees."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

from bridge.xmpp.codec.xml import Child, Node, node

DISCO_INFO = "http://jabber.org/protocol/disco#info"
DISCO_ITEMS = "http://jabber.org/protocol/disco#items"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"

# XEP-0086; Profanity publishes its first device list only if it sees the 404
_CODES = {
    "bad-request": "400",
    "not-authorized": "401",
    "forbidden": "403",
    "item-not-found": "404",
    "recipient-unavailable": "404",
    "remote-server-not-found": "404",
    "not-allowed": "405",
    "not-acceptable": "406",
    "registration-required": "407",
    "conflict": "409",
    "internal-server-error": "500",
    "resource-constraint": "500",
    "feature-not-implemented": "501",
    "service-unavailable": "503",
    "remote-server-timeout": "504",
}


class Identity(NamedTuple):
    """What something is, in service discovery; XEP-0030 §3.1."""

    category: str
    kind: str
    name: str = ""


def result(iq: Element, payload: Node | None = None) -> Node:
    """Answer *iq*, which is a get or a set."""
    attributes = {**_turned(iq), "type": "result"}
    return node("iq", attributes, *(() if payload is None else (payload,)))


def error(stanza: Element, kind: str, condition: str, text: str = "") -> Node:
    """Refuse *stanza*; *kind* is cancel, modify, auth or wait (RFC 6120 §8.3).

    Raises ``ValueError`` if *stanza* is itself an answer: errors answered with
    errors never end.
    """
    if not may_answer(stanza):
        raise ValueError("an answer is never answered with an error")
    children: tuple[Child, ...] = (node(condition, {"xmlns": STANZAS}),)
    if text:
        children += (node("text", {"xmlns": STANZAS}, text),)
    about = {"type": kind, "code": _CODES.get(condition, "")}
    attributes = {**_turned(stanza), "type": "error"}
    return node(_name(stanza), attributes, node("error", about, *children))


def may_answer(stanza: Element) -> bool:
    """Tell whether *stanza* may be answered with an error."""
    return stanza.get("type") not in ("error", "result") and bool(stanza.get("from"))


def info(
    identity: Identity,
    features: Iterable[str],
    forms: Sequence[Node] = (),
    name: str = "",
) -> Node:
    """Describe something; XEP-0030 §3.1. *name* is the node that was asked for."""
    what = {"category": identity.category, "type": identity.kind, "name": identity.name}
    return node(
        "query",
        {"xmlns": DISCO_INFO, "node": name},
        node("identity", what),
        *(node("feature", {"var": feature}) for feature in features),
        *forms,
    )


def items(found: Iterable[tuple[str, str]] = (), name: str = "") -> Node:
    """List things by JID and name; XEP-0030 §4.1."""
    return node(
        "query",
        {"xmlns": DISCO_ITEMS, "node": name},
        *(node("item", {"jid": jid, "name": title}) for jid, title in found),
    )


def _turned(stanza: Element) -> dict[str, str]:
    return {
        "from": stanza.get("to", ""),
        "to": stanza.get("from", ""),
        "id": stanza.get("id", ""),
    }


def _name(stanza: Element) -> str:
    return stanza.tag.rpartition("}")[2]
