from collections.abc import Iterable
from typing import Any

import pytest

from bridge.core.ports import Unit
from bridge.matrix.megolm.outgoing import (
    MESSAGES_LIMIT,
    PERIOD_MIN_MS,
    PERIOD_MS,
    Outgoing,
    limits,
)
from bridge.matrix.megolm.own import Own
from bridge.matrix.megolm.ports import Role
from bridge.matrix.megolm.signing import SigningKeys
from bridge.model.records import Record, Secret
from tests.unit.matrix.megolm.party import GHOST, ROOM, room, text


@pytest.fixture
def own() -> Own:
    ghost = Own(GHOST, {}, 0)
    ghost.keys = SigningKeys.new()
    ghost.renew(Role.OCCUPANT)
    return ghost


@pytest.fixture
def outgoing(own: Own) -> Outgoing:
    fresh = Outgoing(ROOM, GHOST, {})
    fresh.begin(own, room(), 0)
    return fresh


def written(records: Iterable[Record]) -> dict[str, bytes]:
    return {one.name: one.value for one in records if isinstance(one, Secret)}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (100, PERIOD_MS)),
        ({"rotation_period_msgs": 7, "rotation_period_ms": 5e6}, (7, PERIOD_MS)),
        ({"rotation_period_msgs": 0, "rotation_period_ms": 0}, (1, PERIOD_MIN_MS)),
        ({"rotation_period_msgs": -5}, (1, PERIOD_MS)),
        ({"rotation_period_msgs": 10**12}, (MESSAGES_LIMIT, PERIOD_MS)),
        ({"rotation_period_ms": 7_200_000}, (100, 7_200_000)),
        ({"rotation_period_msgs": "7", "rotation_period_ms": None}, (100, PERIOD_MS)),
        ({"rotation_period_msgs": True}, (100, PERIOD_MS)),
    ],
)
def test_a_room_says_how_long_sessions_live_within_reason(
    given: dict[str, Any], expected: tuple[int, int]
) -> None:
    assert limits(given) == expected


@pytest.mark.parametrize(
    ("now_ms", "visibility", "lasts"),
    [
        (PERIOD_MS - 1, "shared", True),
        (PERIOD_MS, "shared", False),
        (-1, "shared", False),
        (1, "joined", False),
    ],
)
def test_a_session_ends_with_its_time_or_its_circumstances(
    own: Own,
    outgoing: Outgoing,
    now_ms: int,
    visibility: str,
    lasts: bool,  # noqa: FBT001
) -> None:
    assert outgoing.lasts(own, room(visibility=visibility), now_ms) is lasts


def test_a_session_ends_with_its_messages(own: Own, outgoing: Outgoing) -> None:
    sparse = room(encryption={"rotation_period_msgs": 2})
    outgoing.encrypt(own, Unit(), "m.room.message", text("one"))
    assert outgoing.lasts(own, sparse, 0)

    outgoing.encrypt(own, Unit(), "m.room.message", text("two"))

    assert not outgoing.lasts(own, sparse, 0)


def test_a_session_ends_with_its_device(own: Own, outgoing: Outgoing) -> None:
    own.renew(Role.OCCUPANT)

    assert not outgoing.lasts(own, room(), 0)


@pytest.mark.parametrize(
    ("visibility", "shared"),
    [("shared", True), ("world_readable", True), ("joined", False), ("x", False)],
)
def test_the_key_says_whether_it_may_be_given_to_who_comes_later(
    own: Own,
    visibility: str,
    shared: bool,  # noqa: FBT001
) -> None:
    outgoing = Outgoing(ROOM, GHOST, {})
    outgoing.begin(own, room(visibility=visibility), 0)

    assert outgoing.key()["shared_history"] is shared


def test_the_relation_stays_where_servers_see_it(own: Own, outgoing: Outgoing) -> None:
    relation = {"rel_type": "m.thread", "event_id": "$root"}

    sealed = outgoing.encrypt(
        own, Unit(), "m.room.message", {**text("x"), "m.relates_to": relation}
    )

    assert sealed["m.relates_to"] == relation
    assert "root" not in sealed["ciphertext"]


def test_who_has_a_session_is_never_taken_for_another_session(
    own: Own, outgoing: Outgoing
) -> None:
    outgoing.shared = {"somebody": 0}
    kept = written(outgoing.all_records())
    outgoing.begin(own, room(), 0)
    kept |= written(outgoing.records())

    assert Outgoing(ROOM, GHOST, kept).shared == {}
