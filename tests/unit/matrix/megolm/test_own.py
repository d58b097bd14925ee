import asyncio

import pytest

from bridge.core.ports import Unit
from bridge.matrix.megolm.olm import begin
from bridge.matrix.megolm.own import ONE_TIME_MAX, Own
from bridge.matrix.megolm.persons import Device, Person, read
from bridge.matrix.megolm.ports import Role, Strictness
from bridge.matrix.megolm.signing import SigningKeys, signed
from bridge.matrix.megolm.vault import Vault
from bridge.model.records import Secret
from tests.fakes_store import FakeStore
from tests.unit.matrix.megolm.party import ALICE, BOB, GHOST, ROOM


@pytest.fixture
def own() -> Own:
    ghost = Own(GHOST, {}, 3)
    ghost.keys = SigningKeys.new()
    ghost.renew(Role.BOT)
    return ghost


def kept(unit: Unit) -> dict[str, bytes]:
    records = [one for make in unit.late for one in make()]
    return {one.name: one.value for one in records if isinstance(one, Secret)}


def test_what_is_staged_is_written_as_it_stands_later(own: Own) -> None:
    unit = Unit()
    own.stage(unit)
    own.olm.mark_keys_as_published()

    again = Own(GHOST, kept(unit), 3)

    assert again.device == own.device
    assert again.curve == own.curve
    assert again.olm.one_time_keys == {}


def test_its_device_is_signed_by_itself_and_its_identity(own: Own) -> None:
    assert own.keys
    body = own.keys.body(GHOST)
    answer = {
        "device_keys": {GHOST: {own.device: own.device_keys()}},
        "master_keys": {GHOST: body["master_key"]},
        "self_signing_keys": {GHOST: body["self_signing_key"]},
    }

    person = read(Person(GHOST), answer)

    assert len(person.trusted(Strictness.SIGNED)) == 1


def meets(own: Own) -> str:
    """Let *own* open a session with Bob; return his key."""
    bob = Own(BOB, {}, 0)
    bob.renew(Role.BOT)
    bob.keys = SigningKeys.new()
    to = Device(BOB, bob.device, bob.curve, bob.ed25519)
    public = next(iter(bob.olm.one_time_keys.values())).to_base64()
    assert begin(own, to, signed({"key": public}, BOB, {bob.device: bob.sign}))
    return to.curve


async def test_olm_sessions_are_kept_and_read_when_needed(own: Own) -> None:
    curve = meets(own)
    unit, store = Unit(), FakeStore()
    own.stage(unit)
    own.stage_peer(unit, curve)
    await store.commit(unit)

    again = Own(GHOST, kept(unit), 3)
    assert again.peers == {}
    await asyncio.gather(*(again.meet(Vault(store)) for _ in range(3)))

    assert list(again.peers) == [curve]


async def test_olm_sessions_of_another_device_are_not_used(own: Own) -> None:
    curve = meets(own)
    unit, store = Unit(), FakeStore()
    own.stage_peer(unit, curve)
    await store.commit(unit)
    own.renew(Role.BOT)
    own.stage(unit)

    renewed = Own(GHOST, kept(unit), 3)
    await renewed.meet(Vault(store))

    assert renewed.peers == {}


@pytest.mark.parametrize(
    ("role", "unsaved", "let_go"),
    [
        (Role.OCCUPANT, set(), True),
        (Role.OCCUPANT, {ROOM}, False),
        (Role.CONTACT, set(), False),
    ],
)
def test_only_what_is_safe_on_disk_and_not_in_use_is_let_go(
    own: Own, role: Role, unsaved: set[str], let_go: object
) -> None:
    meets(own)
    assert own.state
    own.state.role, own.unsaved = role, unsaved

    own.part()

    assert (own.peers == {}) is let_go


def test_nothing_of_a_former_epoch_but_the_identity_is_used(own: Own) -> None:
    own.stage(unit := Unit())

    again = Own(GHOST, kept(unit), 4)

    assert again.keys == own.keys
    assert again.account is None
    assert not again.ready


def test_a_new_device_is_another_and_remembers_the_old_one(own: Own) -> None:
    before = own.device, own.curve

    own.renew(Role.OCCUPANT)

    assert own.device != before[0]
    assert own.curve != before[1]
    assert own.state
    assert own.state.stale == [before[0]]
    assert own.introduction


def test_only_who_receives_has_one_time_keys(own: Own) -> None:
    assert len(own.olm.one_time_keys) == ONE_TIME_MAX

    own.renew(Role.CONTACT)

    assert own.olm.one_time_keys == {}


def test_a_fallback_key_is_there_until_it_is_published(own: Own) -> None:
    own.renew_fallback()
    assert len(own.fallback) == 1

    own.olm.mark_keys_as_published()

    assert own.fallback == {}


def test_who_has_nothing_is_not_ready() -> None:
    assert not Own(ALICE, {}, 0).ready
