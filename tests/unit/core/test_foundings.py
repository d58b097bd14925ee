import asyncio

from bridge.core.foundings import Foundings
from bridge.core.ports import Unit
from bridge.model.places import Network, Room
from tests.fakes_store import FakeStore, SlowStore

POND = Room(Network.XMPP, "pond@muc.example")


async def begun(store: FakeStore) -> Foundings:
    foundings, unit = Foundings(store), Unit()
    await foundings.begin(POND, unit)
    await store.commit(unit)
    return foundings


async def test_a_later_run_knows_what_was_being_made() -> None:
    store = FakeStore()
    await begun(store)

    assert await Foundings(store).all() == (POND,)


async def test_what_is_made_is_forgotten() -> None:
    store = FakeStore()
    foundings, unit = await begun(store), Unit()

    await foundings.end(POND, unit)
    await store.commit(unit)

    assert await foundings.all() == ()
    assert await Foundings(store).all() == ()


async def test_what_is_made_while_somebody_looks_is_forgotten() -> None:
    before = FakeStore()
    await begun(before)
    store = SlowStore(before.disk)
    foundings = Foundings(store)

    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(foundings.all())
        await store.asked.wait()
        await foundings.end(POND, Unit())
        store.may_answer.set()

    assert looking.result() == ()
    assert await foundings.all() == ()


async def test_what_was_never_begun_ends_nothing() -> None:
    unit = Unit()

    await Foundings(FakeStore()).end(POND, unit)

    assert unit.drop == []
