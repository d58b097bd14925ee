from typing import Any

import pytest

from bridge.matrix.megolm.withheld import OTHERWISE, Refusals, words
from tests.unit.matrix.megolm.party import ALICE, BOB, ROOM

EVENT: dict[str, Any] = {
    "room_id": ROOM,
    "sender": ALICE,
    "content": {"session_id": "s", "sender_key": "c"},
}
SAID = {"algorithm": "a", "room_id": ROOM, "session_id": "s", "sender_key": "c"}


@pytest.fixture
def refusals() -> Refusals:
    return Refusals()


def test_why_a_key_is_withheld_is_told_in_words(refusals: Refusals) -> None:
    refusals.note(ALICE, SAID | {"code": "m.unverified"})

    assert refusals.why(EVENT, "s") == "m.unverified"
    assert "verify" in words("m.unverified")


def test_a_code_nobody_knows_has_words_as_well(refusals: Refusals) -> None:
    refusals.note(ALICE, SAID | {"code": "org.example.whim"})

    code = refusals.why(EVENT, "s")
    assert code is not None
    assert words(code) == OTHERWISE


def test_what_another_says_of_the_session_does_not_count(refusals: Refusals) -> None:
    refusals.note(BOB, SAID | {"code": "m.blacklisted"})

    assert refusals.why(EVENT, "s") is None


def test_without_olm_no_session_of_the_device_comes(refusals: Refusals) -> None:
    refusals.note(ALICE, {"algorithm": "a", "sender_key": "c", "code": "m.no_olm"})

    assert refusals.why(EVENT, "any") == "m.no_olm"


@pytest.mark.parametrize("content", [None, [], {}, {"algorithm": "a", "code": 1}])
def test_what_is_malformed_is_not_noted(refusals: Refusals, content: object) -> None:
    refusals.note(ALICE, content)

    assert refusals.why(EVENT, "s") is None
