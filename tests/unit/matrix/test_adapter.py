import asyncio
import json

import msgspec

from bridge.matrix.inbound import Receipt
from bridge.matrix.wires import Says, order
from bridge.model.delivery import Delivered, Refusal, Refused
from bridge.model.events import Message
from bridge.model.places import Network, Person, Room
from bridge.model.records import Kind
from tests.homeserver import Fault
from tests.unit.matrix.world import (
    ALICE,
    BOB,
    BOT,
    GHOST,
    HALL,
    JULIET,
    MatrixWorld,
)


async def receipt(matrix: MatrixWorld) -> bytes:
    matrix.room(HALL, ALICE)
    matrix.link()
    event = await matrix.reads(matrix.server.say(HALL, ALICE, "hi"))
    assert isinstance(event, Message)
    return matrix.adapter.receipt(event)


async def test_the_sender_of_what_did_not_arrive_is_told_why(
    matrix: MatrixWorld,
) -> None:
    kept = await receipt(matrix)

    wires = matrix.adapter.settle(kept, Refused(Refusal.REJECTED, "no such nick"))
    await matrix.sends(*wires)

    event = matrix.server.rooms[HALL].events[-1]
    assert event["sender"] == BOT
    content = event["content"]
    assert "the other network rejected the message (no such nick)" in content["body"]
    assert content["msgtype"] == "m.notice"
    assert "m.in_reply_to" in json.dumps(content)


async def test_nothing_is_said_of_what_arrived_or_nobody_waits_for(
    matrix: MatrixWorld,
) -> None:
    kept = await receipt(matrix)

    assert matrix.adapter.settle(kept, Delivered()) == ()
    assert matrix.adapter.settle(b"", Refused(Refusal.REJECTED)) == ()


async def test_words_of_the_bridge_are_said_by_the_bot(matrix: MatrixWorld) -> None:
    (wire,) = matrix.adapter.notice(Room(Network.MATRIX, HALL), "one\ntwo")

    says = order(wire.data)
    assert isinstance(says, Says)
    assert (says.user, says.own) == (BOT, True)


async def test_the_bridge_starts_while_the_homeserver_is_away(
    matrix: MatrixWorld,
) -> None:
    await matrix.adapter._ghosts.forget(BOT)
    matrix.server.faults.append(Fault("register", 502, "bad gateway"))

    await matrix.restarts()

    assert matrix.adapter.network is Network.MATRIX


async def test_before_it_has_met_the_core_it_knows_no_portals(
    matrix: MatrixWorld,
) -> None:
    fresh = type(matrix.adapter)(matrix.homeserver, matrix.store, BOT)

    assert fresh.agent(HALL) == BOT
    await fresh._greet(HALL)


async def test_whose_ghost_somebody_is(matrix: MatrixWorld) -> None:
    assert await matrix.adapter.person(GHOST) == JULIET.id
    assert await matrix.adapter.person(BOT) is None
    assert await matrix.adapter.person(ALICE) is None
    assert await matrix.adapter.person("@_xmpp_==:hs") is None


async def test_a_ghost_that_is_asked_for_is_there(matrix: MatrixWorld) -> None:
    assert await matrix.adapter.exists(JULIET.id)
    assert GHOST in matrix.server.users

    matrix.server.faults.append(Fault("register", 502, "bad gateway"))
    assert not await matrix.adapter.exists("romeo@montague.lit")


async def test_all_its_ports_lead_somewhere(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE)
    portal = matrix.link(Kind.PLUMBED)
    guest = Person(Network.XMPP, "juliet@capulet.lit")

    entered = await matrix.adapter.enter(HALL, guest, "Juliet")
    departing = await matrix.adapter.depart(portal)

    assert not isinstance(entered, Refusal)
    assert departing == []


async def test_in_a_room_that_nobody_has_opened_each_is_told_once_an_hour(
    matrix: MatrixWorld,
) -> None:
    matrix.room(HALL, ALICE, BOB)
    refused = Refused(Refusal.WOULD_EXPOSE)

    def told(sender: str) -> int:
        receipt = Receipt(HALL, "$1", sender)
        return len(matrix.adapter.settle(msgspec.json.encode(receipt), refused))

    matrix.link(Kind.HOSTED)
    assert [told(ALICE), told(ALICE), told(BOB)] == [1, 0, 1]
    matrix.link(Kind.DIRECT)
    assert [told(ALICE), told(ALICE)] == [1, 1]


async def test_the_bot_listens_for_keys_though_it_was_not_registered_at_first(
    matrix: MatrixWorld,
) -> None:
    matrix.server.users.discard(BOT)
    matrix.adapter._bot._ghosts._known.drop(BOT)
    matrix.store.disk.records.clear()

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(matrix.adapter.run())
        while not matrix.adapter._secrecy.feed.connected:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        running.cancel()

    assert matrix.server.keys.device_keys[BOT]
