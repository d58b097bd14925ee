"""Stanza content encryption (XEP-0420): what is inside of a sealed message.

content, passage -> build -> bytes to be sealed
opened bytes, passage -> parse -> Content | words
"""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from bridge.xmpp.codec.names import parse as parse_jid
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.endtoend import Passage
from bridge.xmpp.gate import element_bytes
from bridge.xmpp.muc.stanza import TooDeepError, split, to_node

NAMESPACE: Final = "urn:xmpp:sce:1"
SIZE_BYTES_MAX: Final = 256 * 1024
PADDING_MAX: Final = 200
CLIENT: Final = "jabber:client"
MARGIN: Final = timedelta(days=1)
"""How far the time inside may be from when it was sent; people's clocks are wrong."""

# XEP-0420 §9: what a server says of a message, nobody says inside of it.
_SERVERS: Final = frozenset(
    (
        ("urn:xmpp:sid:0", "stanza-id"),
        ("urn:xmpp:occupant-id:0", "occupant-id"),
        ("urn:xmpp:delay", "delay"),
        ("http://jabber.org/protocol/address", "addresses"),
        ("http://jabber.org/protocol/muc#user", "x"),
        ("urn:xmpp:carbons:2", "sent"),
        ("urn:xmpp:carbons:2", "received"),
    )
)


@dataclass(frozen=True, slots=True)
class Content:
    """The children of a message, as the sender meant them."""

    nodes: tuple[Node, ...]
    at: datetime | None = None


def build(content: Sequence[Node], passage: Passage) -> bytes:
    """Write *content* with the affixes that XEP-0384 §5.6.1 wants."""
    padding = base64.b64encode(secrets.token_bytes(PADDING_MAX)).decode()
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    envelope = node(
        "envelope",
        {"xmlns": NAMESPACE},
        node("content", None, *(_client(child) for child in content)),
        node("rpad", None, padding[: secrets.randbelow(PADDING_MAX + 1)]),
        node("time", {"stamp": now}),
        node("from", {"jid": passage.account}),
        # Converse 14 looks for the attribute, and else opens nothing said in rooms.
        node("to", {"xmlns": NAMESPACE, "jid": passage.to}),
    )
    return element_bytes(envelope)


def parse(opened: bytes, passage: Passage) -> Content | str:
    """Read an envelope that came by *passage*; words if it is not to be believed."""
    envelope = _element(opened)
    if envelope is None or envelope.tag != f"{{{NAMESPACE}}}envelope":
        return "what is inside of the message is malformed"
    why = _doubt(envelope, passage)
    if why:
        return why
    inside = envelope.find(f"{{{NAMESPACE}}}content")
    if inside is None:
        return "what is inside of the message is malformed"
    try:
        nodes = tuple(
            to_node(child, CLIENT)
            for child in inside
            if split(child.tag) not in _SERVERS
        )
    except TooDeepError:
        return "what is inside of the message is malformed"
    return Content(nodes, _stamp(envelope))


def _element(opened: bytes) -> Element | None:
    if len(opened) > SIZE_BYTES_MAX:
        return None
    try:
        text = opened.decode()
    except UnicodeDecodeError:
        return None
    # RFC 6120 §11.1; without a document type there are no entities to expand.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    parser: XMLPullParser[Element] = XMLPullParser(("end",))
    try:
        parser.feed(text)
        parser.close()
        last = list(parser.read_events())[-1]
    except (ParseError, IndexError):
        return None
    return last[1] if len(last) > 1 and isinstance(last[1], Element) else None


def _doubt(envelope: Element, passage: Passage) -> str:
    """Compare what is inside with how the message came; XEP-0420 §4."""
    sender, to = _jid(envelope, "from"), _jid(envelope, "to")
    if sender is not None and sender != passage.peer:
        return "the message says to be from somebody else"
    if to is None and passage.to != passage.account:
        # It MUST be there in a room, or anybody could take it out of its chat.
        return "the message does not say what room it is for"
    if to is not None and to != passage.to:
        return "the message is meant for somebody else"
    return _doubt_of_time(_stamp(envelope), passage.at)


def _doubt_of_time(at: datetime | None, sent_at: datetime | None) -> str:
    """Compare the time inside with when it was sent; XEP-0420 §4.

    If nobody says when that was, it may have waited anywhere, but not in the future.
    """
    if at is None:
        return ""
    if at - (sent_at or datetime.now(UTC)) > MARGIN:
        return "the message says to be from another day"
    if sent_at is not None and sent_at - at > MARGIN:
        return "the message says to be from another day"
    return ""


def _jid(envelope: Element, name: str) -> str | None:
    found = envelope.find(f"{{{NAMESPACE}}}{name}")
    if found is None:
        return None
    jid = parse_jid(found.get("jid", ""))
    return "" if jid is None else jid.bare


def _stamp(envelope: Element) -> datetime | None:
    found = envelope.find(f"{{{NAMESPACE}}}time")
    try:
        at = datetime.fromisoformat("" if found is None else found.get("stamp", ""))
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _client(child: Node) -> Node:
    """Name the namespace that a child would inherit in a stanza."""
    if "xmlns" in child.attributes:
        return child
    return child._replace(attributes={"xmlns": CLIENT, **child.attributes})
