"""Receipts as the chats use them; what is watched over is in ``test_receipts``."""

from bridge.model.delivery import Delivered
from bridge.model.events import Message
from tests.unit.xmpp.elsewhere import parcels
from tests.unit.xmpp.test_chats import ALICE_JID, JULIET, ChatsWorld, world

__all__ = ["world"]


async def test_who_asks_for_a_receipt_gets_it_once_matrix_has_the_message(
    world: ChatsWorld,
) -> None:
    """XEP-0184 §5.3."""
    request = "<request xmlns='urn:xmpp:receipts'/>"
    world.server.deliver(
        f"<message type='chat' from='{JULIET}/balcony' to='{ALICE_JID}' id='m1'>"
        f"<body>soft!</body>{request}</message>"
    )
    await world.settle()
    (event,) = await world.read()
    assert isinstance(event, Message)
    assert world.server.written == []

    wires = world.chats.settle(world.chats.receipt(event), Delivered())
    await world.chats.send(parcels(wires))

    (receipt,) = world.server.written
    assert receipt.get("to") == f"{JULIET}/balcony"
    assert receipt[0].tag == "{urn:xmpp:receipts}received"
    assert receipt[0].get("id") == "m1"


async def test_who_asks_for_none_gets_none(world: ChatsWorld) -> None:
    world.writes("soft!")
    await world.settle()
    (event,) = await world.read()
    assert isinstance(event, Message)

    assert world.chats.settle(world.chats.receipt(event), Delivered()) == ()


async def test_what_we_write_asks_to_be_kept_and_confirmed(world: ChatsWorld) -> None:
    """XEP-0184 §5.1, XEP-0334 §4.4, XEP-0333 §4.1."""
    await world.chats.send(parcels(world.wires("arise")))

    (stanza,) = world.server.written
    tags = {child.tag for child in stanza}
    assert tags >= {
        "{urn:xmpp:hints}store",
        "{urn:xmpp:receipts}request",
        "{urn:xmpp:chat-markers:0}markable",
    }
