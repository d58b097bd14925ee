import asyncio
import gc

import pytest

from bridge.core.ports import Unit
from bridge.matrix.megolm import vault
from bridge.matrix.megolm.vault import Vault, Warm
from bridge.model.records import Secret
from tests.fakes_store import FakeStore


class Ratchet:
    """Something of which there must be only one."""


async def load(_: str) -> Ratchet:
    await asyncio.sleep(0)
    return Ratchet()


async def test_many_who_ask_at_once_get_the_same_object() -> None:
    warm: Warm[str, Ratchet] = Warm(load, 10)

    found = await asyncio.gather(*(warm.get("a") for _ in range(10)))

    assert len(set(map(id, found))) == 1


async def test_what_somebody_holds_is_never_read_a_second_time() -> None:
    warm: Warm[str, Ratchet] = Warm(load, 1)
    held = await warm.get("a")
    for key in "bcd":
        await warm.get(key)
    gc.collect()

    assert await warm.get("a") is held


async def test_what_nobody_holds_is_forgotten_in_time() -> None:
    warm: Warm[str, Ratchet] = Warm(load, 1)
    await warm.get("a")
    await warm.get("b")
    gc.collect()

    assert "a" not in warm._live


async def test_what_is_cleared_is_read_anew() -> None:
    warm: Warm[str, Ratchet] = Warm(load, 10)
    before = await warm.get("a")

    warm.clear()

    assert await warm.get("a") is not before


async def test_secrets_are_read_by_owner_and_by_name() -> None:
    store = FakeStore()
    await store.commit(Unit(put=[Secret("a", "x", b"1"), Secret("b", "y", b"2")]))
    found = Vault(store)

    assert await found.of("a") == {"x": b"1"}
    assert await found.find("b", "y") == b"2"
    assert await found.find("b", "x") is None


async def test_what_cannot_be_written_is_tried_until_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vault, "RETRY_S", 0)
    store = FakeStore()
    store.broken = True
    async with asyncio.TaskGroup() as tasks:
        unit = Unit(put=[Secret("a", "x", b"1")])
        writing = tasks.create_task(Vault(store).commit(unit))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not writing.done()
        store.broken = False

    assert await Vault(store).find("a", "x") == b"1"
