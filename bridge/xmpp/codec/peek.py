"""A first look at a message: whether it is worth keeping, and when it was said."""

from datetime import UTC, datetime
from xml.etree.ElementTree import Element

from bridge.xmpp.codec.message import delay

BODY = "{jabber:component:accept}body"
UNREAD = "{jabber:component:accept}unread"
"""In place of a message that was too large to be read; no server sends that."""

_SEALED = (
    "{eu.siacs.conversations.axolotl}encrypted",
    "{urn:xmpp:omemo:2}encrypted",
    "{urn:xmpp:openpgp:0}openpgp",
)
_BEGINNING = datetime(1999, 1, 4, tzinfo=UTC)  # nobody spoke XMPP before


def speaks(stanza: Element) -> bool:
    """Tell whether *stanza* has words, or hides some."""
    if stanza.find(BODY) is not None:
        return True
    return any(stanza.find(tag) is not None for tag in _SEALED)


def flat(stanza: Element) -> Element:
    """Return *stanza* with nothing but its words."""
    bare = Element(stanza.tag, stanza.attrib)
    bare.extend(body for body in stanza.iterfind(BODY) if not len(body))
    return bare


def sent_at(stanza: Element, by: str = "") -> datetime | None:
    """Tell when *stanza* was first sent, if anybody, or *by*, says so (XEP-0203)."""
    return likely(delay(stanza, by))


def likely(at: datetime | None) -> datetime | None:
    """Return *at* if it can be true."""
    return at if at is not None and _BEGINNING < at <= datetime.now(UTC) else None
