import asyncio

import pytest

from bridge.core.ports import StoreUnavailableError
from bridge.model.delivery import Arrival
from bridge.model.events import AnyEvent
from tests.conftest import World, said
from tests.fakes import TEA_MATRIX, TEA_XMPP


@pytest.fixture
def clear(world: World) -> World:
    """A world in which all that comes is plain to see."""
    world.matrix.clear = world.xmpp.clear = True
    return world


def arrivals(world: World, *events: AnyEvent) -> list[Arrival]:
    made = []
    for event in events:
        near = world.matrix if event.room == TEA_MATRIX else world.xmpp
        near.script[event.ref.id] = event
        made.append(Arrival(event.room, event.ref.id, b"raw"))
    return made


async def test_what_is_plain_to_see_is_taken_and_carried_in_one_commit(
    clear: World,
) -> None:
    before = len(clear.store.units)

    await clear.comes(said(TEA_MATRIX, "hello"))

    (unit,) = clear.store.units[before:]
    assert [taken.seq for taken in unit.take] == unit.done
    assert [parcel.wire.data for parcel in unit.parcels] == [b"hello"]


async def test_what_is_carried_at_once_crosses_once(clear: World) -> None:
    """Row 30."""
    await clear.happens(said(TEA_MATRIX, "hello"))
    await clear.happens(said(TEA_MATRIX, "hello"))

    assert clear.xmpp.said() == ["hello"]


async def test_what_comes_twice_at_the_same_time_crosses_once(clear: World) -> None:
    twice = arrivals(clear, said(TEA_MATRIX, "hello"), said(TEA_MATRIX, "hello"))

    await clear.hub.keep(twice)
    await clear.settles()

    assert clear.xmpp.said() == ["hello"]


async def test_nothing_overtakes_what_must_be_read(clear: World) -> None:
    gate = clear.matrix.gates["somebody-1"] = asyncio.Event()
    await clear.comes(said(TEA_MATRIX, "first", number=1))
    await clear.comes(said(TEA_MATRIX, "second", number=2))

    gate.set()
    await clear.settles()

    assert clear.xmpp.said() == ["first", "second"]


async def test_nothing_overtakes_what_is_being_written_down(clear: World) -> None:
    clear.matrix.gates["somebody-1"] = asyncio.Event()
    clear.matrix.gates["somebody-1"].set()
    first, second = arrivals(
        clear, said(TEA_MATRIX, "first"), said(TEA_MATRIX, "second", number=2)
    )

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(clear.hub.keep([first]))
        tasks.create_task(clear.hub.keep([second]))
    await clear.settles()

    assert clear.xmpp.said() == ["first", "second"]


async def test_one_batch_keeps_its_order_whatever_is_plain(clear: World) -> None:
    for number in range(3, 200, 7):
        clear.xmpp.gates[f"somebody-{number}"] = asyncio.Event()
        clear.xmpp.gates[f"somebody-{number}"].set()
    words = [said(TEA_XMPP, str(number), number=number) for number in range(200)]

    await clear.hub.keep(arrivals(clear, *words))
    await clear.settles()

    assert clear.matrix.said() == [str(number) for number in range(200)]


async def test_nothing_comes_between_what_is_kept_together(clear: World) -> None:
    """What is read again, many pages of it, against what is pushed meanwhile."""
    words = [said(TEA_MATRIX, str(number), number=number) for number in range(131)]
    *older, newer = arrivals(clear, *words)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(clear.hub.keep(older))
        tasks.create_task(clear.hub.keep([newer]))
    await clear.settles()

    assert clear.xmpp.said() == [str(number) for number in range(131)]


async def test_nothing_is_kept_while_nothing_can_be_written(clear: World) -> None:
    """Row 20: the sender is not told that it was taken, and sends it again."""
    clear.store.broken = True
    with pytest.raises(StoreUnavailableError):
        await clear.comes(said(TEA_MATRIX, "hello"))
    clear.store.broken = False

    await clear.settles()
    assert clear.xmpp.said() == []
    await clear.happens(said(TEA_MATRIX, "hello"))

    assert clear.xmpp.said() == ["hello"]


async def test_what_can_never_be_written_is_told_and_stops_nobody(
    clear: World,
) -> None:
    clear.store.unfit = "poison"
    words = [said(TEA_XMPP, "poison"), said(TEA_XMPP, "hello", number=2)]

    await clear.hub.keep(arrivals(clear, *words))
    await clear.settles()

    assert clear.matrix.said() == ["hello"]
    assert len(clear.xmpp.said()) == 1  # why it was refused


async def test_whoever_gives_up_waiting_stops_nothing(clear: World) -> None:
    async def keep() -> None:
        await clear.hub.keep(arrivals(clear, said(TEA_MATRIX, "hello")))

    task = asyncio.get_running_loop().create_task(keep())
    await asyncio.sleep(0)
    task.cancel()
    await clear.settles()

    assert clear.xmpp.said() == ["hello"]


async def test_what_breaks_at_a_glance_is_read_like_all_else(clear: World) -> None:
    clear.matrix.broken = True

    await clear.happens(said(TEA_MATRIX, "hello"))

    assert clear.xmpp.said() == []  # nobody could read it, and nobody fell over
    clear.matrix.broken = False
    await clear.happens(said(TEA_MATRIX, "again", number=2))
    assert clear.xmpp.said() == ["again"]


async def test_nothing_is_carried_once_the_bridge_has_closed(clear: World) -> None:
    clear.hub.close()

    await clear.comes(said(TEA_MATRIX, "hello"))

    assert len(clear.store.disk.inbox) == 1  # for the next run
