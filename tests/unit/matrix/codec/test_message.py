from typing import Any

import pytest

from bridge.matrix.codec.message import (
    BODY_BYTES_MAX,
    CONTENT_BYTES_MAX,
    decode,
    encode,
    kind,
)
from bridge.model.delivery import Refusal
from bridge.model.events import Manner, Text
from bridge.model.text import Mark, RichText, Span


def event(**content: object) -> dict[str, Any]:
    given = {"msgtype": "m.text", "body": "hello"} | content
    return {"type": "m.room.message", "content": given}


def related(**relation: object) -> dict[str, Any]:
    return event(**{"m.relates_to": relation})


HELLO = Text(RichText("hello"))


@pytest.mark.parametrize(
    ("msgtype", "manner"),
    [
        ("m.text", Manner.SPEECH),
        ("m.emote", Manner.ACTION),
        ("m.notice", Manner.NOTICE),
        ("m.server_notice", Manner.NOTICE),
    ],
)
def test_the_manner_of_words(msgtype: str, manner: Manner) -> None:
    assert decode(event(msgtype=msgtype)) == Text(RichText("hello"), manner)


def test_formatted_words() -> None:
    html = {"format": "org.matrix.custom.html", "formatted_body": "<b>hi</b>"}

    assert decode(event(**html)) == Text(RichText("hi", (Span(0, 2, Mark.STRONG),)))
    assert decode(event(**html | {"format": "text/x"})) == HELLO
    assert decode(event(**html | {"formatted_body": 1})) == HELLO


@pytest.mark.parametrize(
    "content",
    [
        {"body": None},
        {"body": 1},
        {"body": ["hello"]},
        {"msgtype": None},
        {"msgtype": 1},
    ],
)
def test_malformed_messages_are_refused(content: dict[str, Any]) -> None:
    assert decode(event(**content)) is Refusal.MALFORMED


def test_content_that_is_no_object_is_refused() -> None:
    assert decode({"type": "m.room.message", "content": ["x"]}) is Refusal.MALFORMED


@pytest.mark.parametrize(
    "silent",
    [
        event(body=""),
        event(body=" \n\t"),
        event(msgtype="m.key.verification.request"),
        {"type": "m.room.message", "content": {}},
        {"type": "m.room.message"},
        {"type": "m.reaction", "content": {}},
        {},
    ],
)
def test_what_says_nothing_does_not_cross(silent: dict[str, Any]) -> None:
    assert decode(silent) is None


@pytest.mark.parametrize("msgtype", ["m.image", "m.location", "org.example.poll"])
def test_other_kinds_are_refused_for_now(msgtype: str) -> None:
    assert decode(event(msgtype=msgtype)) is Refusal.UNSUPPORTED
    assert decode({"type": "m.sticker"}) is Refusal.UNSUPPORTED
    assert decode({"type": "m.room.encrypted"}) is Refusal.ENCRYPTED


def test_what_a_plugin_has_encrypted_is_refused() -> None:
    """Off-the-Record messaging knows no bridge: it would be gibberish there."""
    content = {"msgtype": "m.text", "body": "?OTRv23? Alice would like to talk"}

    found = decode({"type": "m.room.message", "content": content})

    assert found is Refusal.ENCRYPTED


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"type": "m.sticker"}, "a sticker"),
        (
            {"type": "m.reaction", "content": {"x": 1}},
            "a reaction: the other side sees none in this room",
        ),
        ({"type": "m.room.message", "content": 7}, ""),
        ({"type": "m.room.message", "content": {"msgtype": 7}}, ""),
        ({"type": "m.room.message", "content": {"msgtype": "m.file"}}, "a file"),
        ({"type": "m.room.message", "content": {"msgtype": "m.new"}}, ""),
    ],
)
def test_what_cannot_cross_is_named(said: dict[str, Any], words: str) -> None:
    assert kind(said) == words


def test_an_edit_is_never_posted_as_another_message() -> None:
    assert decode(related(rel_type="m.replace", event_id="$e")) is Refusal.UNSUPPORTED


@pytest.mark.parametrize(
    "relation",
    [
        {"rel_type": "m.thread", "event_id": "$root"},
        {"rel_type": "m.reference", "event_id": "$e"},
        {"rel_type": "m.replace", "event_id": 7},
        {"rel_type": "m.replace"},
        {"rel_type": ["m.replace"], "event_id": "$e"},
        {"m.in_reply_to": "$e"},
        {"m.in_reply_to": {"event_id": ""}},
    ],
)
def test_threads_and_broken_relations_are_plain_messages(
    relation: dict[str, Any],
) -> None:
    assert decode(related(**relation)) == HELLO
    assert decode(event(**{"m.relates_to": "$e"})) == HELLO


def test_a_reply_does_not_name_whom_it_answers() -> None:
    """E 14; peers 3c: the fallback quote leaks an MXID."""
    content = {
        "body": "> <@alice:hs> hi\n\nhello",
        "m.relates_to": {"m.in_reply_to": {"event_id": "$e"}},
    }
    html = {
        "format": "org.matrix.custom.html",
        "formatted_body": "<mx-reply><blockquote><a href='https://matrix.to/#/@alice:hs'>"
        "@alice:hs</a><br>hi</blockquote></mx-reply>hello",
    }

    assert decode(event(**content)) == HELLO
    assert decode(event(**content | html)) == HELLO


def test_words_are_written_with_nobody_mentioned() -> None:
    assert encode(Text(RichText("hi"), Manner.ACTION)) == [
        {"msgtype": "m.emote", "body": "hi", "m.mentions": {}}
    ]


def test_marks_are_written_as_formatted_body() -> None:
    bold = RichText("hi", (Span(0, 2, Mark.STRONG),))

    assert encode(Text(bold)) == [
        {
            "msgtype": "m.text",
            "body": "hi",
            "m.mentions": {},
            "format": "org.matrix.custom.html",
            "formatted_body": "<strong>hi</strong>",
        }
    ]


@pytest.mark.parametrize("char", ["x", '"', "\n", "\x01", "\U0001f600"])
def test_no_event_is_too_large_and_nothing_is_lost(char: str) -> None:
    """E 9: a large body is cut into parts, however its JSON grows."""
    parts = encode(Text(RichText(char * 100_000)))

    assert "".join(part["body"] for part in parts) == char * 100_000
    assert all(len(repr(part).encode()) <= 65_536 for part in parts)


def test_sixty_thousand_bytes_are_at_most_two_parts() -> None:
    assert len(encode(Text(RichText("x" * BODY_BYTES_MAX)))) == 1
    assert len(encode(Text(RichText("x" * 60_000)))) == 2


def test_the_formatted_body_goes_first_if_there_is_no_room() -> None:
    """E 10."""
    spans = tuple(Span(n, n + 1, Mark.STRONG) for n in range(0, 6000, 2))
    [part] = encode(Text(RichText("x" * 6000, spans)))

    assert "formatted_body" not in part
    assert len(part["body"]) < CONTENT_BYTES_MAX
