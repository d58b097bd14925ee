import asyncio
from datetime import UTC, datetime

from bridge.core.ports import Unit
from bridge.model.events import Invite
from bridge.model.places import Network, Person, PortalId, Ref, Room
from bridge.model.records import Kind, Portal
from tests.conftest import World, said

CHAT = Room(Network.XMPP, "juliet@capulet.example @alice:hs.example")
NEW = Room(Network.MATRIX, "!new:hs.example")


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
    provisioning = world.hub._provisioning
    await provisioning.open(said(CHAT, "hello"), Unit())

    assert len(provisioning._opening) == 0
