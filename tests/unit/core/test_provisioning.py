import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bridge.core import provisioning
from bridge.core.foundings import KIND as FOUNDING, Foundings
from bridge.core.openings import KIND
from bridge.core.ports import Unit
from bridge.model.delivery import Description, Refusal
from bridge.model.events import Invite, Replaced
from bridge.model.pictures import NO_PICTURE, Picture
from bridge.model.places import Network, Person, PortalId, Ref, Room
from bridge.model.records import Cursor, Kind, Portal
from tests.conftest import World, said
from tests.fakes import TEA, TEA_MATRIX, FakeMatrixRooms

CHAT = Room(Network.XMPP, "juliet@capulet.example @alice:hs.example")
NEW = Room(Network.MATRIX, "!new:hs.example")
POND = Room(Network.XMPP, "pond@muc.example")
MADE = Room(Network.MATRIX, "!pond@muc.example:hs.example")


async def test_a_chat_that_both_begin_at_once_is_one_chat(world: World) -> None:
    """Her answer may overtake the news that the ghost has accepted."""
    world.matrix_rooms.made["@alice:hs.example"] = Portal(
        PortalId(0), Kind.DIRECT, "!second:hs.example", "", agent="@ghost:hs.example"
    )
    gate = asyncio.Event()
    world.matrix_rooms.gate = gate
    invite = Invite(
        ref=Ref(Network.MATRIX, "$invite"),
        room=NEW,
        sender=Person(Network.MATRIX, "@alice:hs.example"),
        sent_at=datetime.now(UTC),
        person=Person(Network.XMPP, "juliet@capulet.example"),
        direct=True,
    )

    await world.comes(invite)
    await asyncio.sleep(0)
    await world.comes(said(CHAT, "I am here already"))
    await asyncio.sleep(0)
    gate.set()
    await world.settles()

    portal = world.directory.portal(CHAT)
    assert portal is not None
    assert portal.matrix == NEW.address
    assert world.matrix.said() == ["I am here already"]


async def test_a_room_is_opened_once_however_many_enter(world: World) -> None:
    address = Room(Network.XMPP, "#tea#hs.example@bridge.example")
    world.matrix_rooms.made[address.address] = Portal(
        PortalId(0), Kind.HOSTED, "!hosted:hs.example", address.address, agent="@bot"
    )
    guest = Person(Network.XMPP, "juliet@capulet.example")

    opened = await asyncio.gather(
        *(world.hub.open_hosted(address, guest, "Juliet") for _ in range(5))
    )

    assert len({portal.id for portal in opened if isinstance(portal, Portal)}) == 1


async def test_a_lock_is_forgotten_when_nobody_holds_it(world: World) -> None:
    made = world.hub._provisioning
    await made.open(said(CHAT, "hello"), Unit())

    assert len(made._opening) == 0


async def test_a_link_does_not_take_a_muc_that_was_opened_meanwhile(
    world: World,
) -> None:
    muc = Room(Network.XMPP, "pond@muc.example")
    world.xmpp_rooms.mucs.add(muc.address)
    gate = world.matrix_rooms.gate = asyncio.Event()

    async with asyncio.TaskGroup() as tasks:
        plumb = world.hub._provisioning.plumb
        linking = tasks.create_task(plumb(NEW, muc.address))
        await asyncio.sleep(0)
        opening = tasks.create_task(world.hub.open_foreign(muc))
        await asyncio.sleep(0)
        gate.set()

    assert linking.result() == opening.result()
    assert [portal.xmpp for portal in world.directory].count(muc.address) == 1


async def test_a_link_does_not_take_a_room_that_was_linked_meanwhile(
    world: World,
) -> None:
    plumb = world.hub._provisioning.plumb
    first, second = await asyncio.gather(
        plumb(NEW, "pond@muc.example"), plumb(NEW, "lake@muc.example")
    )

    assert isinstance(first, Portal)
    assert second is Refusal.NOT_ALLOWED
    assert world.directory.portal(NEW) == first


async def test_a_portal_is_written_down_however_long_it_takes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def mended(_: float) -> None:
        world.store.broken = False

    monkeypatch.setattr(provisioning, "sleep", mended)
    world.store.broken = True

    portal = await world.hub._provisioning.plumb(NEW, "pond@muc.example")

    assert portal in await world.store.load(Portal)


async def test_whoever_cannot_come_in_declines_so_that_it_is_seen(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The homeserver may have let them in, and have said no more since."""
    invite = Invite(
        ref=Ref(Network.MATRIX, "$invite"),
        room=NEW,
        sender=Person(Network.MATRIX, "@alice:hs.example"),
        sent_at=datetime.now(UTC),
        person=Person(Network.XMPP, "juliet@capulet.example"),
        direct=True,
    )

    async def away(_: Invite) -> Refusal:
        return Refusal.UNREACHABLE

    monkeypatch.setattr(world.matrix_rooms, "accept", away)
    await world.happens(invite)

    assert world.directory.portal(NEW) is None
    assert world.matrix_rooms.declined == [invite]


async def test_a_chat_that_cannot_be_opened_is_not_being_opened(world: World) -> None:
    await world.happens(said(CHAT, "hello", sender="juliet@capulet.example"))

    assert await world.hub._provisioning._openings.all() == ()
    assert [c for c in await world.store.load(Cursor) if c.kind == KIND] == []


async def test_only_of_those_of_matrix_it_is_asked_what_they_look_like(
    world: World,
) -> None:
    face = Picture(b"face", "image/png", 1, 1)
    world.matrix_rooms.pictures = dict.fromkeys(("alice", "juliet"), face)
    alice, juliet = Person(Network.MATRIX, "alice"), Person(Network.XMPP, "juliet")

    assert await world.hub.pictured(alice) is face
    assert await world.hub.pictured(juliet) is NO_PICTURE


class Silent(FakeMatrixRooms):
    """Makes the room of a MUC, or not, and the answer is lost on the way."""

    makes: bool = True
    lost: int = 1

    async def found(self, muc: str, about: Description) -> Portal | Refusal:
        self.lost -= 1
        if self.lost >= 0:
            return Refusal.UNREACHABLE
        return await super().found(muc, about)

    async def begun(self, far: Room, kind: Kind) -> str | None:
        return await super().begun(far, kind) if self.makes else ""


@pytest.fixture
def silent(world: World, monkeypatch: pytest.MonkeyPatch) -> Silent:
    async def at_once(_: float) -> None:
        await asyncio.sleep(0)

    made = Silent()
    monkeypatch.setattr(world.hub._provisioning, "_matrix", made)
    monkeypatch.setattr(provisioning, "sleep", at_once)
    world.xmpp_rooms.mucs.add(POND.address)
    return made


async def foundings(world: World) -> list[str]:
    """List the MUCs that are being made, as they stand on disk."""
    return [c.key for c in await world.store.load(Cursor) if c.kind == FOUNDING]


@pytest.mark.parametrize("lost", [1, 3])
async def test_a_room_that_was_made_though_nobody_said_so_is_bridged(
    world: World, silent: Silent, lost: int
) -> None:
    """Whoever finds its alias may come in, and speak, at any time."""
    silent.lost = lost
    assert await world.hub.open_foreign(POND) is Refusal.UNREACHABLE
    assert await foundings(world) == [POND.address]

    await world.happens(said(MADE, "is anybody here?", sender="@alice:hs.example"))

    waits = [provisioning.WAITS.format(muc=POND.address)]
    assert world.xmpp.said() == ["is anybody here?"]
    assert world.matrix.said() == (waits if lost > 1 else [])
    assert await foundings(world) == []


async def test_those_in_a_room_whose_muc_refuses_us_now_are_told(
    world: World, silent: Silent
) -> None:
    await world.hub.open_foreign(POND)
    world.xmpp_rooms.mucs.clear()

    await world.happens(said(MADE, "is anybody here?", sender="@alice:hs.example"))

    why = Refusal.NO_SUCH_ROOM.value
    assert world.xmpp.said() == []
    assert world.matrix.said() == [provisioning.LOST.format(muc=POND.address, why=why)]


async def test_a_room_that_was_made_before_the_bridge_fell_is_bridged(
    world: World, silent: Silent
) -> None:
    silent.lost = 0
    unit = Unit()
    await Foundings(world.store).begin(POND, unit)
    await world.store.commit(unit)

    await world.happens(said(MADE, "is anybody here?", sender="@alice:hs.example"))

    assert world.xmpp.said() == ["is anybody here?"]
    assert await foundings(world) == []


async def test_a_room_that_was_not_made_is_not_asked_for_for_ever(
    world: World, silent: Silent
) -> None:
    silent.makes = False
    await world.hub.open_foreign(POND)

    await world.happens(said(NEW, "elsewhere", sender="@alice:hs.example"))

    assert world.xmpp.said() == []
    assert await foundings(world) == []


async def test_a_room_that_is_refused_is_not_being_made(
    world: World, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(_: str, __: Description) -> Refusal:
        return Refusal.NOT_ALLOWED

    monkeypatch.setattr(silent, "found", refused)

    assert await world.hub.open_foreign(POND) is Refusal.NOT_ALLOWED
    assert await foundings(world) == []


async def test_a_room_that_is_being_made_just_now_may_still_be_made(
    world: World, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the homeserver has not made it yet says nothing of what it will do."""
    silent.lost, silent.makes = 1, False
    asked, answer = asyncio.Event(), asyncio.Event()
    found = silent.found

    async def slow(muc: str, about: Description) -> Portal | Refusal:
        asked.set()
        await answer.wait()
        return await found(muc, about)

    monkeypatch.setattr(silent, "found", slow)
    async with asyncio.TaskGroup() as tasks:
        opening = tasks.create_task(world.hub.open_foreign(POND))
        await asked.wait()
        await world.happens(said(NEW, "elsewhere", sender="@alice:hs.example"))
        answer.set()

    assert opening.result() is Refusal.UNREACHABLE
    assert await foundings(world) == [POND.address]


def replaced() -> Replaced:
    return Replaced(
        ref=Ref(Network.MATRIX, "$tombstone"),
        room=TEA_MATRIX,
        sender=Person(Network.MATRIX, "@alice:hs.example"),
        sent_at=datetime.now(UTC),
        address=NEW.address,
    )


async def test_who_is_asked_into_a_room_that_replaces_another_is_so_in_the_old_muc(
    world: World,
) -> None:
    """Clients invite ghosts, too, while the bot is still on its way there."""
    hosted = replace(TEA, kind=Kind.HOSTED)
    world.directory.put(hosted, Unit())
    world.matrix_rooms.made[NEW.address] = replace(hosted, matrix=NEW.address)
    world.matrix_rooms.on_the_way = asyncio.Event()
    invite = Invite(
        ref=Ref(Network.MATRIX, "$invite"),
        room=NEW,
        sender=Person(Network.MATRIX, "@alice:hs.example"),
        sent_at=datetime.now(UTC),
        person=Person(Network.XMPP, "juliet@capulet.example"),
    )

    await world.comes(replaced())
    await asyncio.sleep(0)
    await world.comes(invite)
    world.matrix_rooms.on_the_way.set()
    await world.settles()

    portal = world.directory.portal(NEW)
    assert portal is not None
    assert (portal.id, portal.xmpp) == (TEA.id, TEA.xmpp)
    assert [one for one in world.directory if one.matrix == NEW.address] == [portal]


async def test_a_portal_that_ended_while_it_was_replaced_does_not_come_back(
    world: World,
) -> None:
    world.matrix_rooms.made[NEW.address] = replace(TEA, matrix=NEW.address)
    world.matrix_rooms.on_the_way = asyncio.Event()

    await world.comes(replaced())
    await asyncio.sleep(0)
    world.directory.drop(TEA, Unit())
    world.matrix_rooms.on_the_way.set()
    await world.settles()

    assert world.directory.portal(NEW) is None
