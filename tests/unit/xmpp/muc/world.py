"""A MUC service between a fake XMPP server and a fake core."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar
from xml.etree.ElementTree import Element

from bridge.core.ports import NEWEST, State, Unit
from bridge.model.delivery import (
    Arrival,
    Delivered,
    Description,
    Later,
    Member,
    Outcome,
    Parcel,
    Refusal,
    Refused,
    Route,
    Taken,
    Unreadable,
    Wire,
)
from bridge.model.events import AnyEvent, Message, Rank, Text, Vanished
from bridge.model.pictures import NO_PICTURE, Picture
from bridge.model.places import Network, Person, PortalId, Ref, Room
from bridge.model.records import DeadLetter, Kind, Portal, Record, Secret
from bridge.model.text import RichText
from bridge.xmpp.codec.names import parse
from bridge.xmpp.endtoend import EndToEnd
from bridge.xmpp.muc.service import Hosted
from bridge.xmpp.muc.stanza import STREAM
from bridge.xmpp.reader import Reader
from tests.unit.xmpp.muc.streams import FakeStream

R = TypeVar("R", bound=Record)

DOMAIN = "bridge.example"
TEA = f"#tea#hs.example@{DOMAIN}"
VAULT = f"#vault#hs.example@{DOMAIN}"
ROMEO, JULIET = "romeo@montague.lit/garden", "juliet@capulet.lit/balcony"
X = "<x xmlns='http://jabber.org/protocol/muc'/>"
MUC_USER = "{http://jabber.org/protocol/muc#user}"
STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
ALICE, BOB = (
    Person(Network.MATRIX, "@alice:hs.example"),
    Person(Network.MATRIX, "@bob:hs.example"),
)
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@dataclass
class FakeInbound:
    """Keeps arrivals until the world carries them."""

    arrivals: list[Arrival] = field(default_factory=list)

    def add(self, arrival: Arrival) -> None:
        self.arrivals.append(arrival)


@dataclass
class FakeStore:
    """Keeps records by their keys, in memory."""

    records: dict[tuple[object, ...], Record] = field(default_factory=dict)
    archived: list[Parcel] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    last: int = 0

    def number(self) -> int:
        self.last += 1
        return self.last

    def commit(self, unit: Unit) -> "asyncio.Future[frozenset[int]]":
        for record in unit.put:
            self.records[_key(record)] = record
        for record in unit.drop:
            self.records.pop(_key(record), None)
        final = {parcel.id: parcel for parcel in unit.final}
        self.archived = [final.get(p.id, p) for p in self.archived]
        future: asyncio.Future[frozenset[int]]
        future = asyncio.get_running_loop().create_future()
        future.set_result(frozenset())
        return future

    async def load(self, kind: type[R]) -> Sequence[R]:
        return [r for r in self.records.values() if isinstance(r, kind)]

    async def find(self, kind: type[R], *key: object) -> R | None:
        found = self.records.get((kind, *key))
        return found if isinstance(found, kind) else None

    async def secrets(self, owner: str) -> Sequence[Secret]:
        return [one for one in await self.load(Secret) if one.owner == owner]

    async def rooms_waiting(self) -> Sequence[Room]:
        return ()

    async def waiting(
        self, rooms: Sequence[Room], after: int, limit: int
    ) -> Sequence[Taken]:
        return ()

    async def lanes_pending(self) -> Sequence[tuple[Network, str]]:
        return ()

    async def pending(
        self, network: Network, lane: str, after: int, limit: int
    ) -> Sequence[Parcel]:
        return ()

    async def archive(
        self, network: Network, lane: str, limit: int, before: int = NEWEST
    ) -> Sequence[Parcel]:
        self.asked.append(limit)
        found = [p for p in self.archived if p.lane == lane and p.id < before]
        return found[-limit:]

    async def kept(
        self, network: Network, lane: str, ids: Sequence[int]
    ) -> Sequence[Parcel]:
        self.asked.append(len(ids))
        return [p for p in self.archived if p.lane == lane and p.id in ids]

    def skip(self, number: int) -> None:
        self.last = max(self.last, number)

    async def letters(self, lane: str, after: int, limit: int) -> Sequence[DeadLetter]:
        return ()

    async def counts(self) -> dict[str, int]:
        return {}


@dataclass
class FakeHost:
    """The core: opens rooms, describes them and sends what is to be sent later."""

    rooms: dict[str, Description] = field(default_factory=dict)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    portals: dict[str, Portal] = field(default_factory=dict)
    opened: list[tuple[str, str, str]] = field(default_factory=list)
    sent_later: list[tuple[Room, Wire]] = field(default_factory=list)
    barred: set[str] = field(default_factory=set)
    warned: list[str] = field(default_factory=list)
    retried: list[Room] = field(default_factory=list)
    broken: bool = False
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def portal(self, room: Room) -> Portal | None:
        return self.portals.get(room.address)

    async def keep(self, arrivals: Sequence[Arrival]) -> None:
        raise AssertionError

    def tell(self, event: State | Vanished) -> None:
        raise AssertionError

    def bars(self, person: Person) -> bool:
        return person.id in self.barred

    def request(self, person: Person) -> Refusal | None:
        return Refusal.NOT_ALLOWED if self.bars(person) else None

    def later(self, room: Room, wires: Sequence[Wire]) -> None:
        self.sent_later.extend((room, wire) for wire in wires)

    def back(self, remote: str) -> None:
        raise NotImplementedError

    def warn(self, room: Room, words: str) -> None:
        self.warned.append(words)

    def retry(self, room: Room) -> None:
        self.retried.append(room)

    def note(self, *records: Record) -> None:
        raise NotImplementedError

    def regret(self, parcel: Parcel, refused: Refused) -> None:
        raise NotImplementedError

    async def open_hosted(
        self, address: Room, guest: Person, name: str
    ) -> Portal | Refusal:
        self.opened.append((address.address, guest.id, name))
        await self.gate.wait()
        if address.address in self.refusals:
            return self.refusals[address.address]
        if address.address not in self.rooms:
            return Refusal.NO_SUCH_ROOM
        return self.make(address.address)

    def make(self, address: str) -> Portal:
        number = PortalId(len(self.portals) + 1)
        made = Portal(number, Kind.HOSTED, f"!{number}:hs.example", address, "@bot")
        return self.portals.setdefault(address, made)

    async def open_foreign(self, muc: Room) -> Portal | Refusal:
        raise AssertionError

    async def describe(self, portal: Portal) -> Description:
        if self.broken:
            raise OSError
        return self.rooms[portal.xmpp]

    async def called(self, person: Person) -> str:
        return person.id

    async def pictured(self, person: Person) -> Picture | None:
        return NO_PICTURE

    async def look(self, address: Room) -> Description | Refusal:
        if self.broken:
            raise OSError
        return self.rooms.get(address.address, Refusal.NO_SUCH_ROOM)


@dataclass
class MucWorld:
    """The service and all around it."""

    hosted: Hosted
    stream: FakeStream
    host: FakeHost
    store: FakeStore
    inbound: FakeInbound
    events: list[AnyEvent | Unreadable | None] = field(default_factory=list)

    def comes(self, xml: str) -> None:
        """Let a stanza come over the stream."""
        stanza = parsed(xml.encode())[0]
        sender, to = parse(stanza.get("from", "")), parse(stanza.get("to", ""))
        assert sender is not None
        assert to is not None
        self.hosted.received(stanza, sender, to)

    async def joins(self, jid: str, nick: str, room: str = TEA, x: str = X) -> None:
        """Let somebody come into a room, and wait until they are in."""
        self.comes(f"<presence from='{jid}' to='{room}/{nick}'>{x}</presence>")
        await settled()

    def written(self, to: str = "") -> list[Element]:
        """Return what was written since last asked, to *to* if given."""
        data = b"".join(self.stream.data)
        self.stream.data.clear()
        return [s for s in parsed(data) if not to or s.get("to") == to]

    async def carried(self, outcome: Outcome | None = None, room: str = TEA) -> None:
        """Carry what came to Matrix, which takes it, and back."""
        arrivals, self.inbound.arrivals = self.inbound.arrivals, []
        for arrival in arrivals:
            number = self.store.number()
            unit = Unit()
            glanced = self.hosted.glance(arrival)
            event = await self.hosted.read(Taken(number, arrival), unit)
            assert glanced is None or (glanced, unit) == (event, Unit())
            await self.store.commit(unit)
            self.events.append(event)
            if isinstance(event, Message):
                there = outcome or Delivered((Ref(Network.MATRIX, f"$event{number}"),))
                wires = self.hosted.settle(self.hosted.receipt(event), there)
                await self.sends(wires, room)

    async def says(
        self, person: Person, words: str, name: str = "Alice", number: int = 1
    ) -> None:
        """Let somebody of Matrix say something in the room."""
        said = message(person, words, name, number)
        wires = self.hosted.prepare(said, self.route())
        assert not isinstance(wires, Refusal)
        await self.sends(wires)

    async def happens(self, event: State) -> None:
        """Let the room on Matrix change."""
        await self.sends(await self.hosted.apply(event, self.route()))

    async def sends(
        self, wires: Sequence[Wire], room: str = TEA
    ) -> Sequence[Outcome | Later]:
        """Send *wires*, as the dispatch does."""
        parcels = [self.parcel(wire, room) for wire in wires]
        self.store.archived.extend(p for p in parcels if p.wire.archived)
        return await self.hosted.send(parcels) if parcels else ()

    def parcel(self, wire: Wire, room: str = TEA) -> Parcel:
        """Make a parcel for the lane of a room."""
        portal = self.host.make(room).id
        number = self.store.number()
        return Parcel(number, Network.XMPP, str(portal), wire, portal=portal)

    def route(self, room: str = TEA) -> Route:
        """Return the way to a room."""
        return Route(self.host.make(room), Room(Network.XMPP, room))


def build(
    tasks: asyncio.TaskGroup,
    store: FakeStore | None = None,
    endtoend: EndToEnd | None = None,
) -> MucWorld:
    """Put up a service; its core knows two rooms."""
    members = (
        Member(ALICE, "Alice", Rank.OWNER),
        Member(BOB, "Bob \U0001f41d", Rank.MEMBER),
    )
    host, stream, inbound = FakeHost(), FakeStream(), FakeInbound()
    host.rooms[TEA] = Description("Tea", "all about tea", members)
    host.rooms[VAULT] = Description("Vault", "", members, public=False)
    host.gate.set()
    store = store or FakeStore()
    hosted = Hosted(DOMAIN, stream, host, store, inbound, tasks, endtoend=endtoend)
    return MucWorld(hosted, stream, host, store, inbound)


def message(person: Person, words: str, name: str = "", number: int = 1) -> Message:
    """Make a message from Matrix."""
    return Message(
        ref=Ref(Network.MATRIX, f"$said{number}"),
        room=Room(Network.MATRIX, "!1:hs.example"),
        sender=person,
        sent_at=NOW,
        name=name,
        content=Text(RichText(words)),
    )


def parsed(data: bytes) -> list[Element]:
    """Read stanzas as a server would."""
    reader = Reader()
    reader.feed(f"<stream xmlns='{STREAM}'>".encode())
    stanzas = reader.feed(data)
    assert reader.depth == 1
    assert reader.refused == []
    return stanzas


async def settled() -> None:
    """Let all that can happen happen."""
    for _ in range(30):
        await asyncio.sleep(0)


def name(stanza: Element) -> str:
    """Return the name of a stanza."""
    return stanza.tag.rpartition("}")[2]


def codes(stanza: Element) -> set[str]:
    """Return the status codes in a presence."""
    found = stanza.iterfind(f"{MUC_USER}x/{MUC_USER}status")
    return {status.get("code", "") for status in found}


def item(stanza: Element) -> Element:
    """Return the item in a presence."""
    found = stanza.find(f"{MUC_USER}x/{MUC_USER}item")
    assert found is not None
    return found


def condition(stanza: Element) -> str:
    """Return the condition of an error."""
    assert stanza.get("type") == "error"
    error = stanza.find(f"{{{STREAM}}}error")
    assert error is not None
    return error[0].tag.removeprefix(STANZAS)


def words(stanza: Element) -> str:
    """Return the body of a message."""
    return stanza.findtext(f"{{{STREAM}}}body") or ""


def nick(stanza: Element) -> str:
    """Return the nick a stanza is from."""
    return stanza.get("from", "").partition("/")[2]


def _key(record: Record) -> tuple[object, ...]:
    return (type(record), *(getattr(record, field) for field in record.KEY))
