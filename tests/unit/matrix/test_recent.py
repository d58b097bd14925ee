import gc

from bridge.matrix.recent import Locks, Recent


def test_the_oldest_entry_is_forgotten_when_there_are_too_many() -> None:
    recent: Recent[str, int] = Recent(2)

    for number, key in enumerate("abc"):
        recent.put(key, number)

    assert [recent.get(key) for key in "abc"] == [None, 1, 2]


def test_what_is_put_again_is_young_again() -> None:
    recent: Recent[str, int] = Recent(2)

    for key in "abac":
        recent.put(key, 1)

    assert [recent.get(key) for key in "abc"] == [1, None, 1]


def test_what_is_dropped_is_forgotten() -> None:
    recent: Recent[str, int] = Recent(2)
    recent.put("a", 1)

    recent.drop("a")
    recent.drop("b")

    assert recent.get("a") is None


async def test_who_asks_for_a_key_that_is_held_gets_the_same_lock() -> None:
    locks: Locks[str] = Locks()

    async with locks("a"):
        assert locks("a").locked()
        assert not locks("b").locked()


async def test_a_lock_nobody_holds_is_gone() -> None:
    locks: Locks[str] = Locks()

    async with locks("a"):
        pass
    gc.collect()

    assert not locks._locks
