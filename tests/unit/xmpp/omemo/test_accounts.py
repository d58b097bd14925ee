import asyncio
import time

import pytest

from bridge.core.ports import StoreUnavailableError, Unit
from bridge.model.records import Secret
from bridge.xmpp.omemo import account, accounts
from bridge.xmpp.omemo.accounts import Accounts
from bridge.xmpp.omemo.means import NotNowError
from bridge.xmpp.omemo.names import LEGACY_DEVICES
from tests.fakes_store import FakeStore
from tests.unit.xmpp.omemo.test_account import Nothing
from tests.unit.xmpp.omemo.world import ALICE, BOB, ROMEO, World


async def everybody(jid: str) -> bool:
    return jid.endswith("@bridge.example")


def make(store: FakeStore) -> Accounts:
    return Accounts(store, Nothing(), everybody, "label")


async def test_nobody_has_a_device_before_they_are_asked_for() -> None:
    store = FakeStore()
    ours = make(store)

    assert await ours.find(ALICE) is None
    assert not await ours.has_device(ALICE)
    assert store.disk.records == {}


async def test_a_device_is_made_once(world: World) -> None:
    store = FakeStore()
    ours = make(store)

    first, second = await asyncio.gather(ours.obtain(ALICE), ours.obtain(ALICE))

    assert first is second
    assert await ours.has_device(ALICE)


async def test_it_is_the_same_after_a_restart() -> None:
    store = FakeStore()
    made = await make(store).obtain(ALICE)

    found = await make(store).find(ALICE)

    assert made is not None
    assert found is not None
    assert found.id == made.id


async def test_who_does_not_exist_gets_none() -> None:
    assert await make(FakeStore()).obtain("mallory@elsewhere.example") is None


async def test_no_two_have_the_same_number(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter([7, 7, 8])
    monkeypatch.setattr(
        "omemo.session_manager.secrets.randbelow", lambda _: next(numbers)
    )
    ours = make(FakeStore())

    first, second = await ours.obtain(ALICE), await ours.obtain(BOB)

    assert first is not None
    assert second is not None
    assert (first.id, second.id) == (8, 9)


async def test_one_domain_cannot_have_many_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accounts, "MADE_AT_ONCE", 1)
    ours = make(FakeStore())

    assert await ours.obtain("p1_hs@bridge.example", ROMEO) is not None
    with pytest.raises(NotNowError, match="resource-constraint"):
        await ours.obtain("p2_hs@bridge.example", ROMEO)
    assert await ours.obtain(ALICE, "x@other.example") is not None


async def test_only_some_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "LOADED_MAX", 1)
    monkeypatch.setattr(account, "IDLE_S", -1)
    ours = make(FakeStore())

    await ours.obtain(ALICE)
    await ours.obtain(BOB)

    assert [one.jid for one in ours.loaded()] == [BOB]
    assert await ours.find(ALICE) is not None


async def test_who_is_busy_stays_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "LOADED_MAX", 1)
    ours = make(FakeStore())

    await ours.obtain(ALICE)
    await ours.obtain(BOB)

    assert [one.jid for one in ours.loaded()] == [ALICE, BOB]


async def test_without_a_disk_there_is_no_device() -> None:
    store = FakeStore()
    store.broken = True
    ours = make(store)

    with pytest.raises(NotNowError, match="resource-constraint"):
        await ours.obtain(ALICE)
    assert ours.loaded() == []


async def test_ten_thousand_on_disk_cost_no_more_than_ten(world: World) -> None:
    for number in range(10_000):
        one = Secret(f"omemo p{number}@bridge.example", "own", b"{}")
        world.store.disk.records[Secret, one.owner, one.name] = one

    began = time.process_time()
    world.restart()
    found = await world.omemo.nodes(ALICE)

    assert time.process_time() - began < 0.1
    assert LEGACY_DEVICES in found


class Fading(FakeStore):
    """Cannot write once, and then can again."""

    fades: bool = False

    def commit(self, unit: Unit) -> "asyncio.Future[frozenset[int]]":
        self.broken, self.fades = self.fades, False
        return super().commit(unit)


async def test_an_identity_is_not_made_anew_as_it_could_not_be_renewed() -> None:
    """A backup was restored, and just then the disk was full for a moment."""
    store = Fading()
    made = await make(store).obtain(ALICE)
    await make(store).begin_anew()
    store.fades = True
    ours = make(store)

    with pytest.raises(StoreUnavailableError):
        await ours.obtain(ALICE)
    again = await ours.obtain(ALICE)

    assert made is not None
    assert again is not None
    assert again.id == made.id
