from datetime import UTC, datetime, timedelta, timezone
from xml.etree.ElementTree import Element, SubElement

import pytest

from bridge.model.delivery import Refusal
from bridge.model.events import Manner, Message, Text
from bridge.model.places import Network, Person, Ref, Room
from bridge.model.text import Mark, RichText, Span
from bridge.xmpp.codec.message import (
    BODY_BYTES_MAX,
    LATE,
    about,
    archive_ref,
    decode,
    delay,
    encode,
    occupant_id,
    origin_id,
    origin_ref,
    stanza_id,
)
from bridge.xmpp.codec.names import occupant_person
from bridge.xmpp.codec.xml import Node

LANG = "{http://www.w3.org/XML/1998/namespace}lang"
STREAM = "{jabber:component:accept}"
SIDS = "{urn:xmpp:sid:0}"
UNSTYLED = Node("unstyled", {"xmlns": "urn:xmpp:styling:0"})


def stanza(body: str | None, *others: str, **attributes: str) -> Element:
    made = Element(f"{STREAM}message", attributes)
    if body is not None:
        SubElement(made, f"{STREAM}body").text = body
    for tag in others:
        SubElement(made, tag)
    return made


def add(to: Element, tag: str, text: str = "", **attributes: str) -> Element:
    child = SubElement(to, tag, attributes)
    child.text = text
    return child


@pytest.mark.parametrize("namespace", ["{jabber:client}", STREAM])
def test_a_body_is_read(namespace: str) -> None:
    made = Element(f"{namespace}message")
    add(made, f"{namespace}body", "hi\r\nthere\ryou")
    add(made, "{http://jabber.org/protocol/chatstates}active")

    assert decode(made) == Text(RichText("hi\nthere\nyou"))


def test_styling_is_read_unless_it_is_said_to_be_none() -> None:
    """XEP-0393 §5."""
    strong = RichText("a", (Span(0, 1, Mark.STRONG),))

    assert decode(stanza("*a*")) == Text(strong)
    assert decode(stanza("*a*", "{urn:xmpp:styling:0}unstyled")) == Text(
        RichText("*a*")
    )


def xhtml(to: Element, tag: str, words: str) -> None:
    html = add(to, "{http://jabber.org/protocol/xhtml-im}html")
    body = add(html, "{http://www.w3.org/1999/xhtml}body")
    add(body, f"{{http://www.w3.org/1999/xhtml}}{tag}", words)


def test_xhtml_counts_if_it_has_marks_and_there_is_a_body() -> None:
    with_marks, without, alone = stanza("a"), stanza("*a*"), stanza(None)
    xhtml(with_marks, "em", "a")
    xhtml(without, "p", "a")
    xhtml(alone, "em", "a")

    assert decode(with_marks) == Text(RichText("a", (Span(0, 1, Mark.EMPHASIS),)))
    assert decode(without) == Text(RichText("a", (Span(0, 1, Mark.STRONG),)))
    assert decode(alone) is None


def test_the_body_without_a_language_counts_else_the_first() -> None:
    """RFC 6121 §5.2.3; E 86."""
    made = Element(f"{STREAM}message")
    add(made, f"{STREAM}body", "hallo", **{LANG: "de"})
    add(made, f"{STREAM}body", "bonjour", **{LANG: "fr"})
    assert decode(made) == Text(RichText("hallo"))

    add(made, f"{STREAM}body", "hello")
    add(made, f"{STREAM}body", "again")
    assert decode(made) == Text(RichText("hello"))


def test_elements_in_a_body_are_only_text() -> None:
    made = stanza("a")
    add(made[0], "{x}b", "b").tail = "c"

    assert decode(made) == Text(RichText("abc"))


@pytest.mark.parametrize(
    ("body", "content"),
    [
        ("/me waves", Text(RichText("waves"), Manner.ACTION)),
        ("/me *a*", Text(RichText("a", (Span(0, 1, Mark.STRONG),)), Manner.ACTION)),
        ("/me ", Text(RichText("/me "))),
        ("/mexico", Text(RichText("/mexico"))),
        ("*/me a*", Text(RichText("/me a", (Span(0, 5, Mark.STRONG),)))),
    ],
)
def test_actions(body: str, content: Text) -> None:
    """XEP-0245."""
    assert decode(stanza(body)) == content


@pytest.mark.parametrize("body", [None, "", " \n\t "])
def test_a_stanza_without_words_says_nothing(body: str | None) -> None:
    assert decode(stanza(body, "{jabber:client}subject")) is None


def test_an_error_says_nothing() -> None:
    assert decode(stanza("hi", type="error")) is None


@pytest.mark.parametrize(
    "tag",
    [
        "{urn:xmpp:openpgp:0}openpgp",
        "{jabber:x:encrypted}x",
        "{urn:xmpp:eme:0}encryption",
        "{urn:xmpp:omemo:0}encrypted",
        "{urn:xmpp:omemo:1}encrypted",
    ],
)
def test_what_is_encrypted_is_refused(tag: str) -> None:
    assert decode(stanza("This is encrypted.", tag)) is Refusal.ENCRYPTED
    assert decode(stanza(None, tag)) is Refusal.ENCRYPTED
    assert decode(stanza("?OTRv23?")) is Refusal.ENCRYPTED


@pytest.mark.parametrize(
    "namespace", ["eu.siacs.conversations.axolotl", "urn:xmpp:omemo:2"]
)
def test_omemo_is_refused_if_it_says_anything(namespace: str) -> None:
    secret = stanza("Use a client that can OMEMO.", "{urn:xmpp:eme:0}encryption")
    encrypted = add(secret, f"{{{namespace}}}encrypted")
    assert decode(secret) is None

    add(encrypted, f"{{{namespace}}}payload")
    assert decode(secret) is Refusal.ENCRYPTED


@pytest.mark.parametrize(
    "tag",
    [
        "{urn:xmpp:message-correct:0}replace",
        "{urn:xmpp:message-retract:0}retract",
        "{urn:xmpp:message-retract:1}retract",
        "{urn:xmpp:fasten:0}apply-to",
    ],
)
def test_a_fallback_is_never_posted_as_if_it_were_meant(tag: str) -> None:
    """Peers 3c 8; XEP-0428."""
    assert decode(stanza("/me retracted a message", tag)) is Refusal.UNSUPPORTED


@pytest.mark.parametrize(
    "tag",
    [
        "{urn:xmpp:reactions:0}reactions",
        "{urn:xmpp:carbons:2}sent",
        "{urn:xmpp:carbons:2}received",
        "{urn:xmpp:forward:0}forwarded",
        "{urn:xmpp:mam:2}result",
        "{urn:xmpp:privilege:2}privilege",
    ],
)
def test_what_is_somebody_elses_is_not_believed(tag: str) -> None:
    """S8; E 32."""
    assert decode(stanza("hi", tag)) is None


def test_words_are_written() -> None:
    assert encode(Text(RichText("hi"))) == [[Node("body", {}, ("hi",))]]
    assert encode(Text(RichText("hi"), Manner.NOTICE)) == [[Node("body", {}, ("hi",))]]
    assert encode(Text(RichText("*hi*"))) == [[Node("body", {}, ("*hi*",)), UNSTYLED]]
    waves = RichText("waves", (Span(0, 5, Mark.STRONG),))
    assert encode(Text(waves, Manner.ACTION)) == [[Node("body", {}, ("/me *waves*",))]]


def words(parts: list[list[Node]]) -> list[str]:
    return [str(part[0].children[0]) for part in parts]


@pytest.mark.parametrize(
    ("char", "count"), [("x", 1), ("&", 2), ('"', 2), ("\n", 1), ("é", 1)]
)
def test_sixty_thousand_bytes_fit_unless_they_grow(char: str, count: int) -> None:
    """E 8."""
    parts = words(encode(Text(RichText(char * 60_000))))

    assert "".join(parts) == char * 60_000
    assert len(parts) == count


def test_a_part_is_small_enough_with_its_marks() -> None:
    quoted = RichText("\n" * 60_000 + "x", (Span(0, 60_001, Mark.QUOTE),))

    parts = words(encode(Text(quoted)))

    assert all(len(part.replace(">", "&gt;")) <= BODY_BYTES_MAX for part in parts)
    assert len(parts) > 1


INDEX_BYTES_MAX = 2_600


def test_names_of_messages() -> None:
    juliet = Person(Network.XMPP, "juliet@capulet.lit")

    assert origin_ref(juliet, "1") == Ref(Network.XMPP, "juliet@capulet.lit#1")
    assert archive_ref("room@muc", "1") == Ref(Network.XMPP, "room@muc#1")


def test_names_of_messages_are_short_enough_to_be_found_by() -> None:
    """PostgreSQL: an entry of an index has at most 2,704 bytes."""
    juliet = Person(Network.XMPP, occupant_person("m" * 1277, "n" * 1023))
    long = "\N{SNOWMAN}" * 100_000

    assert len(origin_ref(juliet, long).id.encode()) < INDEX_BYTES_MAX
    assert origin_ref(juliet, long) == origin_ref(juliet, long)
    assert origin_ref(juliet, long) != origin_ref(juliet, long + "!")
    assert len(archive_ref("m" * 1277, "\ud800" * 500).id) < INDEX_BYTES_MAX


def test_only_the_room_gives_archive_ids() -> None:
    """XEP-0359 §5; S9; E 30."""
    made = stanza("hi")
    add(made, f"{SIDS}stanza-id", by="evil@x", id="0")
    assert stanza_id(made, "room@muc") is None

    own = add(made, f"{SIDS}stanza-id", by="room@muc", id="1")
    assert stanza_id(made, "room@muc") == "1"

    add(made, f"{SIDS}stanza-id", by="room@muc", id="2")
    assert stanza_id(made, "room@muc") is None

    made[:] = [own]
    own.set("id", "")
    assert stanza_id(made, "room@muc") is None


def test_the_ids_of_senders() -> None:
    made = stanza("hi")
    assert (origin_id(made), occupant_id(made)) == (None, None)

    add(made, f"{SIDS}origin-id", id="o")
    add(made, "{urn:xmpp:occupant-id:0}occupant-id", id="c")
    assert (origin_id(made), occupant_id(made)) == ("o", "c")


@pytest.mark.parametrize("stamp", ["", "yesterday", "2002-09-10T23:08:25", "9" * 50])
def test_a_stamp_that_says_nothing(stamp: str) -> None:
    made = stanza("hi")
    add(made, "{urn:xmpp:delay}delay", stamp=stamp)

    assert delay(made) is None


def test_a_stamp_says_when() -> None:
    """XEP-0203; E 31."""
    made = stanza("hi")
    add(made, "{urn:xmpp:delay}delay", **{"from": "x", "stamp": "2002-09-10T23:08:25Z"})

    assert (
        delay(made) == delay(made, "x") == datetime(2002, 9, 10, 23, 8, 25, tzinfo=UTC)
    )
    assert delay(made, "room@muc") is None


def said(at: datetime, hops: int = 0) -> Message:
    alice = Person(Network.MATRIX, "@alice:hs")
    room = Room(Network.MATRIX, "!room:hs")
    return Message(
        ref=Ref(Network.MATRIX, "$1"),
        room=room,
        sender=alice,
        sent_at=at,
        content=Text(RichText("hi")),
        hops=hops,
    )


def test_how_often_a_message_was_carried_goes_along() -> None:
    (hops,) = about(said(datetime.now(UTC) - LATE / 2, hops=1))

    assert hops.attributes["count"] == "2"


def test_what_comes_late_tells_when_it_was_said() -> None:
    """XEP-0203 §3."""
    at = datetime(2026, 5, 1, 14, tzinfo=timezone(timedelta(hours=2)))

    assert about(said(at))[1:] == (
        Node("delay", {"xmlns": "urn:xmpp:delay", "stamp": "2026-05-01T12:00:00Z"}),
    )
