"""What is fuzzed: a decoder, and what must hold of all that it reads.

A target takes any bytes and returns, or a promise of the decoder is broken. Both
hypothesis (in every run of the tests) and atheris (on demand) use them.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from xml.etree.ElementTree import Element

import msgspec

from bridge.matrix import inbound, wires
from bridge.matrix.codec import (
    envelope,
    html,
    member,
    message as matrix,
    names as matrix_names,
    text as matrix_text,
    tolerant,
)
from bridge.model.delivery import Refusal
from bridge.model.events import Text
from bridge.model.pictures import SIDE_MAX, recognise
from bridge.model.text import RichText
from bridge.store.errors import SealError
from bridge.store.seal import Seal
from bridge.xmpp import archive, packing, replies
from bridge.xmpp.codec import avatar, message as xmpp, names as xmpp_names, peek, text
from bridge.xmpp.codec.about import about
from bridge.xmpp.codec.fault import fault
from bridge.xmpp.codec.nicks import safe_nick
from bridge.xmpp.codec.prep import resourceprep
from bridge.xmpp.codec.presence import is_self, seen
from bridge.xmpp.codec.xhtml import decode_xhtml
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.gate import SIZE_BYTES_MAX, serialise
from bridge.xmpp.muc import packing as muc_packing
from bridge.xmpp.muc.contents import Contents
from bridge.xmpp.muc.history import Wish
from bridge.xmpp.muc.paging import Asked, page
from bridge.xmpp.muc.stanza import TooDeepError, to_element, to_node
from bridge.xmpp.reader import BadStreamError, Reader

DOMAIN = "bridge.example"
STREAM = b"<stream xmlns='jabber:component:accept'>"
HTML = re.compile(
    r"</?(?:strong|em|del|code|pre|blockquote|a)>|<br>"
    r'|<a href="(?:https?|mailto|xmpp|matrix):[^"<>\s]*">',
    re.IGNORECASE,
)
EVENT_BYTES_MAX = 60_000

_SEAL = Seal(bytes(32))
_PICTURES = (
    b"",
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00",
    b"\xff\xd8\xff",
    b"\xff\xd8\xff\xc0\x00\x0b\x08",
)
_ANSWER = {"from": DOMAIN, "to": "romeo@montague.lit", "id": "1", "type": "result"}


def shown_on_matrix(content: Text) -> None:
    """See that *content* becomes contents that every homeserver takes."""
    for part in matrix.encode(content):
        raw = msgspec.json.encode(part)
        assert len(raw) < EVENT_BYTES_MAX
        assert msgspec.json.decode(raw) == part
        shown = str(part.get("formatted_body", ""))
        assert not re.search("[<>]", HTML.sub("", shown)), shown


def shown_on_xmpp(content: Text) -> None:
    """See that *content* becomes stanzas that every server takes."""
    for part in xmpp.encode(content):
        about_it = {"from": DOMAIN, "to": "a@b", "id": "1"}
        data = serialise(Node("message", about_it, tuple(part)), DOMAIN)
        assert len(data) <= SIZE_BYTES_MAX
        assert len(read(data)) == 1


def read(data: bytes) -> list[Element]:
    """Read stanzas as the stream does."""
    reader = Reader()
    reader.feed(STREAM)
    try:
        return reader.feed(data)
    except BadStreamError:
        return []


def stanza(data: bytes) -> None:
    """Read what comes over the component's stream."""
    for one in read(data):
        content = xmpp.decode(one)
        assert content is None or isinstance(content, Refusal | Text)
        if isinstance(content, Text):
            shown_on_matrix(content)
        _looked_at(one)
        with suppress(TooDeepError):
            assert to_node(to_element(to_node(one))) == to_node(one)


def _looked_at(one: Element) -> None:
    peek.sent_at(one)
    peek.speaks(one)
    xmpp.stanza_id(one, "tea@muc.example")
    xmpp.occupant_id(one)
    assert xmpp.hops(one) >= 0
    fault(one)
    is_self(one)
    assert seen(one, "nick").nick
    about(one)
    replies.may_answer(one)
    assert Wish.of(one, 10**12).stanzas >= 0
    for child in one:
        archive._archived(child)
        asked = Asked.of(child)
        if isinstance(asked, Asked):
            found = page(Contents(), asked)
            assert found is None or not found.entries
        decode_xhtml(child)


def event(data: bytes) -> None:
    """Read one event of a homeserver."""
    known = envelope.raw_event(data)
    if isinstance(known, str):
        assert known.isascii()
        return
    strict = msgspec.json.decode(known.raw)
    content = matrix.decode(strict)
    assert content is None or isinstance(content, Refusal | Text)
    if isinstance(content, Text):
        shown_on_xmpp(content)
    inner = strict.get("content")
    assert matrix.hops(strict) >= 0
    member.decode_powers(inner).rank("@a:hs")
    member.decode_creators(inner, "@a:hs")
    stands = member.decode(inner)
    if stands is not None:
        assert len(stands.name) <= member.NAME_CHARS_MAX
        assert stands.name.isprintable() or "\u200d" in stands.name + "\u200d"


def transaction(data: bytes) -> None:
    """Read the body of a transaction."""
    push = envelope.open_push(data)
    if push is not None:
        for one in push.events:
            assert msgspec.json.decode(one.raw)["event_id"] == one.event_id


def json(data: bytes) -> None:
    """Read JSON that may be none."""
    tolerant.decode(data)
    cleaned = tolerant.clean(data)
    if cleaned:
        msgspec.json.decode(cleaned)
    tolerant.split(data, "events")


def formatted(data: bytes) -> None:
    """Read HTML of a Matrix event."""
    source = data.decode(errors="replace")
    known = matrix_text.decode("body", source)
    assert len(source) > html.CHARS_MAX or known.plain.encode() is not None
    shown_on_matrix(Text(known))
    shown_on_xmpp(Text(known))


def styling(data: bytes) -> None:
    """Read the body of a stanza."""
    body = data.decode(errors="replace")
    known = text.decode_styling(body)
    assert all(0 <= span.start < span.end <= len(known.plain) for span in known.spans)
    shown_on_matrix(Text(known))
    written = text.encode(RichText(body))
    assert written.text == body


def names(data: bytes) -> None:
    """Read addresses and nicks."""
    given = data.decode(errors="replace")
    for typed in (given, f"@{given}:hs", f"#_xmpp_{given}:hs", f"@_xmpp_{given}:hs"):
        matrix_names.typed_address(typed)
        matrix_names.person_of(typed, "hs")
        matrix_names.muc_of(typed, "hs")
    for typed in (given, f"{given}@example.org", f"a@{given}", f"a@b.c/{given}"):
        jid = xmpp_names.parse(typed)
        assert jid is None or xmpp_names.parse(jid.full) == jid
    if matrix_names.valid_mxid(f"@{given}:hs"):
        local = xmpp_names.puppet_local(f"@{given}:hs")
        assert xmpp_names.mxid_of(local) == f"@{given}:hs"
    nick = safe_nick(given)
    assert resourceprep(nick) == nick
    assert member.clean_name(member.clean_name(given)) == member.clean_name(given)


def packed(data: bytes) -> None:
    """Read what the bridge wrote for itself, after a disk has changed it."""
    for kind in (packing.Letter, packing.Post, packing.Heard, packing.Speaker):
        packing.unpack(kind, data)
    packing.act(data)
    for read_it in (muc_packing.arrival, muc_packing.ready):
        with suppress(muc_packing.UnknownFormatError):
            read_it(data)
    for read_json in (wires.order, inbound.where):
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            read_json(data)


def sealed(data: bytes) -> None:
    """Open what lies sealed on the disk, after it has been changed."""
    with suppress(SealError):
        assert not _SEAL.open(b"label", data)
    box = _SEAL.close(b"label", data)
    assert _SEAL.open(b"label", box) == data


def picture(data: bytes) -> None:
    """See what a file that begins like a picture shows, and tell of it."""
    for start in _PICTURES:
        found = recognise(start + data)
        if not found:
            continue
        assert 0 < found.width <= SIDE_MAX
        assert 0 < found.height <= SIDE_MAX
        for told in (avatar.metadata(found), avatar.data(found), avatar.photo(found)):
            assert serialise(Node("iq", _ANSWER, (told,)), DOMAIN)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "stanza": stanza,
    "event": event,
    "transaction": transaction,
    "json": json,
    "html": formatted,
    "styling": styling,
    "names": names,
    "packed": packed,
    "sealed": sealed,
    "picture": picture,
}
