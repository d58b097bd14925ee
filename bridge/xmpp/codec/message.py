"""Messages as stanzas: their body, and the names that they bear."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, assert_never
from xml.etree.ElementTree import Element

from bridge.model.delivery import Refusal
from bridge.model.events import HOPS_MAX, Content, Manner, Message, Text
from bridge.model.places import Network, Person, Ref
from bridge.model.text import RichText, cut, prefixed, split, utf8_bytes
from bridge.xmpp.codec import text
from bridge.xmpp.codec.encryption import is_ciphertext
from bridge.xmpp.codec.names import short_id
from bridge.xmpp.codec.xhtml import decode_xhtml
from bridge.xmpp.codec.xml import Node

BODY_BYTES_MAX = 180_000
"""A stanza may have 200,000 bytes; addresses and names take the rest."""

_ESCAPED_BYTES_MAX = len("&quot;")
_PART_BYTES_MIN = 1024
_ME = "/me "
_OTR = "?OTR"
_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_STREAMS = ("{jabber:client}", "{jabber:component:accept}", "")
_SIDS = "{urn:xmpp:sid:0}"
LATE: Final = timedelta(minutes=10)
"""Clocks of others may be wrong by less."""

HOPS: Final = "xmpp-matrix-bridge:hops:0"
_UNSTYLED = Node("unstyled", {"xmlns": "urn:xmpp:styling:0"})
_ATTRIBUTES: Final[dict[str, str]] = {}


# What a child of a stanza says about its body.
_BODY: Final = "body"
_XHTML: Final = "xhtml"
_PLAIN: Final = "unstyled"
_OMEMO: Final = "omemo"
_ENCRYPTED: Final = "encrypted"
_UNSUPPORTED: Final = "unsupported"
_SILENT: Final = "silent"

# What is unsupported or silent has fallback words (XEP-0428) for those who do not know
# it, or is said to be somebody else's message, which is not for us to believe
# (CVE-2017-5589 and its like).
_SIGNS: Final = {
    "{http://jabber.org/protocol/xhtml-im}html": _XHTML,
    "{urn:xmpp:styling:0}unstyled": _PLAIN,
    "{eu.siacs.conversations.axolotl}encrypted": _OMEMO,
    "{urn:xmpp:omemo:2}encrypted": _OMEMO,
    "{urn:xmpp:omemo:1}encrypted": _ENCRYPTED,
    "{urn:xmpp:omemo:0}encrypted": _ENCRYPTED,
    "{urn:xmpp:openpgp:0}openpgp": _ENCRYPTED,
    "{jabber:x:encrypted}x": _ENCRYPTED,
    "{urn:xmpp:eme:0}encryption": _ENCRYPTED,
    "{urn:xmpp:message-correct:0}replace": _UNSUPPORTED,
    "{urn:xmpp:message-retract:0}retract": _UNSUPPORTED,
    "{urn:xmpp:message-retract:1}retract": _UNSUPPORTED,
    "{urn:xmpp:fasten:0}apply-to": _UNSUPPORTED,
    "{urn:xmpp:reactions:0}reactions": _SILENT,
    "{urn:xmpp:carbons:2}sent": _SILENT,
    "{urn:xmpp:carbons:2}received": _SILENT,
    "{urn:xmpp:forward:0}forwarded": _SILENT,
    "{urn:xmpp:mam:2}result": _SILENT,
    "{urn:xmpp:privilege:2}privilege": _SILENT,
} | {f"{stream}body": _BODY for stream in _STREAMS}


def decode(stanza: Element) -> Content | Refusal | None:
    """Read *stanza*; None if it says nothing that people would miss."""
    if stanza.get("type") == "error":
        return None
    signs: dict[str, Element] = {}
    for child in stanza:
        sign = _SIGNS.get(child.tag)
        if sign is not None and (sign not in signs or _is_better(child, signs[sign])):
            signs[sign] = child
    if len(signs) > 1 or _BODY not in signs:
        if _SILENT in signs:
            return None
        if refusal := _refused(signs):
            return refusal
        if _BODY not in signs or _OMEMO in signs:
            return None
    return _said(signs)


def _is_better(child: Element, known: Element) -> bool:
    """Prefer the body in no language of its own (RFC 6121 §5.2.3)."""
    return _LANG in known.attrib and _LANG not in child.attrib


def _refused(signs: dict[str, Element]) -> Refusal | None:
    omemo = signs.get(_OMEMO)
    if omemo is not None:
        # Without a payload it only moves a session on (XEP-0384 §4.4).
        payload = omemo.tag.removesuffix("encrypted") + "payload"
        return None if omemo.find(payload) is None else Refusal.ENCRYPTED
    if _ENCRYPTED in signs:
        return Refusal.ENCRYPTED
    return Refusal.UNSUPPORTED if _UNSUPPORTED in signs else None


def _said(signs: dict[str, Element]) -> Text | Refusal | None:
    element = signs[_BODY]
    body = "".join(element.itertext()) if len(element) else element.text or ""
    if not body or body.isspace():
        return None
    if is_ciphertext(body):
        return Refusal.ENCRYPTED
    if "\r" in body:
        body = body.replace("\r\n", "\n").replace("\r", "\n")
    words = _words(body, signs)
    if body.startswith(_ME) and words.plain.startswith(_ME):
        done = cut(words, len(_ME), len(words.plain))
        return Text(done, Manner.ACTION) if done.plain else Text(words)
    return Text(words)


def _words(body: str, signs: dict[str, Element]) -> RichText:
    html = signs.get(_XHTML)
    styled = decode_xhtml(html) if html is not None else None
    if styled is not None and styled.spans:
        return styled
    return RichText(body) if _PLAIN in signs else text.decode_styling(body)


def encode(content: Content) -> list[list[Node]]:
    """Write *content* as what is in a stanza, or in several if it is too long."""
    return [[words(body.text), *around(styled=body.styled)] for body in bodies(content)]


def bodies(content: Content) -> list[text.Body]:
    """Write *content* as a body, or as several if it is too long for one."""
    match content:
        case Text(body, manner):
            if manner is Manner.ACTION:
                body = prefixed(_ME, body)
            return _parts(body)
        case _:
            assert_never(content)


def words(body: str) -> Node:
    """Write a body."""
    return Node("body", _ATTRIBUTES, (body,))


def around(*, styled: bool) -> tuple[Node, ...]:
    """Write what stands beside a body and says how it is to be read (XEP-0393 §5)."""
    return () if styled else (_UNSTYLED,)


def _parts(body: RichText) -> list[text.Body]:
    if not body.spans and len(body.plain) * _ESCAPED_BYTES_MAX <= BODY_BYTES_MAX:
        return [text.encode(body)]
    size_max = BODY_BYTES_MAX
    while True:
        parts = [text.encode(part) for part in split(body, size_max, _xml_bytes)]
        fitting = all(_xml_bytes(part.text) <= BODY_BYTES_MAX for part in parts)
        if fitting or size_max < _PART_BYTES_MIN:
            return parts
        size_max //= 2  # the marks take more room than was left for them


def _xml_bytes(words: str) -> int:
    escaped = 4 * words.count("&") + 3 * (words.count("<") + words.count(">"))
    return utf8_bytes(words) + escaped + 5 * (words.count('"') + words.count("'"))


def origin_ref(sender: Person, stanza_id: str) -> Ref:
    """Name a message as its own sender names it.

    Clients reuse ids, so an id means something only next to its sender.
    """
    return Ref(Network.XMPP, f"{sender.id}#{short_id(stanza_id)}")


def archive_ref(room: str, stanza_id: str) -> Ref:
    """Name a message as the archive of the MUC *room* names it (XEP-0359)."""
    return Ref(Network.XMPP, f"{room}#{short_id(stanza_id)}")


def stanza_id(stanza: Element, by: str) -> str | None:
    """Return the id that *by* gave *stanza*; None if none, or more than one, claims it.

    XEP-0359 §5: ids that others are said to have given prove nothing.
    """
    ids = [
        child.get("id")
        for child in stanza.iterfind(f"{_SIDS}stanza-id")
        if child.get("by") == by
    ]
    return ids[0] or None if len(ids) == 1 else None


def hops(stanza: Element) -> int:
    """Read how many bridges of our kind have carried *stanza*, by their own words."""
    found = stanza.find(f"{{{HOPS}}}hops")
    count = "" if found is None else found.get("count", "")
    return int(count[:9]) if count.isascii() and count.isdigit() else 0


def about(event: Message) -> tuple[Node, ...]:
    """Write what is to be known of *event* beside its words.

    That one bridge more has carried it, so that none goes in circles; and when it was
    said, if that is a while ago (XEP-0203).
    """
    carried = carried_by(event.hops + 1)
    if datetime.now(UTC) - event.sent_at < LATE:
        return (carried,)
    return (carried, _delay(event.sent_at.replace(microsecond=0)))


OWN_WORDS: Final = Node("hops", {"xmlns": HOPS, "count": str(HOPS_MAX)})
"""What a bridge says of itself crosses no other."""


@lru_cache(maxsize=1000)
def _delay(when: datetime) -> Node:
    stamp = when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Node("delay", {"xmlns": "urn:xmpp:delay", "stamp": stamp})


@lru_cache(maxsize=2 * HOPS_MAX)
def carried_by(count: int) -> Node:
    """Write that so many bridges of our kind have carried a message."""
    return Node("hops", {"xmlns": HOPS, "count": str(count)})


def origin_id(stanza: Element) -> str | None:
    """Return the id that the sender gave *stanza* beside the usual one (XEP-0359)."""
    return _id_of(stanza, f"{_SIDS}origin-id")


def occupant_id(stanza: Element) -> str | None:
    """Return who the MUC says has sent *stanza*, by XEP-0421."""
    return _id_of(stanza, "{urn:xmpp:occupant-id:0}occupant-id")


def _id_of(stanza: Element, tag: str) -> str | None:
    found = stanza.find(tag)
    return None if found is None else found.get("id") or None


def delay(stanza: Element, by: str = "") -> datetime | None:
    """Return when *stanza* was first sent (XEP-0203), if *by*, or anybody, says so."""
    return next(_stamps(stanza, by), None)


def _stamps(stanza: Element, by: str) -> Iterator[datetime]:
    for found in stanza.iterfind("{urn:xmpp:delay}delay"):
        if by and found.get("from") != by:
            continue
        try:
            stamp = datetime.fromisoformat(found.get("stamp", ""))
        except ValueError:
            continue
        if stamp.tzinfo is not None:
            yield stamp
