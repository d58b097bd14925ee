from typing import Any

import msgspec
import pytest

from bridge.matrix.megolm.payload import DEPTH_MAX, SIZE_MAX, is_shallow, read, sealed
from tests.unit.matrix.megolm.key_server import Wild
from tests.unit.matrix.megolm.party import ROOM

EVENT: dict[str, Any] = {"room_id": ROOM, "content": {}}


def inside(**change: Wild) -> bytes:
    good = {"type": "m.room.message", "content": {"body": "x"}, "room_id": ROOM}
    return msgspec.json.encode(good | change)


def test_what_is_inside_is_read() -> None:
    found = read(inside(), EVENT)

    assert found
    assert (found.type, found.content) == ("m.room.message", {"body": "x"})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'"x"',
        b"null",
        b"NaN",
        b"{}",
        b"\xff",
        b"9" * 5000,
        b"[" * 100_000,
        b'{"a":' * 30_000,
        inside(type=None),
        inside(type=1),
        inside(content=None),
        inside(content=[]),
        inside(content="x"),
        inside(room_id=None),
        inside(room_id="!other:hs"),
        inside(state_key=""),
        inside(state_key=None),
        inside(type="m.room.encrypted"),
        inside(content={"body": "x" * SIZE_MAX}),
        b'{"type":"a","content":{"x":'
        + b"[" * 70
        + b"]" * 70
        + b'},"room_id":"!room:hs"}',
    ],
)
def test_what_is_unfit_to_be_an_event_is_refused(raw: bytes) -> None:
    """E60, E61."""
    assert read(raw, EVENT) is None


def test_nothing_encrypted_is_state() -> None:
    assert read(inside(), {**EVENT, "state_key": ""}) is None


def test_odd_numbers_and_halves_of_characters_are_made_good() -> None:
    raw = inside(content={"n": 1, "body": "B"})
    raw = raw.replace(b"1", b"9" * 5000).replace(b"B", b"\\ud800")

    found = read(raw, EVENT)

    assert found
    assert found.content == {"n": 2**53 - 1, "body": "\ufffd"}


def test_of_keys_that_come_twice_the_last_counts() -> None:
    raw = inside().replace(b'"body":"x"', b'"body":"y","body":"x"')

    found = read(raw, EVENT)

    assert found
    assert found.content == {"body": "x"}


def test_the_relation_is_the_one_that_servers_see() -> None:
    hidden = inside(content={"m.relates_to": {"event_id": "$inner"}})
    outer = {"room_id": ROOM, "content": {"m.relates_to": {"event_id": "$outer"}}}

    without, within = read(hidden, EVENT), read(hidden, outer)

    assert without
    assert within
    assert without.content == {}
    assert within.content == {"m.relates_to": {"event_id": "$outer"}}


@pytest.mark.parametrize(
    "content",
    [None, [], {}, {"algorithm": 1}, {"algorithm": "x", "ciphertext": 1}],
)
def test_an_outside_that_is_malformed_is_none(content: object) -> None:
    assert sealed({"content": content}) is None


def test_depth_is_measured_without_end() -> None:
    deep: Any = []
    for _ in range(DEPTH_MAX):
        deep = [deep]

    assert not is_shallow(deep)
    assert is_shallow(deep[0][0])
