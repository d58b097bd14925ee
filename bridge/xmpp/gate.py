"""The only way out to XMPP: every byte that leaves was made and checked here.

One bad character or one foreign ``from`` makes the server close the whole
component, and every conversation with it. So nothing passes that an XML parser
would refuse, that is not from our domain, or that is too large.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from xml.parsers import expat

from slixmpp import JID, InvalidJID

from bridge.xmpp.codec.xml import Node

SIZE_BYTES_MAX = 200_000
"""Prosody closes a component that sends more than 512 KiB; others bounce earlier."""

DEPTH_MAX = 100

_INSIDE = 2
_CACHED_MAX = 100_000

# XML 1.0 §2.2, Char; a surrogate in a string stands alone, as pairs are one character
_NOT_CHAR = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# XML 1.0 §2.3, without the colon
_FIRST = (
    "A-Z_a-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c"
    "\u200d\u2070-\u218f\u2c00-\u2fef\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd"
    "\U00010000-\U000effff"
)
_NAME = re.compile(
    f"xml:lang|[{_FIRST}][{_FIRST}.0-9\u00b7\u0300-\u036f\u203f\u2040-]*"
)
_KINDS = frozenset(("message", "presence", "iq"))
_PLACEHOLDER = secrets.token_hex(16)
_known_names: set[str] = set()
_known_senders: dict[str, str] = {}
_escaped_jids: dict[str, bytes] = {}


class StanzaError(ValueError):
    """A stanza that must not leave; the message says why, without its contents."""


class Addressed:
    """A stanza serialised but for the value of its ``to``."""

    __slots__ = ("after", "before")

    def __init__(self, before: bytes, after: bytes) -> None:
        self.before = before
        self.after = after

    def to(self, jid: str) -> bytes:
        """Write the stanza for *jid*."""
        return self.before + _address(jid) + self.after

    def fan_out(self, jids: Sequence[str]) -> bytes:
        """Write the stanza for each of *jids*, one after another."""
        if not jids:
            return b""
        try:
            escaped = [_escaped_jids[jid] for jid in jids]
        except KeyError:
            escaped = [_address(jid) for jid in jids]
        return self.before + (self.after + self.before).join(escaped) + self.after


def clean(text: str) -> str:
    """Replace what XML 1.0 cannot carry by U+FFFD."""
    return _NOT_CHAR.sub("\ufffd", text) if _NOT_CHAR.search(text) else text


def serialise(stanza: Node, domain: str) -> bytes:
    """Write *stanza*, which is from *domain* or somebody there, as it goes out.

    Raises ``StanzaError`` if it must not leave.
    """
    if not stanza.attributes.get("to"):
        raise StanzaError("the stanza has no addressee")
    return _checked(stanza, domain)


def addressed(stanza: Node, domain: str) -> Addressed:
    """Write *stanza* once for any number of addressees; its own ``to`` is ignored."""
    attributes = {**stanza.attributes, "to": _PLACEHOLDER}
    data = _checked(stanza._replace(attributes=attributes), domain)
    before, after = data.split(_PLACEHOLDER.encode())
    return Addressed(before, after)


def element_bytes(element: Node) -> bytes:
    """Write *element*, which is no stanza and will be sealed inside of one.

    Raises ``StanzaError`` if it cannot be written.
    """
    data = _well_formed(element)
    if len(data) > SIZE_BYTES_MAX:
        raise StanzaError(f"the element has {len(data)} bytes")
    return data


def text(words: str) -> bytes:
    """Write *words* as they stand between two tags."""
    return _encoded((_escaped(words),))


def content(children: Sequence[Node]) -> bytes:
    """Write what stands in a stanza; the stanza itself is checked elsewhere."""
    parts: list[str] = []
    for child in children:
        _write(child, parts, _INSIDE)
    return _encoded(parts)


def _checked(stanza: Node, domain: str) -> bytes:
    attributes = stanza.attributes
    if stanza.name not in _KINDS or "xmlns" in attributes:
        raise StanzaError("this is no stanza")
    sender = attributes.get("from", "")
    if _known_senders.get(sender) != domain:
        _learn_sender(sender, domain)
    if stanza.name == "iq" and not (attributes.get("id") and attributes.get("type")):
        raise StanzaError("the IQ has no id or type")
    data = _well_formed(stanza)
    if len(data) > SIZE_BYTES_MAX:
        raise StanzaError(f"the stanza has {len(data)} bytes")
    return data


def _learn_sender(sender: str, domain: str) -> None:
    """Make sure that the server will accept *sender* on our stream.

    Both Prosody and ejabberd close it for a foreign domain, Prosody also for a
    ``from`` that is no JID.
    """
    if sender.partition("/")[0].rpartition("@")[2] != domain:
        raise StanzaError("the stanza is not from our domain")
    try:
        JID(sender)
    except InvalidJID as error:
        raise StanzaError("the sender of the stanza is no JID") from error
    if len(_known_senders) >= _CACHED_MAX:
        _known_senders.clear()
    _known_senders[sender] = domain


def _well_formed(stanza: Node) -> bytes:
    """Write *stanza* so that a parser takes it, cleaned if it must be.

    It is so by the way it is written: no name that a parser has not taken, no value
    that is not escaped, no attribute twice, no character that XML does not know.
    """
    parts: list[str] = []
    _write(stanza, parts, 1)
    return _encoded(parts)


def _encoded(parts: Sequence[str]) -> bytes:
    text = "".join(parts)
    # What is printable is none of the characters that XML 1.0 lacks; asking is fast.
    return text.encode() if text.isprintable() else clean(text).encode()


def _write(element: Node, parts: list[str], depth: int) -> None:
    name, attributes, children = element
    if depth > DEPTH_MAX:
        raise StanzaError("the stanza is nested too deeply")
    if name not in _known_names:
        _learn_name(name)
    parts.append("<" + name)
    if attributes:
        _write_attributes(attributes, parts)
    if not children:
        parts.append("/>")
        return
    parts.append(">")
    for child in children:
        if type(child) is str:
            parts.append(_escaped(child))
        else:
            _write(child, parts, depth + 1)  # type: ignore[arg-type] # type() is faster
    parts.append("</" + name + ">")


def _write_attributes(attributes: Mapping[str, str], parts: list[str]) -> None:
    if type(attributes) is not dict:
        attributes = dict(attributes)  # in which no name is there twice
    for name, value in attributes.items():
        if name not in _known_names:
            _learn_name(name)
        parts.append(" " + name + "='" + _quoted(value) + "'")


def _learn_name(name: str) -> None:
    if not _NAME.fullmatch(name) or not _parses(f"<{name} {name}=''/>"):
        raise StanzaError("an element or attribute has no valid name")
    if len(_known_names) >= _CACHED_MAX:
        _known_names.clear()
    _known_names.add(name)


def _parses(text: str) -> bool:
    """Tell whether a parser takes *text*: it has the last word about names."""
    try:
        expat.ParserCreate().Parse(text.encode(), True)  # noqa: FBT003 - takes no keyword
    except (UnicodeEncodeError, expat.ExpatError):
        return False
    return True


def _escaped(text: str) -> str:
    if "&" in text:
        text = text.replace("&", "&amp;")
    if "<" in text:
        text = text.replace("<", "&lt;")
    if ">" in text:
        text = text.replace(">", "&gt;")
    if "\r" in text:
        # XML 1.0 §2.11: a bare one would reach nobody
        text = text.replace("\r", "&#13;")
    return text


def _quoted(value: str) -> str:
    value = _escaped(value)
    if "'" in value:
        value = value.replace("'", "&apos;")
    if "\n" in value or "\t" in value:
        # XML 1.0 §3.3.3: bare ones become spaces
        value = value.replace("\n", "&#10;").replace("\t", "&#9;")
    return value


def _address(jid: str) -> bytes:
    """Escape *jid* for an attribute; remembered, as rooms address the same again."""
    known = _escaped_jids.get(jid)
    if known is not None:
        return known
    if not jid:
        raise StanzaError("the stanza has no addressee")
    if len(_escaped_jids) >= _CACHED_MAX:
        _escaped_jids.clear()
    escaped = _escaped_jids[jid] = clean(_quoted(jid)).encode()
    return escaped
