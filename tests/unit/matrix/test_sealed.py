from bridge.matrix.sealed import Sealed
from bridge.model.records import Cursor
from tests.fakes_store import FakeStore


async def test_a_room_that_was_encrypted_once_stays_so_over_a_restart() -> None:
    store = FakeStore()
    await Sealed(store).add("!r:hs")

    sealed = Sealed(store)
    await sealed.start()

    assert "!r:hs" in sealed
    assert "!other:hs" not in sealed


async def test_a_suspicion_counts_at_once() -> None:
    sealed = Sealed(FakeStore())

    sealed.suspect("!r:hs")

    assert "!r:hs" in sealed


async def test_other_cursors_are_not_mistaken_for_it() -> None:
    store = FakeStore()
    sealed = Sealed(store)
    await sealed.add("!a:hs")
    assert isinstance(await store.find(Cursor, "encrypted", "!a:hs"), Cursor)

    assert await store.find(Cursor, "audit", "!a:hs") is None
