import asyncio
import time
from xml.etree.ElementTree import Element

import pytest

from bridge.xmpp.codec.xml import Node
from bridge.xmpp.omemo import remote as lists, subscribing
from bridge.xmpp.omemo.names import LEGACY, LEGACY_DEVICES, OMEMO2_DEVICES
from bridge.xmpp.omemo.service import Omemo
from tests.unit.xmpp.omemo.world import ALICE, BOB, JULIET, ROMEO, World


async def test_whose_list_was_read_is_subscribed_to_once(world: World) -> None:
    """XEP-0060 §6.1: those who are no contacts are told of changes only so."""
    await world.person()
    await world.send("one")
    world.omemo._remote.doubt(ROMEO)
    await world.send("two", BOB)

    await world.omemo.settle()

    assert world.pep.subscribed == [(ALICE, ROMEO, LEGACY_DEVICES)]


async def test_who_publishes_nothing_is_not_subscribed_to(world: World) -> None:
    await world.try_to_send("one")

    await world.omemo.settle()

    assert world.pep.subscribed == []


async def test_both_versions_are_subscribed_to(world: World) -> None:
    await world.person(ROMEO, LEGACY, "urn:xmpp:omemo:2")
    await world.send("one")

    await world.omemo.settle()

    nodes = {name for _, _, name in world.pep.subscribed}
    assert nodes == {LEGACY_DEVICES, OMEMO2_DEVICES}


async def test_a_change_that_is_told_is_noticed_at_once(world: World) -> None:
    await world.person()
    await world.send("one")
    await world.omemo.settle()
    tablet = await world.person()

    assert world.tell_of(ROMEO, LEGACY_DEVICES)
    sealed = await world.send("two")

    assert sealed.left_out == ()
    assert await tablet.open(ALICE, sealed.children) is not None


async def test_of_whom_nobody_tells_the_list_is_read_again_soon(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "UNWATCHED_KEPT_S", 0.0)
    await world.person()
    world.pep.private.add((ROMEO, LEGACY_DEVICES))
    await world.send("one")
    await world.omemo.settle()
    world.pep.asked.clear()

    monkeypatch.undo()
    await world.send("two")

    assert (ALICE, ROMEO, LEGACY_DEVICES) in world.pep.asked
    assert world.pep.subscribed == []


async def read_anew(world: World, words: str) -> float:
    """Have the list read, and tell how long it is believed from then on."""
    world.omemo._remote.doubt(ROMEO)
    await world.send(words)
    await world.omemo.settle()
    _, until = world.omemo._remote._lists._known[LEGACY, ROMEO]
    return until - time.monotonic()


async def test_it_is_read_again_soon_every_time(world: World) -> None:
    """Else a new device of theirs would read nothing for six hours."""
    await world.person()
    world.pep.private.add((ROMEO, LEGACY_DEVICES))

    kept_s = [await read_anew(world, words) for words in ("one", "two", "three")]

    assert max(kept_s) <= lists.UNWATCHED_KEPT_S


async def test_who_tells_changes_after_all_is_believed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.person()
    world.pep.private.add((ROMEO, LEGACY_DEVICES))
    await read_anew(world, "one")
    world.pep.private.clear()
    with monkeypatch.context() as later:
        later.setattr(subscribing, "AGAIN_S", 0.0)
        await read_anew(world, "two")

    assert await read_anew(world, "three") > lists.UNWATCHED_KEPT_S


async def test_a_day_later_it_is_done_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribing, "AGAIN_S", 0.0)
    await world.person()
    for words in ("one", "two"):
        world.omemo._remote.doubt(ROMEO)
        await world.send(words)
        await world.omemo.settle()

    assert world.pep.subscribed == [(ALICE, ROMEO, LEGACY_DEVICES)] * 2


async def test_the_oldest_are_forgotten_in_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribing, "SUBSCRIBED_MAX", 1)
    made = world.omemo._subscribing
    for peer in (ROMEO, JULIET, ROMEO):
        made.want(ALICE, LEGACY, peer)
        await made.beat()

    assert [peer for _, peer, _ in world.pep.subscribed] == [ROMEO, JULIET, ROMEO]


async def test_of_too_many_at_once_the_oldest_are_read_again_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever has many addresses and a server that is mute fills no memory."""
    monkeypatch.setattr(subscribing, "SUBSCRIBED_MAX", 2)
    asked: list[str] = []
    unwatched: list[str] = []

    async def tell(peer: str, _: str, payload: Node) -> Element:
        asked.append(peer)
        return Element(payload.name)

    made = subscribing.Subscribing(tell, lambda _, peer: unwatched.append(peer))
    for number in range(4):
        made.want(ALICE, LEGACY, f"{number}@flood.example")
    await made.beat()

    assert unwatched == ["0@flood.example", "1@flood.example"]
    assert asked == ["2@flood.example", "3@flood.example"]


async def test_it_goes_on_by_itself(world: World) -> None:
    assert isinstance(world.omemo, Omemo)
    await world.person()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(world.omemo.run())
        await world.send("one")
        while not world.pep.subscribed:  # noqa: ASYNC110 - a list
            await asyncio.sleep(0)
        running.cancel()
