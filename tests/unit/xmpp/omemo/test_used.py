import time

import pytest

from bridge.core.ports import Unit
from bridge.xmpp.codec.xml import node
from bridge.xmpp.endtoend import Passage
from bridge.xmpp.omemo import used as module
from bridge.xmpp.omemo.names import LEGACY, OMEMO2, bundle_item
from bridge.xmpp.omemo.used import KEPT_S, OWNER, Used
from tests.fakes_store import FakeStore
from tests.unit.xmpp.omemo.world import ALICE, BOB, ROMEO, Person, World

PLACE = (LEGACY, ROMEO, 7)
KEYS = frozenset((b"a", b"b", b"c"))


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


async def keep(store: FakeStore, used: Used) -> None:
    await store.commit(Unit(put=[used.record(PLACE)]))


async def again(store: FakeStore) -> Used:
    """Return what a later run knows."""
    found = Used(store)
    await found.learn([PLACE])
    return found


async def test_no_key_is_picked_twice_while_there_are_others(store: FakeStore) -> None:
    used = await again(store)

    assert {used.pick(PLACE, KEYS) for _ in KEYS} == KEYS
    assert used.pick(PLACE, KEYS) in KEYS


async def test_a_later_run_knows_what_was_picked(store: FakeStore) -> None:
    used = await again(store)
    picked = {used.pick(PLACE, KEYS)}
    await keep(store, used)
    picked.add((await again(store)).pick(PLACE, KEYS))

    assert len(picked) == 2


async def test_what_came_to_nothing_may_be_picked_again(store: FakeStore) -> None:
    used = await again(store)
    one, two = used.pick(PLACE, KEYS), used.pick(PLACE, KEYS)
    used.unpick(PLACE, one)

    assert {used.pick(PLACE, KEYS) for _ in range(2)} == KEYS - {two}


async def test_what_is_not_offered_any_more_is_forgotten(store: FakeStore) -> None:
    used = await again(store)
    for _ in KEYS:
        used.pick(PLACE, KEYS)
    used.pick(PLACE, frozenset((b"d",)))
    await keep(store, used)

    (row,) = await store.secrets(OWNER)
    assert b'"keys":["64"]' in row.value


async def test_what_was_not_used_for_long_is_forgotten(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = await again(store)
    used.pick(PLACE, KEYS)
    await keep(store, used)
    later = time.time() + KEPT_S
    await used.prune()
    assert len(await store.secrets(OWNER)) == 1

    monkeypatch.setattr(module, "now", lambda: later + 1)
    await Used(store).prune()

    assert await store.secrets(OWNER) == []


async def test_not_all_devices_are_remembered(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KNOWN_MAX", 1)
    used = await again(store)
    await used.learn([(LEGACY, ROMEO, 8)])

    assert [used.knows((LEGACY, ROMEO, one)) for one in (7, 8)] == [False, True]


def choose(keys: list[bytes]) -> bytes:
    """Choose as nobody should: always the first."""
    return keys[0]


def narrow(world: World, person: Person, namespace: str, most: int) -> None:
    """Let somebody offer few pre keys."""
    name, item = bundle_item(namespace, person.id)
    bundle = world.pep.items[person.jid, name][item]
    keys = bundle.find(f"{{{namespace}}}prekeys")
    assert keys is not None
    for one in list(keys)[most:]:
        keys.remove(one)


@pytest.mark.parametrize("namespace", [LEGACY, OMEMO2])
async def test_after_a_restart_no_two_of_ours_use_the_same_pre_key(
    world: World, monkeypatch: pytest.MonkeyPatch, namespace: str
) -> None:
    """Its owner forgets each with its first use: the second could not be opened."""
    monkeypatch.setattr(module, "choose", choose)
    romeo = await world.person(ROMEO, namespace)
    narrow(world, romeo, namespace, 2)
    first = await world.send("one", ALICE)

    world.restart()
    second = await world.send("two", BOB)

    assert await romeo.open(ALICE, first.children) == "one"
    assert await romeo.open(BOB, second.children) == "two"


async def test_what_began_a_session_is_kept_with_the_first_message_that_leaves(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before had come to nothing: once sealed it was too large."""
    monkeypatch.setattr(module, "choose", choose)
    romeo = await world.person()
    narrow(world, romeo, LEGACY, 2)
    way = Passage(account=ALICE, peer="", to=ROMEO)
    words = (node("body", None, "too large"),)
    await world.omemo.encrypt(words, way, (ROMEO,), Unit())
    first = await world.send("one", ALICE)

    world.restart()
    second = await world.send("two", BOB)

    assert await romeo.open(ALICE, first.children) == "one"
    assert await romeo.open(BOB, second.children) == "two"
