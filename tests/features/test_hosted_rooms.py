"""XMPP users in Matrix rooms: the real core, the real MUC service, a fake Matrix."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

import pytest

from bridge.core.directory import Directory
from bridge.core.dispatch import Dispatch
from bridge.core.hub import Hub
from bridge.core.ports import Adapter
from bridge.model.delivery import (
    Arrival,
    Description,
    Member,
    Refusal,
    Refused,
    Wire,
)
from bridge.model.events import Join, Leave, Message, Protection, Rename, Vanished
from bridge.model.places import Network, Person, PortalId, Ref, Room
from bridge.model.records import Kind, Portal
from bridge.xmpp.codec.names import parse, room_of
from bridge.xmpp.inbound import Inbound
from bridge.xmpp.muc.service import Hosted
from tests.conftest import said
from tests.core import join_core
from tests.fakes import FakeMatrixRooms, FakeNetwork, FakeXmppRooms
from tests.fakes_store import FakeStore
from tests.unit.xmpp.muc.streams import FakeStream
from tests.unit.xmpp.muc.world import (
    DOMAIN,
    JULIET,
    ROMEO,
    TEA,
    X,
    codes,
    condition,
    name,
    nick,
    parsed,
    settled,
    words,
)

GARDEN = Room(Network.MATRIX, "!garden:hs.example")
ALICE = Member(Person(Network.MATRIX, "@alice:hs.example"), "Alice \U0001f98a")


class Service(Hosted):
    """The MUC service as the whole of an adapter."""

    network = Network.XMPP

    def protection(self, portal: Portal) -> Protection:
        return Protection.TRANSPORT


@dataclass
class Valve:
    """Holds nothing back."""

    paused: bool = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def shut(self) -> None:
        raise AssertionError

    def reopen(self) -> None:
        raise AssertionError


class Rooms(FakeMatrixRooms):
    """One Matrix room, with Alice in it."""

    async def describe(self, room: str) -> Description:
        return Description("Garden", "roses", (ALICE,))


class Addresses(FakeXmppRooms):
    """Reads addresses as the adapter does, and lets the service end its rooms."""

    service: Hosted

    def alias(self, address: str) -> str | None:
        jid = parse(address)
        return None if jid is None else room_of(jid.local)

    async def depart(self, portal: Portal) -> Sequence[Wire]:
        return self.service.depart(portal)


@dataclass
class Bridge:
    """The bridge between a fake Matrix and a fake XMPP server."""

    matrix: FakeNetwork
    service: Service
    stream: FakeStream
    hub: Hub
    dispatch: Dispatch
    rooms: Rooms
    inbound: Inbound
    directory: Directory = field(default_factory=Directory)
    heard: list[Element] = field(default_factory=list)

    async def comes(self, *stanzas: str) -> None:
        """Let stanzas come in one go, and wait until all is done."""
        for stanza in parsed("".join(stanzas).encode()):
            sender, to = parse(stanza.get("from", "")), parse(stanza.get("to", ""))
            assert sender is not None
            assert to is not None
            self.service.received(stanza, sender, to)
        await self.rests()

    async def says(self, text: str, number: int) -> None:
        """Let Alice say something on Matrix."""
        event = said(GARDEN, text, sender="@alice:hs.example", number=number)
        key = event.ref.id
        self.matrix.script[key] = event
        await self.hub.keep([Arrival(GARDEN, key, b"raw")])

    async def rests(self) -> None:
        """Wait until everything has been carried and has arrived."""
        for _ in range(6):
            await settled()
            await self.inbound.wait_empty()
            await self.hub.wait_empty()
            await self.dispatch.wait_empty()

    def hears(self, to: str) -> list[Element]:
        """Return what somebody has been told since last asked."""
        self.heard.extend(parsed(b"".join(self.stream.data)))
        self.stream.data.clear()
        mine = [s for s in self.heard if s.get("to") == to]
        self.heard = [s for s in self.heard if s.get("to") != to]
        return mine


def join(jid: str, as_nick: str) -> str:
    return f"<presence from='{jid}' to='{TEA}/{as_nick}'>{X}</presence>"


def leave(jid: str) -> str:
    return f"<presence type='unavailable' from='{jid}' to='{TEA}/x'/>"


def speak(jid: str, text: str, id_: str) -> str:
    return (
        f"<message type='groupchat' from='{jid}' to='{TEA}' id='{id_}'>"
        f"<body>{text}</body></message>"
    )


@pytest.fixture
async def bridge() -> AsyncIterator[Bridge]:
    store, directory, stream = FakeStore(), Directory(), FakeStream()
    matrix, rooms, addresses = FakeNetwork(Network.MATRIX), Rooms(), Addresses()
    made = Portal(PortalId(0), Kind.HOSTED, GARDEN.address, TEA, "@xmppbot:hs.example")
    rooms.made["#tea:hs.example"] = rooms.made[TEA] = made
    adapters: dict[Network, Adapter] = {Network.MATRIX: matrix}
    async with asyncio.TaskGroup() as tasks:
        hub, dispatch = join_core(
            tasks,
            adapters=adapters,
            store=store,
            directory=directory,
            matrix=rooms,
            xmpp=addresses,
        )
        inbound = Inbound(hub, Valve())
        service = Service(DOMAIN, stream, hub, store, inbound, tasks)
        adapters[Network.XMPP] = addresses.service = service
        await service.start()
        running = tasks.create_task(inbound.run())
        await hub.start()
        await dispatch.start()
        ours = matrix, service, stream, hub, dispatch, rooms, inbound, directory
        yield Bridge(*ours)
        running.cancel()


def texts(stanzas: Sequence[Element]) -> list[str]:
    return [words(s) for s in stanzas if words(s)]


async def test_an_xmpp_user_joins_a_matrix_room(bridge: Bridge) -> None:
    await bridge.comes(join(ROMEO, "romeo"))

    seen = bridge.hears(ROMEO)
    assert [(name(s), nick(s)) for s in seen] == [
        ("presence", "Alice"),
        ("presence", "romeo"),
        ("message", ""),
    ]
    assert codes(seen[1]) == {"110"}
    assert [(type(e), e.name) for e in bridge.matrix.applied] == [(Join, "romeo")]


async def test_words_cross_both_ways_in_order(bridge: Bridge) -> None:
    await bridge.comes(join(ROMEO, "romeo"), join(JULIET, "juliet"))
    for number in range(100):
        await bridge.says(f"from matrix {number}", number)
    await bridge.comes(*(speak(ROMEO, f"from xmpp {n}", f"m{n}") for n in range(100)))

    heard = texts(bridge.hears(JULIET))
    theirs = [w for w in heard if w.startswith("from matrix")]
    mine = [w for w in heard if w.startswith("from xmpp")]
    assert theirs == [f"from matrix {n}" for n in range(100)]
    assert mine == bridge.matrix.said() == [f"from xmpp {n}" for n in range(100)]


async def test_a_newcomer_reads_what_was_said(bridge: Bridge) -> None:
    await bridge.comes(join(ROMEO, "romeo"))
    await bridge.says("from matrix", 1)
    await bridge.rests()
    await bridge.comes(speak(ROMEO, "from xmpp", "m1"))

    await bridge.comes(join(JULIET, "juliet"))

    assert texts(bridge.hears(JULIET)) == ["from matrix", "from xmpp"]


async def test_parting_words_come_before_the_parting(bridge: Bridge) -> None:
    await bridge.comes(join(ROMEO, "romeo"))

    await bridge.comes(
        speak(ROMEO, "I am off", "m1"),
        leave(ROMEO),
        join(ROMEO, "romeo"),
        f"<presence from='{ROMEO}' to='{TEA}/montague'/>",
    )

    assert [type(e) for e in bridge.matrix.applied] == [Join, Leave, Join, Rename]
    assert bridge.matrix.said() == ["I am off"]


async def test_what_matrix_refuses_comes_back(bridge: Bridge) -> None:
    await bridge.comes(join(ROMEO, "romeo"), join(JULIET, "juliet"))
    bridge.hears(ROMEO)
    bridge.hears(JULIET)
    bridge.matrix.answers.append(Refused(Refusal.NOT_ALLOWED))

    await bridge.comes(speak(ROMEO, "hello", "m1"))

    assert [condition(s) for s in bridge.hears(ROMEO)] == ["forbidden"]
    assert bridge.hears(JULIET) == []


async def test_a_room_that_is_not_there_cannot_be_entered(bridge: Bridge) -> None:
    nowhere = join(ROMEO, "romeo").replace("#tea#", "#nowhere#")
    question = (
        f"<iq type='get' id='q' from='{ROMEO}' to='#nowhere#hs.example@{DOMAIN}'>"
        "<query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
    )

    await bridge.comes(nowhere, question)

    assert {condition(s) for s in bridge.hears(ROMEO)} == {"item-not-found"}


async def test_nobody_elses_words_are_mixed_up(bridge: Bridge) -> None:
    """peers.md 3c.3: ids are reused, and some clients give none."""
    await bridge.comes(join(ROMEO, "romeo"), join(JULIET, "juliet"))

    await bridge.comes(
        speak(ROMEO, "one", "1"),
        speak(JULIET, "two", "1"),
        speak(ROMEO, "three", "").replace(" id=''", ""),
        speak(ROMEO, "three", "").replace(" id=''", ""),
        speak(ROMEO, "one", "1"),
    )

    assert bridge.matrix.said() == ["one", "two", "three", "three"]
    assert all(isinstance(e, Message) for e in bridge.matrix.script.values())


async def test_who_was_in_a_room_that_was_deleted_comes_into_the_new_one(
    bridge: Bridge,
) -> None:
    await bridge.comes(join(ROMEO, "romeo"), join(JULIET, "juliet"))
    await bridge.comes(speak(JULIET, "in the old one", "m1"))
    old, new = GARDEN, Room(Network.MATRIX, "!orchard:hs.example")
    was = bridge.rooms.made[TEA]
    assert isinstance(was, Portal)
    made = replace(was, matrix=new.address)
    bridge.rooms.made["#tea:hs.example"] = bridge.rooms.made[TEA] = made
    bridge.hears(ROMEO)

    ref, by = Ref(Network.MATRIX, "$1"), Person(Network.MATRIX, "@xmppbot:hs.example")
    bridge.hub.tell(Vanished(ref=ref, room=old, sender=by, sent_at=datetime.now(UTC)))
    await bridge.rests()
    (bye,) = bridge.hears(ROMEO)
    await bridge.comes(speak(ROMEO, "still here?", "m2"))
    (answer,) = bridge.hears(ROMEO)
    await bridge.comes(join(ROMEO, "romeo"))
    await bridge.comes(speak(ROMEO, "in the new one", "m3"))

    assert (bye.get("type"), nick(bye)) == ("unavailable", "romeo")
    assert condition(answer) == "not-acceptable"
    assert [portal.matrix for portal in bridge.directory] == [new.address]
    assert texts(bridge.hears(ROMEO)) == ["in the new one"]
    said_there = ["in the old one", "the ghosts leave", "in the new one"]
    assert bridge.matrix.said() == said_there
