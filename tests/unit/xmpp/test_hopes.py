import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from bridge.core.letters import letter_of
from bridge.core.ports import Unit
from bridge.model.delivery import Parcel, Refusal, Refused, Wire
from bridge.model.places import Network, PortalId, Room
from bridge.xmpp import hopes
from bridge.xmpp.codec.names import chat_address
from bridge.xmpp.hopes import Hopes
from tests.unit.xmpp.elsewhere import MUC, ROOM, World, build
from tests.unit.xmpp.muc.cipher import FakeCipher

ALICE = "alice_hs.example@bridge.example"
HATTER, HARE = "hatter@wonder.example", "hare@wonder.example"
CHAT = chat_address(HATTER, ALICE)
EXPOSING = Refused(Refusal.WOULD_EXPOSE, "no device")


@dataclass
class Hoping:
    around: World
    cipher: FakeCipher
    hopes: Hopes

    def tried(self) -> list[Room]:
        found = list(self.around.host.retried)
        self.around.host.retried.clear()
        return found


@pytest.fixture
async def world() -> AsyncIterator[Hoping]:
    async with asyncio.TaskGroup() as tasks:
        made, cipher = build(tasks), FakeCipher(without={HATTER, HARE})
        yield Hoping(made, cipher, Hopes(made.host, cipher))


async def test_it_is_tried_again_once_all_have_a_device(world: Hoping) -> None:
    world.hopes.refused(MUC, ALICE, {HATTER, HARE})
    world.cipher.without = {HARE}
    world.hopes.heard(HATTER)
    await world.hopes.look(everywhere=False)
    assert world.tried() == []

    world.cipher.without = set()
    world.hopes.heard(HARE)
    await world.hopes.look(everywhere=False)
    await world.hopes.look(everywhere=True)

    assert world.tried() == [ROOM]


async def test_where_all_are_away_it_is_tried_again_once_one_has_a_device(
    world: Hoping,
) -> None:
    world.hopes.refused(MUC, ALICE, {HATTER, HARE}, one=True)
    world.hopes.heard(HARE)
    await world.hopes.look(everywhere=False)
    assert world.tried() == []

    world.cipher.without = {HARE}
    world.hopes.heard(HATTER)
    await world.hopes.look(everywhere=False)

    assert world.tried() == [ROOM]


async def test_whoever_is_seen_may_have_a_device_by_now(world: Hoping) -> None:
    """That they had none is known for a minute."""
    world.hopes.seen(HATTER)
    assert world.cipher.doubted == []
    world.hopes.refused(MUC, ALICE, {HATTER})
    world.cipher.without = set()

    world.hopes.seen(HARE)
    world.hopes.seen(HATTER)
    await world.hopes.look(everywhere=False)

    assert world.cipher.doubted == [HATTER]
    assert world.tried() == [ROOM]


async def test_news_of_others_is_no_hope(world: Hoping) -> None:
    world.hopes.refused(MUC, ALICE, {HATTER})
    world.cipher.without = set()

    world.hopes.heard(HARE)
    await world.hopes.look(everywhere=False)

    assert world.tried() == []


async def test_without_news_it_is_looked_at_now_and_then(world: Hoping) -> None:
    world.hopes.refused(MUC, ALICE, {HATTER})
    await world.hopes.look(everywhere=True)
    assert world.tried() == []

    world.cipher.without = set()
    await world.hopes.look(everywhere=True)

    assert world.tried() == [ROOM]


async def test_news_that_come_before_the_device_are_remembered_for_a_while(
    world: Hoping,
) -> None:
    """Somebody comes in, and publishes their device a moment later."""
    world.hopes.refused(MUC, ALICE, {HATTER})
    world.hopes.heard(HATTER)
    await world.hopes.look(everywhere=False)
    world.cipher.without = set()

    await world.hopes.look(everywhere=False)

    assert world.tried() == [ROOM]


async def test_news_are_not_remembered_for_ever(world: Hoping) -> None:
    world.hopes.refused(MUC, ALICE, {HATTER})
    world.hopes.heard(HATTER)
    for _ in range(hopes.TRIES + 1):
        await world.hopes.look(everywhere=False)
    world.cipher.without = set()

    await world.hopes.look(everywhere=False)

    assert world.tried() == []


async def test_what_was_tried_in_vain_waits_for_news(world: Hoping) -> None:
    """Else its sender would be told the same for ever."""
    world.cipher.without = set()
    for _ in range(2):
        world.hopes.refused(MUC, ALICE, {HATTER})
        await world.hopes.look(everywhere=True)
    assert world.tried() == [ROOM]

    world.hopes.heard(HATTER)
    await world.hopes.look(everywhere=False)

    assert world.tried() == [ROOM]


async def test_what_somebody_decided_is_tried_at_once(world: Hoping) -> None:
    world.hopes.refused(CHAT, ALICE, {HATTER})

    world.hopes.decided(CHAT)
    world.hopes.decided(MUC)
    await world.hopes.look(everywhere=False)

    assert world.tried() == [Room(Network.XMPP, CHAT)]


@pytest.mark.parametrize(("place", "knows"), [(CHAT, True), (MUC, False)])
async def test_what_an_earlier_run_refused_is_tried_as_well(
    world: Hoping, place: str, *, knows: bool
) -> None:
    """Whom a room lacked is not on disk, so it is tried once."""
    parcel = Parcel(1, Network.XMPP, "1", Wire("a", b""), b"r", portal=PortalId(1))
    room = Room(Network.XMPP, place)
    letters = [
        letter_of(n, [parcel], room, why, 0)
        for n, why in ((1, EXPOSING), (2, Refused(Refusal.REJECTED)))
    ]
    await world.around.store.commit(Unit(put=[*letters]))
    await world.hopes.restore(world.around.store)

    await world.hopes.look(everywhere=True)
    assert world.tried() == ([] if knows else [room])

    world.cipher.without = set()
    await world.hopes.look(everywhere=True)
    assert world.tried() == ([room] if knows else [])


async def test_the_oldest_are_forgotten_in_time(
    world: Hoping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hopes, "LACKS_MAX", 1)
    world.cipher.without = set()
    world.hopes.refused(MUC, ALICE, {HATTER})
    world.hopes.refused(CHAT, ALICE, {HATTER})

    await world.hopes.look(everywhere=True)

    assert world.tried() == [Room(Network.XMPP, CHAT)]


async def test_it_goes_on_by_itself(
    world: Hoping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hopes, "HOPE_S", 0)
    world.cipher.without = set()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(world.hopes.run())
        world.hopes.refused(MUC, ALICE, {HATTER})
        world.hopes.heard(HATTER)
        while not world.around.host.retried:  # noqa: ASYNC110 - a list
            await asyncio.sleep(0)
        running.cancel()


async def test_without_omemo_nobody_hopes(world: Hoping) -> None:
    world.hopes = Hopes(world.around.host)
    world.hopes.refused(MUC, ALICE, {HATTER})

    await world.hopes.look(everywhere=True)

    assert world.tried() == []
