import json
from typing import Any

import msgspec
import pytest

from bridge.matrix.codec.envelope import RawEvent, open_push, raw_event

SAID: dict[str, Any] = {
    "event_id": "$1",
    "room_id": "!r:hs",
    "type": "m.room.message",
    "sender": "@alice:hs",
    "content": {"body": "tea"},
}


def said(**changes: object) -> str:
    return json.dumps(SAID | changes)


def body(*events: str) -> bytes:
    return f'{{"events":[{",".join(events)}]}}'.encode()


def test_an_event_is_opened_and_kept_whole() -> None:
    push = open_push(body(said(), said(event_id="$2", state_key="")))

    assert push is not None
    assert push.malformed == ()
    first, second = push.events
    assert (first.event_id, first.room_id, first.type, first.sender) == (
        "$1",
        "!r:hs",
        "m.room.message",
        "@alice:hs",
    )
    assert (first.state_key, second.state_key) == (None, "")
    assert json.loads(first.raw) == SAID


@pytest.mark.parametrize(
    "content",
    [
        '{"body":"\\ud800"}',
        '{"body":NaN}',
        '{"body":' + "7" * 5000 + "}",
        '{"body":-1e999}',
        '{"\\udfff":{}}',
    ],
)
def test_a_poisoned_event_is_sanitised(content: str) -> None:
    """facts/reliability.md E: what Synapse accepts and decoders refuse."""
    poisoned = said(event_id="$2").replace('{"body": "tea"}', content)

    push = open_push(body(said(), poisoned, said(event_id="$3")))

    assert push is not None
    assert [event.event_id for event in push.events] == ["$1", "$2", "$3"]
    for event in push.events:
        msgspec.json.decode(event.raw)


def test_bytes_that_are_no_text_are_sanitised() -> None:
    push = open_push(body(said()).replace(b"tea", b"t\xffa"))

    assert push is not None
    assert json.loads(push.events[0].raw)["content"] == {"body": "t\ufffda"}


def test_an_event_too_deep_to_read_harms_no_neighbour() -> None:
    deep = said(event_id="$2").replace('"tea"', "[" * 200_000 + "]" * 200_000)

    push = open_push(body(said(), deep, said(event_id="$3", state_key="]}")))

    assert push is not None
    assert [event.event_id for event in push.events] == ["$1", "$3"]
    assert push.malformed == ("?",)


@pytest.mark.parametrize(
    "changes",
    [
        {"sender": None},
        {"sender": "alice"},
        {"room_id": 5},
        {"room_id": "!" + "x" * 255},
        {"room_id": "!room\0:hs"},
        {"type": ""},
        {"type": ["m.room.message"]},
        {"state_key": 5},
        {"state_key": None},
    ],
)
def test_a_malformed_event_is_skipped_and_named(changes: dict[str, Any]) -> None:
    """facts/reliability.md E 73, 74."""
    push = open_push(body(said(**changes), said(event_id="$2")))

    assert push is not None
    assert [event.event_id for event in push.events] == ["$2"]
    assert push.malformed == ("'$1'",)


def test_a_name_that_no_database_takes_does_not_hold_up_all_that_comes() -> None:
    """PostgreSQL has no NUL in texts: the transaction would come again for ever."""
    push = open_push(body(said(event_id="$1\0"), said(event_id="$2")))

    assert push is not None
    assert [event.event_id for event in push.events] == ["$2"]
    assert push.malformed == ("'$1\\x00'",)


@pytest.mark.parametrize("raw", [b"5", b"{}", b"null", b'{"event_id":5}', b"[", b""])
def test_what_has_no_name_is_nameless(raw: bytes) -> None:
    assert raw_event(raw) == "?"


def test_a_name_that_would_forge_a_log_line_is_quoted() -> None:
    named = raw_event(json.dumps({"event_id": "$1\nERROR all is lost"}).encode())

    assert named == "'$1\\nERROR all is lost'"


@pytest.mark.parametrize(
    "raw",
    [b"", b"<html>", b"[]", b"{}", b'{"events":{}}', b'{"events":null}', b'{"a":'],
)
def test_what_is_no_transaction_is_refused(raw: bytes) -> None:
    assert open_push(raw) is None


@pytest.mark.parametrize("key", ["ephemeral", "de.sorunome.msc2409.ephemeral"])
@pytest.mark.parametrize("poison", ["1", "NaN"])
def test_what_is_ephemeral_is_set_apart(key: str, poison: str) -> None:
    raw = f'{{"{key}":[{{"type":"m.typing"}}],"events":[{said()}],"x":{poison}}}'

    push = open_push(raw.encode())

    assert push is not None
    assert push.ephemeral == (b'{"type":"m.typing"}',)
    assert len(push.events) == 1
    assert isinstance(push.events[0], RawEvent)


def test_a_broken_list_of_what_is_ephemeral_is_ignored() -> None:
    push = open_push(b'{"ephemeral":5,"events":[' + said().encode() + b"]}")

    assert push is not None
    assert push.ephemeral == ()
    assert len(push.events) == 1
