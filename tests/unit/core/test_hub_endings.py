"""What becomes of a portal whose Matrix room is no more."""

from datetime import UTC, datetime

from bridge.core.ports import Unit
from bridge.model.delivery import Refusal, Refused
from bridge.model.events import Vanished
from bridge.model.places import Network, Person, PortalId, Ref, Room
from bridge.model.records import Kind, Portal
from tests.conftest import World, said
from tests.fakes import TEA, TEA_MATRIX, TEA_XMPP

NEW = Room(Network.MATRIX, "!new:hs.example")


def vanished(room: Room) -> Vanished:
    bot = Person(Network.MATRIX, "@xmppbot:hs.example")
    now = datetime.now(UTC)
    return Vanished(
        ref=Ref(room.network, room.address), room=room, sender=bot, sent_at=now
    )


async def test_the_portal_of_a_room_that_is_no_more_is_undone_on_both_sides(
    world: World,
) -> None:
    world.hub.tell(vanished(TEA_MATRIX))
    world.hub.tell(vanished(TEA_MATRIX))
    await world.settles()

    assert list(world.directory) == []
    assert await world.store.load(Portal) == []
    assert world.matrix_rooms.departed == [TEA]
    words, farewell = world.xmpp.said()
    assert "deleted" in words
    assert farewell == "the puppets leave"
    assert world.dispatch.counters.counts() == {"ended FOREIGN": 1}


async def test_those_in_a_hosted_room_are_told_as_they_are_put_out(
    world: World,
) -> None:
    hosted = Portal(PortalId(7), Kind.HOSTED, NEW.address, "#tea@b", agent="@bot")
    world.directory.put(hosted, Unit())

    world.hub.tell(vanished(NEW))
    await world.settles()

    assert world.directory.portal(NEW) is None
    assert world.xmpp.said() == ["the puppets leave"]


async def test_what_is_still_said_to_a_room_that_is_no_more_is_answered(
    world: World,
) -> None:
    world.matrix.answers += [Refused(Refusal.NO_SUCH_ROOM), Refused(Refusal.REJECTED)]
    world.matrix.on_send = lambda: world.hub.tell(vanished(TEA_MATRIX))
    for number in (1, 2):
        await world.comes(said(TEA_XMPP, f"{number}", number=number))

    await world.settles()

    whys = [o.why for _, o in world.xmpp.settled if isinstance(o, Refused)]
    assert whys == [Refusal.NO_SUCH_ROOM, Refusal.REJECTED]
    assert list(world.directory) == []
