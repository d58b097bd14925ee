import asyncio
from dataclasses import replace

from bridge.core.openings import Opening, Openings
from bridge.core.ports import Unit
from bridge.model.events import Protection
from bridge.model.places import Network, Room
from tests.conftest import said
from tests.fakes_store import FakeStore, SlowStore

CHAT = Room(Network.XMPP, "juliet@capulet.example @alice:hs.example")
FIRST = replace(
    said(CHAT, "hello", sender="juliet@capulet.example"),
    name="Juliet\nof old",
    protection=Protection.END_TO_END,
)


async def test_what_is_begun_while_somebody_looks_is_not_forgotten() -> None:
    """Else what is said in that room before it is known is lost (seed 3017846)."""
    store = SlowStore()
    openings = Openings(store)

    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(openings.all())
        await store.asked.wait()
        begun = await openings.begin(FIRST)
        store.may_answer.set()

    assert looking.result() == (begun,)
    assert await openings.all() == (begun,)


async def test_a_later_run_knows_what_was_being_opened() -> None:
    store = FakeStore()
    begun = await Openings(store).begin(FIRST)

    (known,) = await Openings(store).all()

    number, guarded = known.number, Protection.END_TO_END
    assert known == Opening(number, CHAT, FIRST.sender, FIRST.name, guarded)
    assert known == begun


async def test_a_chat_that_is_opened_again_keeps_its_number() -> None:
    store = FakeStore()
    begun = await Openings(store).begin(FIRST)

    again = await Openings(store).begin(replace(FIRST, name="Juliet"))

    assert again.number == begun.number


async def test_who_writes_encrypted_next_is_known() -> None:
    """The first try may have failed, whose words were in the clear."""
    store = FakeStore()
    await Openings(store).begin(replace(FIRST, protection=Protection.TRANSPORT))

    again = await Openings(store).begin(FIRST)

    assert again.protection is Protection.END_TO_END
    assert await Openings(store).all() == (again,)


async def test_who_once_wrote_encrypted_has_not_agreed_to_anything_less() -> None:
    store = FakeStore()
    begun = await Openings(store).begin(FIRST)

    again = await Openings(store).begin(replace(FIRST, protection=Protection.TRANSPORT))

    assert again == begun


async def test_what_is_open_is_forgotten() -> None:
    store = FakeStore()
    openings = Openings(store)
    await openings.begin(FIRST)
    unit = Unit()

    openings.end(CHAT, unit)
    await store.commit(unit)

    assert await openings.all() == ()
    assert await Openings(store).all() == ()


async def test_what_was_never_begun_ends_nothing() -> None:
    unit = Unit()

    Openings(FakeStore()).end(CHAT, unit)

    assert unit.drop == []
