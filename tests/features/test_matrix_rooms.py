"""How rooms of Matrix become portals and cease to be: real core, real Matrix side."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from bridge.core.directory import Directory
from bridge.core.dispatch import Dispatch
from bridge.core.hub import Hub
from bridge.core.ports import Adapter
from bridge.matrix.adapter import MatrixAdapter
from bridge.matrix.client import Homeserver
from bridge.model.delivery import Arrival, Refusal, Refused
from bridge.model.places import Network, Room
from bridge.model.records import Kind, Portal
from tests.conftest import said
from tests.core import join_core
from tests.fakes import FakeNetwork, FakeXmppRooms
from tests.fakes_store import FakeStore
from tests.homeserver import AS_TOKEN, Event
from tests.unit.matrix.world import (
    ALICE,
    BOB,
    BOT,
    GHOST,
    HALL,
    JULIET,
    MUC,
    StrictHomeserver,
    opened,
    with_previous,
)

CHAT = Room(Network.XMPP, f"{JULIET.id} {ALICE}")
TEA = Room(Network.XMPP, MUC)
THEIRS = "!theirs:hs"


@dataclass
class Bridge:
    """The bridge's core between a homeserver and a fake of XMPP."""

    server: StrictHomeserver
    matrix: MatrixAdapter
    xmpp: FakeNetwork
    xmpp_rooms: FakeXmppRooms
    directory: Directory
    dispatch: Dispatch
    hub: Hub

    async def pushes(self, *events: Event) -> None:
        """Let the homeserver push *events*, and wait until all is done."""
        await self.hub.keep(self.matrix.arrivals([opened(event) for event in events]))
        await self.settles()

    async def writes(self, words: str, number: int, room: Room = CHAT) -> None:
        """Let Juliet say *words*, and wait until all is done."""
        key = f"xmpp-{number}"
        message = said(room, words, sender=JULIET.id, number=number)
        self.xmpp.script[key] = message
        await self.hub.keep([Arrival(room, key, b"raw")])
        await self.settles()

    async def settles(self) -> None:
        for _ in range(4):
            await asyncio.sleep(0)  # what was just committed becomes work
            await self.hub.wait_empty()
            await self.dispatch.wait_empty()

    def portal(self, room: str) -> Portal | None:
        return self.directory.portal(Room(Network.MATRIX, room))

    def only(self) -> Portal:
        (portal,) = self.directory
        return portal

    def says(self, room: str, sender: str, words: str) -> Event:
        return self.server.say(room, sender, words)

    def member(
        self, room: str, sender: str, target: str, membership: str, **more: object
    ) -> Event:
        content = {"membership": membership, **more}
        return self.server.add(room, sender, "m.room.member", content, state_key=target)


@pytest.fixture
async def bridge() -> AsyncIterator[Bridge]:
    server = StrictHomeserver()
    await server.start()
    server.profiles[ALICE] = {"displayname": "Alice"}
    homeserver = Homeserver(server.url, AS_TOKEN, "hs")
    store, directory = FakeStore(), Directory()
    matrix = MatrixAdapter(homeserver, store, BOT)
    matrix._gone.pause_s = 0.0
    xmpp, xmpp_rooms = FakeNetwork(Network.XMPP), FakeXmppRooms()
    adapters: dict[Network, Adapter] = {Network.MATRIX: matrix, Network.XMPP: xmpp}
    async with asyncio.TaskGroup() as tasks:
        hub, dispatch = join_core(
            tasks,
            adapters=adapters,
            store=store,
            directory=directory,
            matrix=matrix,
            xmpp=xmpp_rooms,
        )
        await matrix.start(hub)
        await hub.start()
        await dispatch.start()
        yield Bridge(server, matrix, xmpp, xmpp_rooms, directory, dispatch, hub)
    await homeserver.close()
    await server.stop()


async def chat(bridge: Bridge) -> str:
    """Have a direct chat that Alice has entered; return its room."""
    await bridge.writes("hello", 1)
    room = bridge.only().matrix
    await bridge.pushes(bridge.member(room, ALICE, ALICE, "join"))
    return room


async def test_who_writes_first_from_xmpp_opens_a_chat(bridge: Bridge) -> None:
    await bridge.writes("hello", 1)
    await bridge.writes("are you there?", 2)

    portal = bridge.only()
    assert (portal.kind, portal.xmpp) == (Kind.DIRECT, CHAT.address)
    assert bridge.server.bodies(portal.matrix) == ["hello", "are you there?"]
    assert bridge.server.membership(portal.matrix, ALICE) == "invite"


async def test_both_hear_each_other(bridge: Bridge) -> None:
    room = await chat(bridge)

    await bridge.pushes(bridge.says(room, ALICE, "I am"))

    assert bridge.xmpp.said() == ["I am"]


async def test_who_writes_to_nobody_is_told(bridge: Bridge) -> None:
    nobody = Room(Network.XMPP, f"{JULIET.id} @nobody:hs")

    await bridge.writes("hello?", 1, nobody)

    ((_, outcome),) = bridge.xmpp.settled
    assert outcome == Refused(Refusal.NO_SUCH_PERSON)


async def test_what_was_said_before_the_ghost_came_crosses_first_and_once(
    bridge: Bridge,
) -> None:
    server = bridge.server
    server.add(THEIRS, ALICE, "m.room.create", {}, state_key="")
    bridge.member(THEIRS, ALICE, ALICE, "join", displayname="Alice")
    invitation = bridge.member(THEIRS, ALICE, GHOST, "invite", is_direct=True)
    server.closed.add(THEIRS)
    early = [bridge.says(THEIRS, ALICE, words) for words in ("one", "two")]

    await bridge.pushes(invitation)
    late = bridge.says(THEIRS, ALICE, "three")
    await bridge.pushes(*early[1:], late)

    assert bridge.xmpp.said() == ["one", "two", "three"]
    assert bridge.only().kind is Kind.DIRECT


async def test_who_left_a_chat_is_asked_back_by_the_next_message(
    bridge: Bridge,
) -> None:
    """Bifröst #217."""
    room = await chat(bridge)
    left = bridge.member(room, ALICE, ALICE, "leave")
    await bridge.pushes(with_previous(left, membership="join"))

    await bridge.writes("come back", 2)

    assert bridge.only().matrix == room
    assert bridge.server.membership(room, ALICE) == "invite"
    assert bridge.server.bodies(room)[-1] == "come back"


async def test_what_is_written_to_one_does_not_wait_for_another_who_declined(
    bridge: Bridge,
) -> None:
    room = await chat(bridge)
    declined = bridge.member(room, BOB, BOB, "leave")
    await bridge.pushes(with_previous(declined, membership="invite"))

    await bridge.writes("are you there?", 2)

    assert bridge.server.bodies(room)[-1] == "are you there?"
    assert bridge.xmpp.said() == []


async def test_a_chat_whose_ghost_was_put_out_begins_anew(bridge: Bridge) -> None:
    """Bifröst #213."""
    room = await chat(bridge)
    kicked = bridge.member(room, ALICE, GHOST, "leave")
    await bridge.pushes(with_previous(kicked, membership="join"))
    assert bridge.portal(room) is None

    await bridge.writes("what have I done?", 2)

    assert bridge.only().matrix != room
    assert bridge.server.bodies(bridge.only().matrix) == ["what have I done?"]


async def test_a_chat_whose_room_an_admin_has_closed_begins_anew(
    bridge: Bridge,
) -> None:
    """Synapse lets everybody leave then, in their own names."""
    room = await chat(bridge)
    left = bridge.member(room, GHOST, GHOST, "leave")
    await bridge.pushes(with_previous(left, membership="join"))
    assert bridge.portal(room) is None

    await bridge.writes("what have I done?", 2)

    assert bridge.only().matrix != room
    assert bridge.server.bodies(bridge.only().matrix) == ["what have I done?"]


async def test_a_message_that_xmpp_refuses_is_answered_in_the_room(
    bridge: Bridge,
) -> None:
    room = await chat(bridge)
    bridge.xmpp.answers.append(Refused(Refusal.REJECTED, "blocked"))

    await bridge.pushes(bridge.says(room, ALICE, "hi"))

    assert "blocked" in bridge.server.bodies(room)[-1]
    assert bridge.server.rooms[room].events[-1]["sender"] == GHOST


async def test_what_cannot_be_read_is_answered_and_nothing_goes_back_in_the_clear(
    bridge: Bridge,
) -> None:
    """S16: once encrypted, for ever; what cannot be read is said so."""
    room = await chat(bridge)
    content = {"algorithm": "m.megolm.v1.aes-sha2"}
    sealed = bridge.server.add(room, ALICE, "m.room.encryption", content, state_key="")
    other = {"algorithm": "m.other", "ciphertext": "x"}
    secret = bridge.server.add(room, ALICE, "m.room.encrypted", other)
    await bridge.pushes(sealed, secret)

    await bridge.writes("in the clear", 2)

    since = [e for e in bridge.server.rooms[room].events if "state_key" not in e]
    after = since[since.index(secret) + 1 :]
    assert [event["sender"] for event in after] == [GHOST, GHOST]
    assert {event["type"] for event in after} == {"m.room.encrypted"}
    assert "in the clear" not in str(after)


async def test_a_room_is_hosted_and_its_occupants_speak_as_ghosts(
    bridge: Bridge,
) -> None:
    bridge.server.add(HALL, ALICE, "m.room.create", {}, state_key="")
    bridge.member(HALL, ALICE, ALICE, "join", displayname="Alice")
    bridge.server.aliases["#hall:hs"] = HALL
    address = Room(Network.XMPP, "#hall:hs")

    opened_twice = [
        await bridge.hub.open_hosted(address, JULIET, "Juliet") for _ in range(2)
    ]
    await bridge.writes("good evening", 1, address)
    await bridge.pushes(bridge.says(HALL, ALICE, "to you too"))

    assert opened_twice[0] == opened_twice[1] == bridge.portal(HALL)
    assert bridge.server.bodies(HALL)[0] == "good evening"
    assert bridge.xmpp.said() == ["to you too"]


async def test_a_muc_is_founded_for_whoever_asks(bridge: Bridge) -> None:
    bridge.xmpp_rooms.mucs.add(MUC)

    portal = await bridge.hub.open_foreign(TEA)
    await bridge.writes("tea?", 1, TEA)

    assert isinstance(portal, Portal)
    assert bridge.server.aliases[portal.alias] == portal.matrix
    assert bridge.server.bodies(portal.matrix) == ["tea?"]
    assert await bridge.hub.open_foreign(TEA) == portal


async def test_a_room_is_linked_and_unlinked_by_command(bridge: Bridge) -> None:
    bridge.xmpp_rooms.mucs.add(MUC)
    server = bridge.server
    server.add(HALL, ALICE, "m.room.create", {}, state_key="")
    for member in (ALICE, BOB):
        bridge.member(HALL, member, member, "join")
    levels = {"users": {ALICE: 100}}
    server.add(HALL, ALICE, "m.room.power_levels", levels, state_key="")
    await bridge.pushes(bridge.member(HALL, ALICE, BOT, "invite"))

    await bridge.pushes(bridge.says(HALL, BOB, f"!xmpp bridge {MUC}"))
    refused = server.bodies(HALL)[-1]
    await bridge.pushes(bridge.says(HALL, ALICE, f"!xmpp bridge {MUC}"))
    asked = server.bodies(HALL)[-1]

    assert refused == "Only admins of this room may link it."
    assert asked.startswith(f"Asked in {MUC}")
    assert "asks to link" in bridge.xmpp.said()[-1]


async def test_whoever_is_alone_with_the_bot_gets_help(bridge: Bridge) -> None:
    bridge.server.add(HALL, ALICE, "m.room.create", {}, state_key="")
    bridge.member(HALL, ALICE, ALICE, "join")
    bridge.server.closed.add(HALL)
    await bridge.pushes(bridge.member(HALL, ALICE, BOT, "invite"))
    assert "Hello" in bridge.server.bodies(HALL)[-1]

    await bridge.pushes(bridge.says(HALL, ALICE, "what can you do?"))

    assert "!xmpp bridge" in bridge.server.bodies(HALL)[-1]


async def test_a_room_of_another_bridge_is_not_linked(bridge: Bridge) -> None:
    bridge.xmpp_rooms.mucs.add(MUC)
    bridge.server.add(HALL, ALICE, "m.room.create", {}, state_key="")
    bridge.member(HALL, ALICE, ALICE, "join")
    theirs = "@_bifrost_romeo=2ftea=40muc.example:far"
    bridge.member(HALL, theirs, theirs, "join")
    levels = {"users": {ALICE: 100}}
    bridge.server.add(HALL, ALICE, "m.room.power_levels", levels, state_key="")
    await bridge.pushes(bridge.member(HALL, ALICE, BOT, "invite"))

    await bridge.pushes(bridge.says(HALL, ALICE, f"!xmpp bridge {MUC}"))

    assert "Another bridge (far)" in bridge.server.bodies(HALL)[-1]


async def test_a_homeserver_that_was_away_gets_everything_in_order(
    bridge: Bridge,
) -> None:
    room = await chat(bridge)
    await bridge.server.stop()
    for number in range(2, 7):
        message = said(CHAT, f"number {number}", sender=JULIET.id, number=number)
        bridge.xmpp.script[f"xmpp-{number}"] = message
        await bridge.hub.keep([Arrival(CHAT, f"xmpp-{number}", b"raw")])
    await bridge.hub.wait_empty()

    await bridge.server.start()
    await bridge.settles()

    assert bridge.server.bodies(room)[1:] == [f"number {n}" for n in range(2, 7)]


async def test_a_chat_whose_room_was_deleted_begins_anew(bridge: Bridge) -> None:
    room = await chat(bridge)
    bridge.server.delete(room)

    await bridge.writes("into the void", 2)
    assert list(bridge.directory) == []
    await bridge.writes("hello again", 3)

    assert bridge.only().matrix != room
    assert bridge.server.bodies(bridge.only().matrix) == ["hello again"]
    assert bridge.server.membership(bridge.only().matrix, ALICE) == "invite"
    (words,) = (words for words in bridge.xmpp.said() if "deleted" in words)
    assert "anew" in words
    refused = [told for _, told in bridge.xmpp.settled if isinstance(told, Refused)]
    assert refused == [Refused(Refusal.NO_SUCH_ROOM)]


@pytest.mark.parametrize("aliases", [True, False])
async def test_a_muc_whose_room_was_deleted_is_bridged_anew(
    bridge: Bridge, *, aliases: bool
) -> None:
    bridge.xmpp_rooms.mucs.add(MUC)
    first = await bridge.hub.open_foreign(TEA)
    assert isinstance(first, Portal)
    await bridge.writes("tea?", 1, TEA)
    bridge.server.delete(first.matrix, aliases=aliases)

    await bridge.writes("is anybody there?", 2, TEA)
    assert first.alias not in bridge.server.aliases
    gone = bridge.portal(first.matrix)
    second = await bridge.hub.open_foreign(TEA)
    await bridge.writes("tea!", 3, TEA)

    assert gone is None
    assert isinstance(second, Portal)
    assert (second.alias, second.matrix != first.matrix) == (first.alias, True)
    assert bridge.server.bodies(second.matrix) == ["tea!"]
    assert bridge.xmpp.said()[-1] == "the puppets leave"
    assert "deleted" in bridge.xmpp.said()[-2]
    assert bridge.dispatch.counters.counts()["ended FOREIGN"] == 1
