from typing import Any

import pytest

from bridge.matrix.megolm.own import Own
from bridge.matrix.megolm.persons import DEVICES_MAX, Person, device, read
from bridge.matrix.megolm.ports import Role, Strictness
from bridge.matrix.megolm.signing import SigningKeys, signed
from tests.unit.matrix.megolm.party import ALICE, BOB


def somebody(user: str = ALICE, keys: SigningKeys | None = None) -> Own:
    own = Own(user, {}, 0)
    own.keys = keys or SigningKeys.new()
    own.renew(Role.OCCUPANT)
    return own


def answer(*owns: Own, identity: bool = True) -> dict[str, Any]:
    found: dict[str, Any] = {"device_keys": {}}
    for own in owns:
        found["device_keys"].setdefault(own.user, {})[own.device] = own.device_keys()
        assert own.keys is not None
        if identity:
            body = own.keys.body(own.user)
            found["master_keys"] = {own.user: body["master_key"]}
            found["self_signing_keys"] = {own.user: body["self_signing_key"]}
    return found


def test_a_signed_device_of_a_new_identity_is_trusted() -> None:
    own = somebody()

    person = read(Person(ALICE), answer(own))

    assert [one.id for one in person.trusted(Strictness.SIGNED)] == [own.device]
    assert not person.changed
    assert not person.outdated


def test_a_device_that_the_homeserver_added_is_not_trusted() -> None:
    own, added = somebody(), somebody()
    told = answer(own)
    told["device_keys"][ALICE][added.device] = added.device_keys()

    person = read(Person(ALICE), told)

    assert len(person.devices) == 2
    assert [one.id for one in person.trusted(Strictness.PINNED)] == [own.device]


def test_people_without_an_identity_are_trusted_unless_we_are_strict() -> None:
    own = somebody()

    person = read(Person(ALICE), answer(own, identity=False))

    assert [one.id for one in person.trusted(Strictness.PINNED)] == [own.device]
    assert person.trusted(Strictness.SIGNED) == []


def test_another_identity_is_not_trusted_until_it_is_confirmed() -> None:
    """E64."""
    before, after = somebody(), somebody()
    person = read(Person(ALICE), answer(before))

    person = read(person, answer(after))

    assert person.changed
    assert person.trusted(Strictness.PINNED) == []
    person.pinned = person.master
    assert [one.id for one in person.trusted(Strictness.PINNED)] == [after.device]


def test_an_identity_that_is_hidden_is_a_changed_one() -> None:
    own = somebody()
    person = read(Person(ALICE), answer(own))

    person = read(person, answer(own, identity=False))

    assert person.changed
    assert person.trusted(Strictness.PINNED) == []


def test_an_identity_that_comes_later_is_pinned_then() -> None:
    own = somebody()
    person = read(Person(ALICE), answer(own, identity=False))

    person = read(person, answer(own))

    assert not person.changed
    assert [one.id for one in person.trusted(Strictness.PINNED)] == [own.device]


def test_a_self_signing_key_of_another_master_signs_nothing() -> None:
    own = somebody()
    told = answer(own)
    told["master_keys"] = answer(somebody())["master_keys"]

    person = read(Person(ALICE), told)

    assert person.signer == ""
    assert person.trusted(Strictness.PINNED) == []


def test_a_device_that_comes_back_under_other_keys_is_blocked_for_ever() -> None:
    keys = SigningKeys.new()
    first, second = somebody(keys=keys), somebody(keys=keys)
    assert second.state
    second.state.device = first.device
    person = read(Person(ALICE), answer(first))

    for _ in range(2):
        person = read(person, answer(second))

        assert person.trusted(Strictness.PINNED) == []
        assert person.devices[0].ed25519 == first.ed25519


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": BOB},
        {"device_id": "OTHER"},
        {"keys": {}},
        {"keys": []},
        {"keys": {"curve25519:X": 1}},
        {"algorithms": None},
        {"signatures": {}},
        {"algorithms": ["m.megolm.v1.aes-sha2"]},
    ],
)
def test_keys_that_were_tampered_with_are_no_device(change: dict[str, Any]) -> None:
    """E64."""
    assert device(somebody().device_keys() | change, ALICE, "") is None


@pytest.mark.parametrize("raw", [None, [], "x", 1, {}, {"user_id": ALICE}])
def test_what_is_no_device_is_none(raw: object) -> None:
    assert device(raw, ALICE, "") is None


@pytest.mark.parametrize(
    "change", [{"dehydrated": True}, {"algorithms": ["m.olm.v1.curve25519-aes-sha2"]}]
)
def test_nothing_is_written_to_a_device_that_cannot_or_should_not_read(
    change: dict[str, Any],
) -> None:
    own = somebody()
    keys = signed({**own.device_keys(), **change}, ALICE, {own.device: own.sign})

    person = read(Person(ALICE), {"device_keys": {ALICE: {own.device: keys}}})

    assert len(person.devices) == 1
    assert person.trusted(Strictness.PINNED) == []


def test_a_device_under_the_name_of_another_is_passed_over() -> None:
    own = somebody()
    told = {"device_keys": {ALICE: {"OTHER": own.device_keys()}}}

    assert read(Person(ALICE), told).devices == []


@pytest.mark.parametrize(
    "part", [None, [], {"usage": ["master"]}, {"keys": {"a": "b"}, "usage": []}]
)
def test_an_identity_that_is_malformed_is_none(part: object) -> None:
    told = answer(somebody())
    told["master_keys"] = {ALICE: part}

    assert read(Person(ALICE), told).pinned == ""


def test_nobody_has_more_devices_than_anybody_needs() -> None:
    some = [somebody() for _ in range(DEVICES_MAX + 5)]

    person = read(Person(ALICE), answer(*some, identity=False))

    assert len(person.devices) == DEVICES_MAX
