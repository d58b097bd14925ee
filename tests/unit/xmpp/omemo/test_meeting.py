import asyncio
import time

import pytest

from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.endtoend import Trust
from bridge.xmpp.omemo import meeting
from bridge.xmpp.omemo.names import LEGACY, LEGACY_DEVICES
from tests.unit.xmpp.omemo.world import ALICE, ROMEO, Person, World


@pytest.fixture
def shy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "AT_ONCE_MAX", 1)


async def crowd(world: World) -> list[Person]:
    return [await world.person(f"p{n}@d.example") for n in range(4)]


async def send(world: World, people: list[Person], words: str) -> list[str | None]:
    sealed = await world.send(words, ALICE, *(one.jid for one in people))
    return [await one.open_own(ALICE, sealed.children) for one in people]


async def test_everybody_in_a_crowd_can_read(world: World, shy: None) -> None:
    people = await crowd(world)

    first, second = [await send(world, people, one) for one in ("hello", "all")]

    assert first == ["hello"] * 4
    assert second == ["all"] * 4


async def test_meanwhile_others_have_their_turn(world: World, shy: None) -> None:
    people = await crowd(world)
    turns: list[float] = []

    async def wait() -> None:
        while True:
            turns.append(time.monotonic())
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(wait())
        await send(world, people, "hello")
        waiting.cancel()

    assert len(turns) > len(people)


async def test_stale_devices_are_met_once(world: World, shy: None) -> None:
    romeo = await world.person()
    ids = (romeo.id, 5, 6, 7)
    devices = (node("device", {"id": str(n)}) for n in ids)
    listed = Node("list", {"xmlns": LEGACY}, tuple(devices))
    world.publish(ROMEO, LEGACY_DEVICES, "current", listed)

    for words in ("one", "two"):
        assert await send(world, [romeo], words) == [words]

    assert len([one for one in world.pep.asked if one[2].endswith(":5")]) == 1


async def test_nobody_meets_whom_they_distrust(world: World, shy: None) -> None:
    people = await crowd(world)
    outcast = people.pop()
    (device,) = await world.omemo.devices(ALICE, outcast.jid)
    await world.omemo.decide(ALICE, outcast.jid, device.fingerprint, Trust.DISTRUSTED)

    assert await send(world, people, "hello") == ["hello"] * 3

    await world.try_to_send("hello", ALICE, outcast.jid, people[0].jid)
    account = await world.omemo._accounts.find(ALICE)
    assert account is not None
    assert account.sessions(outcast.jid) == []


async def test_a_bundle_that_is_no_good_stops_nobody(world: World, shy: None) -> None:
    people = await crowd(world)
    spoilt = people.pop()
    world.spoil_signature(spoilt)
    everybody = [*(one.jid for one in people), spoilt.jid]

    await world.try_to_send("hello", ALICE, *everybody)

    assert await send(world, people, "hello") == ["hello"] * 3
