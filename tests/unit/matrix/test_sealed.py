from bridge.core.ports import Unit
from bridge.matrix.sealed import Sealed
from bridge.model.records import Cursor
from tests.fakes_store import FakeStore


async def test_a_room_that_was_encrypted_once_stays_so_over_a_restart() -> None:
    """E66: whatever the state of the room says later."""
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


async def test_how_a_room_is_encrypted_outlives_a_restart() -> None:
    store = FakeStore()
    content = {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 7}
    await Sealed(store).add("!r:hs", content)
    sealed = Sealed(store)
    await sealed.start()

    await sealed.add("!r:hs")
    await sealed.add("!r:hs", {"algorithm": "m.none"})
    await sealed.add("!r:hs", {})

    assert sealed.encryption("!r:hs") == content
    assert sealed.encryption("!other:hs") == {}


async def test_an_encryption_of_enormous_size_is_one_all_the_same() -> None:
    sealed = Sealed(FakeStore())

    await sealed.add("!r:hs", {"algorithm": "x" * 10_000})

    assert "!r:hs" in sealed
    assert sealed.encryption("!r:hs") == {}


async def test_what_an_older_version_noted_counts() -> None:
    store = FakeStore()
    await store.commit(Unit(put=[Cursor("encrypted", "!r:hs", "1")]))
    sealed = Sealed(store)

    await sealed.start()

    assert "!r:hs" in sealed
