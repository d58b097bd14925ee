from contextlib import suppress

import pytest
from omemo.identity_key_pair import IdentityKeyPair

from bridge.core.ports import Unit
from bridge.model.records import Secret
from bridge.xmpp.endtoend import Plain, Trust
from bridge.xmpp.omemo import account as module
from bridge.xmpp.omemo.account import Account
from bridge.xmpp.omemo.device import Wanted
from bridge.xmpp.omemo.names import LEGACY, OMEMO2
from bridge.xmpp.omemo.used import Used
from tests.fakes_store import FakeStore
from tests.unit.xmpp.omemo.world import ALICE, ROMEO

KEYS = frozenset((b"a", b"b"))
FOUND = Plain((), ROMEO, 1, Trust.BLIND, LEGACY)


class Nothing:
    def bundle(self, account: str, wanted: Wanted) -> None:
        raise KeyError(wanted)

    def __init__(self) -> None:
        self.used = Used(FakeStore())


_made: dict[str, bytes] = {}


@pytest.fixture
async def rows() -> dict[str, bytes]:
    if not _made:
        _made.update(await make())
    return dict(_made)


async def make() -> dict[str, bytes]:
    made = await Account.open(ALICE, {}, Nothing(), "label")
    return {one.name: one.value for one in made.shelf.records(made.shelf.touched())}


def handed_in(unit: Unit) -> dict[str, bytes]:
    """Return the rows that *unit* writes."""
    found = [record for make in unit.late for record in make()]
    return {one.name: one.value for one in found if isinstance(one, Secret)}


async def load(rows: dict[str, bytes]) -> Account:
    return await Account.open(ALICE, rows, Nothing(), "label")


async def test_loading_changes_nothing(rows: dict[str, bytes]) -> None:
    account = await load(rows)

    assert account.shelf.touched() == frozenset()
    assert account.id == (await load(rows)).id


async def test_one_identity_serves_both_versions(rows: dict[str, bytes]) -> None:
    account = await load(rows)

    bundles = [
        await account.versions[one].get_bundle(ALICE, account.id)
        for one in (LEGACY, OMEMO2)
    ]

    assert bundles[0].identity_key == bundles[1].identity_key


async def test_an_operation_that_fails_changes_nothing(rows: dict[str, bytes]) -> None:
    account = await load(rows)
    unit = Unit()

    async def fail() -> None:
        async with account.operation(unit):
            account.shelf.put("/a", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    assert account.shelf.get("/a") is None
    assert unit.late == []


async def test_a_row_is_written_as_it_stands_when_it_is_handed_in(
    rows: dict[str, bytes],
) -> None:
    account = await load(rows)
    first, second = Unit(), Unit()
    async with account.operation(first):
        account.shelf.put("/a", 1)
    async with account.operation(second):
        account.shelf.put("/a", 2)

    written = handed_in(first)

    assert list(written) == ["own"]
    assert b'"/a":2' in written["own"]


async def test_what_was_done_for_nothing_is_written_with_what_comes_after_it(
    rows: dict[str, bytes],
) -> None:
    account = await load(rows)
    unit = Unit()
    async with account.operation(Unit()):
        account.shelf.put(f"/trust/{ROMEO}/key", "BLIND")
    async with account.operation(unit):
        account.shelf.put("/a", 1)

    assert sorted(handed_in(unit)) == ["own", f"peer {ROMEO}"]


async def test_what_touches_nothing_writes_nothing(rows: dict[str, bytes]) -> None:
    account = await load(rows)
    unit = Unit()

    async with account.operation(unit):
        pass

    assert unit == Unit()


async def test_what_was_found_waits_until_it_is_handed_in(
    rows: dict[str, bytes],
) -> None:
    account = await load(rows)
    unit = Unit()
    async with account.operation(unit):
        account.shelf.put("/a", 1)
        account.remember("key", FOUND)
    waited = account.waits

    handed_in(unit)

    assert waited
    assert not account.waits
    assert account.recall("key", Unit()) == FOUND


async def test_another_unit_writes_what_waits_along(rows: dict[str, bytes]) -> None:
    account = await load(rows)
    waiting, other = Unit(), Unit()
    async with account.operation(waiting):
        account.remember("key", FOUND)
    async with account.operation(other):
        account.shelf.put("/a", 1)

    written = handed_in(other)
    again = await load({**rows, **written})

    assert again.waits
    assert again.recall("key", Unit()) == FOUND


async def test_once_handed_in_it_is_taken_off_the_disk(rows: dict[str, bytes]) -> None:
    account = await load(rows)
    waiting, other = Unit(), Unit()
    async with account.operation(waiting):
        account.remember("key", FOUND)
    async with account.operation(other):
        account.shelf.put("/a", 1)
    handed_in(other)

    written = handed_in(waiting)

    assert written["opened"] == b"{}"


async def test_what_nobody_hands_in_is_forgotten(
    rows: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await load(rows)
    async with account.operation(Unit()):
        account.remember("key", FOUND)

    monkeypatch.setattr(module, "ABANDONED_S", -1)

    assert not account.waits


async def test_signed_pre_keys_are_renewed_when_they_are_old(
    rows: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await load(rows)
    before = await account.versions[OMEMO2].get_bundle(ALICE, account.id)
    assert not await account.renew()

    monkeypatch.setattr(module, "ROTATION_S", -1)
    renewed = await account.renew()

    after = await account.versions[OMEMO2].get_bundle(ALICE, account.id)
    assert renewed
    assert before != after
    assert before.identity_key == after.identity_key


async def test_an_account_rests_when_nothing_of_it_is_on_its_way(
    rows: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await load(rows)
    assert not account.is_idle

    monkeypatch.setattr(module, "IDLE_S", -1)

    assert account.is_idle


async def test_an_account_that_waits_for_the_network_does_not_rest(
    rows: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await load(rows)
    monkeypatch.setattr(module, "IDLE_S", -1)

    with account.held():
        held = account.is_idle

    assert not held
    assert account.is_idle


async def test_the_sign_of_an_identity_is_one_that_converse_understands() -> None:
    """Converse 14 forgets it, and says "Invalid signature" if it is 1."""
    made = [await Account.open(ALICE, {}, Nothing(), "label") for _ in range(8)]
    pairs = [await IdentityKeyPair.get(one.shelf) for one in made]

    assert [pair.identity_key[-1] & 0x80 for pair in pairs] == [0] * 8


async def test_what_an_operation_uses_of_others_is_kept_with_it(
    rows: dict[str, bytes],
) -> None:
    account, unit = await load(rows), Unit()
    async with account.operation(unit):
        key = account.desk.pick((LEGACY, ROMEO, 7), KEYS)

    assert key in KEYS
    assert key.hex().encode() in handed_in(unit)[f"{LEGACY} 7 {ROMEO}"]


async def test_an_operation_that_fails_uses_nothing_of_others(
    rows: dict[str, bytes],
) -> None:
    account, unit = await load(rows), Unit()
    with suppress(ZeroDivisionError):
        async with account.operation(unit):
            account.desk.pick((LEGACY, ROMEO, 7), KEYS)
            raise ZeroDivisionError

    assert unit == Unit()
    assert b'"keys":[]' in account.desk.bundles.used.record((LEGACY, ROMEO, 7)).value
