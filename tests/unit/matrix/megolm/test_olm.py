from typing import Any

import msgspec
import pytest
import vodozemac

from bridge.core.ports import Unit
from bridge.matrix.megolm.olm import (
    SESSIONS_MAX,
    Broken,
    Letter,
    begin,
    open_letter,
    seal,
)
from bridge.matrix.megolm.own import Own
from bridge.matrix.megolm.persons import Device, Person
from bridge.matrix.megolm.ports import Role
from bridge.matrix.megolm.signing import OLM, SigningKeys, signed, unpadded
from tests.unit.matrix.megolm.key_server import Wild
from tests.unit.matrix.megolm.party import ALICE, BOB

SAID = {"words": "hello"}
JUMP_MAX = 2001
"""vodozemac makes up for 2000 letters that are lost, of one chain."""


def somebody(user: str) -> Own:
    own = Own(user, {}, 0)
    own.keys = SigningKeys.new()
    own.renew(Role.BOT)
    return own


def device(own: Own) -> Device:
    return Device(own.user, own.device, own.curve, own.ed25519)


def person(own: Own) -> Person:
    return Person(own.user, [device(own)])


def claimed(own: Own, number: int = 0) -> dict[str, Any]:
    public = list(own.olm.one_time_keys.values())[number].to_base64()
    return signed({"key": public}, own.user, {own.device: own.sign})


@pytest.fixture
def alice() -> Own:
    return somebody(ALICE)


@pytest.fixture
def bob(alice: Own) -> Own:
    own = somebody(BOB)
    assert begin(own, device(alice), claimed(alice))
    return own


def letter(sender: Own, to: Own, kind: str = "m.room_key") -> dict[str, Any]:
    return seal(sender, Unit(), device(to), kind, SAID)


def opened(own: Own, sender: Person, content: Wild) -> Letter | Broken | None:
    raw = msgspec.json.encode(content)
    return open_letter(own, Unit(), sender, msgspec.json.decode(raw))


def forged(by: Own, to: Own, **change: Wild) -> dict[str, Any]:
    """Write a letter whose inside says something else than it should."""
    inside: dict[str, Any] = {
        "type": "m.room_key",
        "content": SAID,
        "sender": by.user,
        "recipient": to.user,
        "recipient_keys": {"ed25519": to.ed25519},
        "keys": {"ed25519": by.ed25519},
    }
    raw = msgspec.json.encode(inside | change)
    kind, body = by.peers[to.curve][0].encrypt(raw).to_parts()
    cipher = {"type": kind, "body": unpadded(body)}
    return {
        "algorithm": OLM,
        "sender_key": by.curve,
        "ciphertext": {to.curve: cipher},
    }


def test_a_letter_is_read_by_whom_it_is_for(alice: Own, bob: Own) -> None:
    found = opened(alice, person(bob), letter(bob, alice))

    assert found == Letter("m.room_key", SAID, BOB, bob.curve, bob.ed25519, device(bob))


def test_an_answer_goes_over_the_same_session(alice: Own, bob: Own) -> None:
    opened(alice, person(bob), letter(bob, alice))

    found = opened(bob, person(alice), letter(alice, bob))

    assert isinstance(found, Letter)
    assert len(alice.peers[bob.curve]) == len(bob.peers[alice.curve]) == 1


def test_letters_are_read_in_any_order_and_after_loss(alice: Own, bob: Own) -> None:
    letters = [letter(bob, alice) for _ in range(6)]

    found = [opened(alice, person(bob), letters[n]) for n in (3, 1, 5, 0)]

    assert all(isinstance(one, Letter) for one in found)


def test_a_copy_is_nothing_and_breaks_nothing(alice: Own, bob: Own) -> None:
    first = letter(bob, alice)
    opened(alice, person(bob), first)

    assert opened(alice, person(bob), first) is None
    assert isinstance(opened(alice, person(bob), letter(bob, alice)), Letter)


def test_a_letter_that_cannot_be_read_changes_nothing(alice: Own, bob: Own) -> None:
    content = letter(bob, alice)
    raw = content["ciphertext"][alice.curve]["body"]
    content["ciphertext"][alice.curve]["body"] = raw[:-12] + "AAAAAAAAAAAA"
    before = alice.olm.pickle(bytes(32)), dict(alice.peers)
    unit = Unit()

    found = open_letter(
        alice, unit, person(bob), msgspec.convert(content, dict[str, Any])
    )

    assert found is None or isinstance(found, Broken)
    assert unit == Unit()
    assert alice.peers == before[1]
    assert len(alice.olm.one_time_keys) == 50


def test_both_may_begin_at_once_and_lose_and_repeat_letters(
    alice: Own, bob: Own
) -> None:
    """Signal: simultaneous initiation, a lost message, repeated messages."""
    assert begin(alice, device(bob), claimed(bob))
    by_bob, by_alice = letter(bob, alice), letter(alice, bob)
    letter(alice, bob)  # is lost

    for _ in range(2):
        opened(alice, person(bob), by_bob)
        opened(bob, person(alice), by_alice)
        for one, other in ((alice, bob), (bob, alice)):
            sealed = letter(one, other)
            assert isinstance(opened(other, person(one), sealed), Letter)
            assert opened(other, person(one), sealed) is None

    assert len(alice.peers[bob.curve]) == len(bob.peers[alice.curve]) == 2


def test_a_chain_that_jumps_too_far_is_refused_and_changes_nothing(
    alice: Own, bob: Own
) -> None:
    """Signal: a chain that jumps over the limit."""
    opened(alice, person(bob), letter(bob, alice))
    opened(bob, person(alice), letter(alice, bob))
    first = letter(bob, alice)
    for _ in range(JUMP_MAX):
        letter(bob, alice)
    unit = Unit()

    found = open_letter(alice, unit, person(bob), letter(bob, alice))

    assert isinstance(found, Broken)
    assert unit == Unit()
    assert isinstance(opened(alice, person(bob), first), Letter)


def test_a_session_that_is_lost_is_known_to_be_broken(alice: Own, bob: Own) -> None:
    opened(alice, person(bob), letter(bob, alice))
    opened(bob, person(alice), letter(alice, bob))
    content = letter(bob, alice)
    alice.peers.clear()

    assert opened(alice, person(bob), content) == Broken(BOB, bob.curve)


def test_no_more_sessions_are_kept_than_are_needed(alice: Own) -> None:
    bob = somebody(BOB)
    for number in range(SESSIONS_MAX + 3):
        bob.peers.clear()
        assert begin(bob, device(alice), claimed(alice, number))
        opened(alice, person(bob), letter(bob, alice))

    assert len(alice.peers[bob.curve]) == SESSIONS_MAX
    assert isinstance(opened(bob, person(alice), letter(alice, bob)), Letter)


@pytest.mark.parametrize(
    "change",
    [
        {"sender": "@mallory:hs"},
        {"recipient": "@mallory:hs"},
        {"recipient_keys": {"ed25519": "another"}},
        {"recipient_keys": {}},
        {"keys": {"ed25519": "another"}},
        {"keys": None},
        {"content": []},
        {"type": 1},
        {"sender_device_keys": "x"},
    ],
)
def test_a_letter_that_names_others_than_its_envelope_is_refused(
    alice: Own, bob: Own, change: dict[str, Any]
) -> None:
    assert opened(alice, person(bob), forged(bob, alice, **change)) is None


def test_an_unknown_device_introduces_itself(alice: Own, bob: Own) -> None:
    found = opened(alice, Person(BOB), letter(bob, alice))

    assert isinstance(found, Letter)
    assert found.device == device(bob)
    assert found.introduction == bob.device_keys()


@pytest.mark.parametrize(
    "whose", ["another user", "another key", "unsigned", "another device"]
)
def test_nobody_introduces_another(alice: Own, bob: Own, whose: str) -> None:
    """CVE-2026-45056: the keys in the letter must be those it was written with."""
    keys = bob.device_keys()
    if whose == "another user":
        keys = signed({**keys, "user_id": ALICE}, ALICE, {bob.device: bob.sign})
    elif whose == "another key":
        other = {f"curve25519:{bob.device}": alice.curve}
        keys = signed(
            {**keys, "keys": keys["keys"] | other}, BOB, {bob.device: bob.sign}
        )
    elif whose == "unsigned":
        keys["signatures"] = {}
    else:
        keys = somebody(BOB).device_keys()

    found = opened(alice, Person(BOB), forged(bob, alice, sender_device_keys=keys))

    assert found is None


def test_a_known_device_keeps_its_signing_key(alice: Own, bob: Own) -> None:
    known = Person(BOB, [msgspec.structs.replace(device(bob), ed25519="another")])

    assert opened(alice, known, letter(bob, alice)) is None


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x"},
        {"algorithm": OLM, "sender_key": "x", "ciphertext": {}},
        {"algorithm": OLM, "sender_key": 1, "ciphertext": {}},
        {"algorithm": OLM, "sender_key": "x", "ciphertext": {"y": {}}},
    ],
)
def test_what_is_no_letter_is_refused(alice: Own, content: object) -> None:
    assert open_letter(alice, Unit(), Person(BOB), content) is None


@pytest.mark.parametrize(
    ("kind", "body"),
    [(0, ""), (0, "AA"), (7, "AwAA"), (0, "!"), (1, "ö"), (0, "A" * 100_000), (-1, "")],
)
def test_a_cipher_that_is_none_is_refused(alice: Own, kind: int, body: str) -> None:
    cipher = {alice.curve: {"type": kind, "body": body}}
    content = {"algorithm": OLM, "sender_key": alice.curve, "ciphertext": cipher}

    assert open_letter(alice, Unit(), Person(BOB), content) is None


@pytest.mark.parametrize(
    "key", [None, "x", {}, {"key": 1}, {"key": "AAAA"}, {"key": "x", "signatures": {}}]
)
def test_a_one_time_key_that_is_not_signed_opens_no_session(
    alice: Own, key: object
) -> None:
    bob = somebody(BOB)

    assert not begin(bob, device(alice), key)
    assert bob.peers == {}


def test_a_one_time_key_signed_by_another_opens_no_session(alice: Own) -> None:
    bob = somebody(BOB)
    key = signed({"key": claimed(alice)["key"]}, ALICE, {alice.device: bob.sign})

    assert not begin(bob, device(alice), key)


def test_a_key_of_small_order_opens_no_session(alice: Own) -> None:
    bob = somebody(BOB)
    null = unpadded(bytes(32))
    key = signed({"key": null}, ALICE, {alice.device: alice.sign})

    assert isinstance(vodozemac.Curve25519PublicKey.from_base64(null), object)
    assert not begin(bob, device(alice), key)
