import asyncio
from dataclasses import replace

import pytest

from bridge.core import provisioning
from bridge.core.openings import KIND, Opening, Openings
from bridge.core.ports import Unit
from bridge.model.delivery import Refusal
from bridge.model.events import Protection
from bridge.model.places import Network, Person, PortalId, Room
from bridge.model.records import Cursor, Kind, Portal
from tests.conftest import World, said
from tests.fakes import FakeMatrixRooms
from tests.fakes_store import FakeStore, SlowStore

CHAT = Room(Network.XMPP, "juliet@capulet.example @alice:hs.example")
NEW = Room(Network.MATRIX, "!new:hs.example")
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


class Slow(FakeMatrixRooms):
    """Makes the room at once, and tells so only when the gate opens."""

    unsure: int = 1

    async def begun(self, far: Room, kind: Kind) -> str | None:
        self.unsure -= 1
        return None if self.unsure >= 0 else NEW.address

    async def start_direct(
        self, chat: Room, host: Person, guest: Person, name: str
    ) -> Portal | Refusal:
        assert self.gate is not None
        await self.gate.wait()
        return Portal(PortalId(0), Kind.DIRECT, NEW.address, chat.address, "@ghost")


@pytest.fixture
def slow(world: World, monkeypatch: pytest.MonkeyPatch) -> Slow:
    async def at_once(_: float) -> None:
        await asyncio.sleep(0)

    made = Slow(gate=asyncio.Event())
    monkeypatch.setattr(world.hub._provisioning, "_matrix", made)
    monkeypatch.setattr(provisioning, "sleep", at_once)
    return made


async def test_an_answer_may_come_before_the_chat_is_open(
    world: World, slow: Slow
) -> None:
    """The homeserver pushes it while its answer to us is under way."""
    assert slow.gate is not None
    await world.comes(said(CHAT, "hello", sender="juliet@capulet.example"))
    await world.comes(said(NEW, "hello yourself", sender="@alice:hs.example"))
    for _ in range(20):
        await asyncio.sleep(0)
    slow.gate.set()
    await world.settles()

    assert world.matrix.said() == ["hello"]
    assert world.xmpp.said() == ["hello yourself"]
    assert len(await world.store.load(Portal)) == 2


async def test_an_answer_may_have_come_before_the_bridge_fell(
    world: World, slow: Slow
) -> None:
    """Only that the chat was being opened is on disk, and the answer."""
    assert slow.gate is not None
    slow.gate.set()
    begun = said(CHAT, "hello", sender="juliet@capulet.example")
    await Openings(world.store).begin(begun)

    await world.happens(said(NEW, "hello yourself", sender="@alice:hs.example"))

    assert world.xmpp.said() == ["hello yourself"]
    assert [c for c in await world.store.load(Cursor) if c.kind == KIND] == []


@pytest.mark.parametrize("lost", [1, 2])
async def test_an_answer_may_come_though_nobody_said_that_the_room_was_made(
    world: World, slow: Slow, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """The homeserver went away as it made it, and stayed so for too long."""
    start, answers = slow.start_direct, [Refusal.UNREACHABLE] * lost

    async def silent(
        chat: Room, host: Person, guest: Person, name: str
    ) -> Portal | Refusal:
        return answers.pop() if answers else await start(chat, host, guest, name)

    assert slow.gate is not None
    slow.gate.set()
    monkeypatch.setattr(slow, "start_direct", silent)
    await world.happens(said(CHAT, "hello", sender="juliet@capulet.example"))
    await world.happens(said(NEW, "who is this?", sender="@alice:hs.example"))

    assert world.xmpp.said() == [Refusal.UNREACHABLE.value, "who is this?"]
    assert await world.hub._provisioning._openings.all() == ()


async def test_a_chat_whose_room_was_not_made_is_not_asked_for_for_ever(
    world: World, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> Refusal:
        return Refusal.UNREACHABLE

    async def none(*_: object) -> str:
        return ""

    monkeypatch.setattr(slow, "start_direct", away)
    monkeypatch.setattr(slow, "begun", none)
    await world.happens(said(CHAT, "hello", sender="juliet@capulet.example"))
    assert len(await world.hub._provisioning._openings.all()) == 1

    await world.happens(said(NEW, "elsewhere", sender="@alice:hs.example"))

    assert await world.hub._provisioning._openings.all() == ()
    assert [c for c in await world.store.load(Cursor) if c.kind == KIND] == []
