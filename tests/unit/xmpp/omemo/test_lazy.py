import asyncio
import sys
from collections.abc import Callable

import pytest

from bridge.core.ports import Unit
from bridge.xmpp.codec.xml import node
from bridge.xmpp.endtoend import EndToEnd, Passage, Plain, Sealed, Trust
from bridge.xmpp.omemo import lazy, upkeep
from bridge.xmpp.omemo.lazy import LazyOmemo
from bridge.xmpp.omemo.names import LEGACY, LEGACY_DEVICES, OMEMO2
from bridge.xmpp.omemo.service import Omemo
from tests.unit.xmpp.omemo.world import ALICE, BOB, CANARY, ROMEO, World, passage, text

AVATARS = "urn:xmpp:avatar:metadata"
TO_ROMEO = Passage(account=ALICE, peer=ROMEO, to=ROMEO)

Loaded = Callable[[], int]


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """Tell how often it was loaded, as if that had to be read from disk."""
    count: list[None] = []

    def load() -> type[Omemo]:
        count.append(None)
        return Omemo

    monkeypatch.setattr(lazy, "_load", load)
    monkeypatch.delitem(sys.modules, "bridge.xmpp.omemo.service")
    return lambda: len(count)


def takes(encryption: EndToEnd) -> frozenset[str]:
    return encryption.namespaces


async def test_it_is_an_encryption_like_any_other(world: World) -> None:
    assert takes(LazyOmemo(world.means())) == {LEGACY, OMEMO2}


async def test_nothing_is_loaded_by_what_others_ask_in_vain(
    world: World, loaded: Loaded
) -> None:
    omemo = LazyOmemo(world.means())
    romeo = await world.person()

    assert await omemo.items(ALICE, AVATARS, ROMEO) is None
    assert await omemo.nodes(BOB) == ()
    assert await omemo.devices(BOB, ROMEO) == ()
    omemo.admitted(ALICE, romeo.jid)
    assert loaded() == 0


async def test_who_has_a_device_is_served_from_disk(world: World) -> None:
    omemo = LazyOmemo(world.means())

    assert LEGACY_DEVICES in await omemo.nodes(ALICE)
    assert await omemo.devices(ALICE, ALICE)
    assert await omemo.items(ALICE, LEGACY_DEVICES, ROMEO)


async def test_many_who_ask_at_once_have_it_loaded_once(
    world: World, loaded: Loaded
) -> None:
    omemo = LazyOmemo(world.means())

    answers = [omemo.items(ALICE, LEGACY_DEVICES, ROMEO) for _ in range(20)]
    found = await asyncio.gather(*answers)

    assert all(one == found[0] for one in found)
    # Once in a thread, and once to be had from there.
    assert loaded() == 2


async def test_the_loop_turns_while_it_is_loaded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    turned = asyncio.Event()

    def load() -> type[Omemo]:
        asyncio.run_coroutine_threadsafe(turn(), loop).result(10)
        monkeypatch.setattr(lazy, "_load", lambda: Omemo)
        return Omemo

    async def turn() -> None:
        turned.set()

    monkeypatch.setattr(lazy, "_load", load)
    monkeypatch.delitem(sys.modules, "bridge.xmpp.omemo.service")
    await LazyOmemo(world.means()).items(ALICE, LEGACY_DEVICES, ROMEO)

    assert turned.is_set()


async def test_it_seals_and_opens_as_the_loaded_one_does(world: World) -> None:
    omemo = LazyOmemo(world.means())
    romeo = await world.person()
    unit = Unit()

    stanza = await romeo.seal(ALICE, CANARY)
    found = await omemo.decrypt(stanza, passage(stanza), unit, "n1")
    await world.store.commit(unit)

    assert isinstance(found, Plain)
    assert text(found.content) == CANARY
    words = (node("body", None, CANARY),)

    assert await omemo.capable(ALICE, ROMEO)
    assert isinstance(await omemo.encrypt(words, TO_ROMEO, (ROMEO,), Unit()), Sealed)


async def test_people_decide_on_devices(world: World) -> None:
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))
    omemo = LazyOmemo(world.means())
    (device,) = await omemo.devices(ALICE, ROMEO)

    assert await omemo.decide(ALICE, ROMEO, device.fingerprint, Trust.VERIFIED)

    (device,) = await omemo.devices(ALICE, ROMEO)
    assert device.trust is Trust.VERIFIED


async def test_what_it_knows_of_others_follows_their_events(world: World) -> None:
    omemo = LazyOmemo(world.means())
    omemo.doubt(ROMEO)
    assert await omemo.capable(ALICE, ROMEO) is False
    romeo = await world.person()
    omemo.doubt(ROMEO)
    assert await omemo.capable(ALICE, ROMEO)
    world.publish(ROMEO, LEGACY_DEVICES, "current", node("list", {"xmlns": LEGACY}))
    world.omemo = omemo  # type: ignore[assignment]

    assert world.tell_of(ROMEO, LEGACY_DEVICES)
    assert not await omemo.capable(ALICE, romeo.jid)


async def test_who_reads_more_than_words_is_told_that_it_is_off(world: World) -> None:
    await world.person(ROMEO, OMEMO2)

    made = await LazyOmemo(world.means()).opt_out(TO_ROMEO, "off", Unit())

    assert isinstance(made, Sealed)


async def test_it_is_tended_once_it_is_loaded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "BEAT_S", 0)
    omemo = LazyOmemo(world.means())
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tending = tasks.create_task(omemo.run())
        await omemo.items(BOB, LEGACY_DEVICES, ROMEO)
        while (BOB, LEGACY_DEVICES) not in world.announced:  # noqa: ASYNC110 - a list
            await asyncio.sleep(0)
        tending.cancel()


async def test_after_a_backup_was_restored_identities_stay(world: World) -> None:
    omemo = LazyOmemo(world.means())
    (before,) = await omemo.devices(ALICE, ALICE)

    await omemo.recover()

    (after,) = await omemo.devices(ALICE, ALICE)
    assert after.fingerprint == before.fingerprint
