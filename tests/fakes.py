"""Two networks that live in this process, for the core's own tests."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from bridge.core.ports import State, Unit
from bridge.model.delivery import (
    Arrival,
    Delivered,
    Description,
    Later,
    Outcome,
    Parcel,
    Refusal,
    Refused,
    Route,
    Taken,
    Unreadable,
    Wire,
)
from bridge.model.events import AnyEvent, Invite, Message, Protection
from bridge.model.pictures import NO_PICTURE, Picture
from bridge.model.places import Network, Person, PortalId, Ref, Room
from bridge.model.records import Kind, Portal

TEA_MATRIX = Room(Network.MATRIX, "!tea:hs.example")
TEA_XMPP = Room(Network.XMPP, "tea@muc.example")
TEA = Portal(
    PortalId(1),
    Kind.FOREIGN,
    TEA_MATRIX.address,
    TEA_XMPP.address,
    agent="@xmppbot:hs.example",
)


@dataclass
class FakeNetwork:
    """An adapter that keeps what reaches it, and counts up to name it."""

    network: Network
    script: dict[str, AnyEvent | Unreadable] = field(default_factory=dict)
    sent: list[Parcel] = field(default_factory=list)
    settled: list[tuple[bytes, Outcome]] = field(default_factory=list)
    applied: list[State] = field(default_factory=list)
    answers: list[Outcome | Later] = field(default_factory=list)
    broken: bool = False
    mute: bool = False
    clear: bool = False
    poison: str = ""
    protects: Protection = Protection.TRANSPORT
    failures: list[Exception] = field(default_factory=list)
    unread: list[Exception] = field(default_factory=list)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    on_send: Callable[[], None] = lambda: None

    def glance(self, arrival: Arrival) -> Message | None:
        if self.broken:
            raise ValueError("no such thing")
        event = self.script.get(arrival.key)
        plain = self.clear and arrival.key not in self.gates
        return event if plain and isinstance(event, Message) else None

    async def read(self, taken: Taken, unit: Unit) -> AnyEvent | Unreadable | None:
        if self.unread:
            raise self.unread.pop(0)
        if gate := self.gates.get(taken.arrival.key):
            await gate.wait()
        if self.broken:
            raise ValueError("no such thing")
        return self.script.get(taken.arrival.key)

    def receipt(self, event: Message) -> bytes:
        return event.ref.id.encode()

    def prepare(self, event: Message, route: Route) -> Sequence[Wire] | Refusal:
        if self.mute:
            raise ValueError("no words")
        return [Wire(event.ref.id, event.content.body.plain.encode())]

    async def apply(self, event: State, route: Route) -> Sequence[Wire]:
        self.applied.append(event)
        return ()

    async def send(self, parcels: Sequence[Parcel]) -> Sequence[Outcome | Later]:
        if self.failures:
            raise self.failures.pop(0)
        if self.poison.encode() in (parcel.wire.data for parcel in parcels):
            raise ValueError("no such thing")
        self.on_send()
        if self.answers:
            answer = self.answers.pop(0)
            if not isinstance(answer, Later):
                self.sent.append(parcels[0])
            return [answer]
        self.sent.extend(parcels)
        return [
            Delivered((Ref(self.network, f"far-{parcel.wire.key}"),))
            for parcel in parcels
        ]

    def settle(self, receipt: bytes, outcome: Outcome) -> Sequence[Wire]:
        self.settled.append((receipt, outcome))
        if isinstance(outcome, Refused):
            return [Wire("notice", outcome.why.value.encode())]
        return ()

    def notice(self, room: Room, words: str) -> Sequence[Wire]:
        return [Wire(f"notice {words}", words.encode())]

    def protection(self, portal: Portal) -> Protection:
        return self.protects

    def said(self) -> list[str]:
        """Return the texts that were sent here, in order."""
        return [parcel.wire.data.decode() for parcel in self.sent]


@dataclass
class FakeMatrixRooms:
    """The Matrix side of provisioning."""

    made: dict[str, Portal | Refusal] = field(default_factory=dict)
    missed: list[Arrival] = field(default_factory=list)
    other_bridge: str = ""
    fault: Exception | None = None
    departed: list[Portal] = field(default_factory=list)
    declined: list[Invite] = field(default_factory=list)
    protected: list[Portal] = field(default_factory=list)
    changed: Sequence[str] | Refusal = ()
    pictures: dict[str, Picture | None] = field(default_factory=dict)
    gate: asyncio.Event | None = None
    on_the_way: asyncio.Event | None = None

    async def enter(self, address: str, guest: Person, name: str) -> Portal | Refusal:
        return self.made.get(address, Refusal.NO_SUCH_ROOM)

    async def called(self, person: Person) -> str:
        return person.id

    async def pictured(self, person: Person) -> Picture | None:
        return self.pictures.get(person.id, NO_PICTURE)

    async def look(self, address: str) -> Description | Refusal:
        return Description() if address in self.made else Refusal.NO_SUCH_ROOM

    async def start_direct(
        self, chat: Room, host: Person, guest: Person, name: str
    ) -> Portal | Refusal:
        if self.fault is not None:
            raise self.fault
        made = self.made.get(guest.id, Refusal.NO_SUCH_PERSON)
        return replace(made, xmpp=chat.address) if isinstance(made, Portal) else made

    async def begun(self, far: Room, kind: Kind) -> str | None:
        if kind is Kind.FOREIGN:
            return f"!{far.address}:hs.example"
        for made in self.made.values():
            if isinstance(made, Portal) and made.kind is Kind.DIRECT:
                return made.matrix
        return ""

    async def protect(self, portal: Portal) -> bool:
        self.protected.append(portal)
        return True

    async def confirm(self, room: str) -> Sequence[str] | Refusal:
        return self.changed

    async def devices(self, room: str) -> str:
        return f"devices in {room}"

    async def accept(
        self, invite: Invite
    ) -> tuple[Portal, Sequence[Arrival]] | Refusal:
        if self.gate is not None:
            await self.gate.wait()
        kind = Kind.DIRECT if invite.direct else Kind.HOSTED
        made = Portal(PortalId(0), kind, invite.room.address, "", agent="@ghost")
        return made, tuple(self.missed)

    async def decline(self, invite: Invite) -> None:
        self.declined.append(invite)

    async def linkable(self, room: str) -> Portal | Refusal:
        if self.gate is not None:
            await self.gate.wait()
        return Portal(PortalId(0), Kind.PLUMBED, room, "", agent="@xmppbot:hs.example")

    async def found(self, muc: str, about: Description) -> Portal | Refusal:
        return Portal(
            PortalId(0), Kind.FOREIGN, f"!{muc}:hs.example", "", agent="@xmppbot"
        )

    async def follow(self, portal: Portal, room: str, by: Person) -> Portal | Refusal:
        if self.on_the_way is not None:
            await self.on_the_way.wait()
        return self.made.get(room, Refusal.NOT_ALLOWED)

    async def describe(self, room: str) -> Description:
        return Description(name=room)

    async def foreign_bridge(self, room: str, muc: str) -> str:
        return self.other_bridge

    async def depart(self, portal: Portal) -> Sequence[Wire]:
        self.departed.append(portal)
        return [Wire("leave", b"the ghosts leave")]


@dataclass
class FakeXmppDevices:
    """The devices of direct chats."""

    chats: str = ""
    decided: list[tuple[str, bool]] = field(default_factory=list)

    async def state(self, portal: Portal) -> str:
        return self.chats

    async def theirs(self, portal: Portal, whose: Person) -> str:
        return f"devices in {portal.xmpp} for {whose.id}"

    async def decide(
        self, portal: Portal, whose: Person, fingerprint: str, *, trusted: bool
    ) -> str:
        self.decided.append((fingerprint, trusted))
        return "decided"

    async def ours(self, room: Room, portal: Portal | None) -> str:
        return f"our puppets in {room.address}"


@dataclass
class FakeXmppRooms:
    """The XMPP side of provisioning."""

    mucs: set[str] = field(default_factory=set)
    invited: list[Invite] = field(default_factory=list)
    devices: FakeXmppDevices = field(default_factory=FakeXmppDevices)

    def addressee(self, chat: Room) -> Person | Refusal | None:
        _, _, puppet = chat.address.partition(" ")
        if not puppet:
            return None
        return Person(Network.MATRIX, puppet) if puppet[0] == "@" else _NOBODY

    def alias(self, address: str) -> str | None:
        return address if address.startswith("#") else None

    def canonical(self, text: str) -> str | None:
        return text.removeprefix("xmpp:") if "@" in text else None

    def chat(self, person: Person, puppet: Person) -> Room:
        return Room(Network.XMPP, f"{person.id} {puppet.id}")

    def hosted(self, portal: Portal) -> str:
        return f"hosted {portal.matrix}"

    async def visit(self, muc: str) -> Description | Refusal:
        return Description(name=muc) if muc in self.mucs else Refusal.NO_SUCH_ROOM

    async def depart(self, portal: Portal) -> Sequence[Wire]:
        return [Wire("leave", b"the puppets leave")]

    def notice(self, room: Room, words: str) -> Sequence[Wire]:
        return [Wire(f"notice {words}", words.encode())]

    async def invite(self, invite: Invite, portal: Portal) -> Refusal | None:
        self.invited.append(invite)
        return None


_NOBODY = Refusal.NO_SUCH_PERSON
