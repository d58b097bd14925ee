"""What the core asks of the world around it, and offers to it."""

from asyncio import Future
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, runtime_checkable

from bridge.model.delivery import (
    Arrival,
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
from bridge.model.events import (
    AnyEvent,
    Invite,
    Message,
    Protection,
    State as State,  # noqa: PLC0414 - for others to import
    Vanished,
)
from bridge.model.pictures import Picture
from bridge.model.places import Network, Person, Room
from bridge.model.records import DeadLetter, Kind, Portal, Record, Secret

R = TypeVar("R", bound=Record)

NEWEST = 1 << 62
"""Comes after every number of a store."""


@dataclass(slots=True)
class Unit:
    """What one step of the chain changes: committed whole or not at all.

    *final* are parcels of the outbox whose bytes are replaced, as they are encrypted
    now. *late* are asked for records when the unit is handed in, after *put*: so what
    several lanes share, as a ratchet, is never written older than it is by then.

    What is both in *take* and in *done* was carried before it was on disk. If it is
    known already, it was carried then, and the unit is void.
    """

    take: list[Taken] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    parcels: list[Parcel] = field(default_factory=list)
    sent: list[Parcel] = field(default_factory=list)
    put: list[Record] = field(default_factory=list)
    drop: list[Record] = field(default_factory=list)
    final: list[Parcel] = field(default_factory=list)
    late: list[Callable[[], Iterable[Record]]] = field(default_factory=list)

    def is_void(self, known: frozenset[int]) -> bool:
        """Tell whether nothing of this is written, as these seqs are *known*."""
        if not known or not self.done:
            return False
        return any(one.seq in known and one.seq in self.done for one in self.take)


class Store(Protocol):
    """What survives a crash.

    Units are committed in the order in which they were handed in, many at a time;
    a unit that is unfit never fails its neighbours. While nothing can be written, all
    fail that were handed in before this was known, so that none overtakes another.
    """

    def number(self) -> int:
        """Return a number greater than all before it, also those of earlier runs."""

    def skip(self, number: int) -> None:
        """Use no number up to *number*: a later run had used them already."""

    def commit(self, unit: Unit) -> "Future[frozenset[int]]":
        """Make *unit* durable.

        The result are the seqs of *unit.take* that are known already and were not
        taken again; see ``Unit.is_void``. Fails with ``StoreUnavailableError`` if
        nothing was written.
        """

    async def load(self, kind: type[R]) -> Sequence[R]:
        """Read all records of a kind."""

    async def find(self, kind: type[R], *key: object) -> R | None:
        """Read the record of that key."""

    async def secrets(self, owner: str) -> Sequence[Secret]:
        """Read all secrets of *owner*."""

    async def rooms_waiting(self) -> Sequence[Room]:
        """List the rooms that have arrivals which are not done."""

    async def waiting(
        self, rooms: Sequence[Room], after: int, limit: int
    ) -> Sequence[Taken]:
        """Read arrivals of *rooms* that are not done, in order of seq."""

    async def lanes_pending(self) -> Sequence[tuple[Network, str]]:
        """List the lanes that have parcels which are not sent."""

    async def pending(
        self, network: Network, lane: str, after: int, limit: int
    ) -> Sequence[Parcel]:
        """Read the parcels of a lane that are not sent, in order of id."""

    async def archive(
        self, network: Network, lane: str, limit: int, before: int = NEWEST
    ) -> Sequence[Parcel]:
        """Read the newest *limit* archived parcels of a lane, oldest first.

        Of those before the id *before*, if it is given.
        """

    async def kept(
        self, network: Network, lane: str, ids: Sequence[int]
    ) -> Sequence[Parcel]:
        """Read the archived parcels of a lane that have those *ids*, in order of id."""

    async def letters(self, lane: str, after: int, limit: int) -> Sequence[DeadLetter]:
        """Read the dead letters of a lane, of all lanes if it is empty, by id."""

    async def counts(self) -> dict[str, int]:
        """Count what waits: arrivals in "waiting", parcels in "pending"."""


class StoreUnavailableError(Exception):
    """Nothing can be written at present (disk full, database locked or gone)."""


@runtime_checkable
class Recovering(Protocol):
    """A part that remembers what a restored backup makes unsafe to use."""

    async def recover(self) -> None:
        """Begin anew, as nobody knows what was used since the backup was made.

        Called after the start and before anything is read or sent.
        """


class Adapter(Protocol):
    """One network, seen from the core."""

    @property
    def network(self) -> Network:
        """Which one."""

    def glance(self, arrival: Arrival) -> Message | None:
        """Make a message of what came, if it is plain to see; None if it must be read.

        Pure: nothing is asked for, nothing changed. *read* makes the same of it.
        """

    async def read(self, taken: Taken, unit: Unit) -> AnyEvent | Unreadable | None:
        """Make an event of what came; None if it says nothing that can cross.

        What reading changes, as a ratchet, is added to *unit*, which marks *taken* as
        done. Asked again for the same, it answers the same.
        """

    def receipt(self, event: Message) -> bytes:
        """Note what *settle* will need to tell the sender of *event*, who is here."""

    def prepare(self, event: Message, route: Route) -> Sequence[Wire] | Refusal:
        """Write *event*, which happened on the other network, for this one.

        Nothing is sent. It may be asked for the same again, as what it wrote may never
        have been kept, and has to write as much again.
        """

    async def apply(self, event: State, route: Route) -> Sequence[Wire]:
        """Let this network see how things now stand on the other.

        Either at once, or in order with the messages by the wires returned.
        """

    async def send(self, parcels: Sequence[Parcel]) -> Sequence[Outcome | Later]:
        """Send *parcels*, all of one lane, in their order; may have sent them before.

        Return an outcome for each of the first parcels, at least for one; what is
        left over is asked for again at once. ``Later`` ends the sequence.
        """

    def settle(self, receipt: bytes, outcome: Outcome) -> Sequence[Wire]:
        """Write what tells a sender, who is here, how their message fared."""

    def notice(self, room: Room, words: str) -> Sequence[Wire]:
        """Write words of the bridge's own to *room*, which is here."""

    def protection(self, portal: Portal) -> Protection:
        """Tell how well what is sent now to this side of *portal* is guarded.

        A promise: what was prepared under END_TO_END never leaves in the clear.
        """


class MatrixRooms(Protocol):
    """What provisioning asks of the Matrix side beyond carrying."""

    async def enter(self, address: str, guest: Person, name: str) -> Portal | Refusal:
        """Join the Matrix room of that *address*, an alias or a room id, for *guest*.

        The portal comes without an id and an XMPP address, of kind HOSTED.
        """

    async def start_direct(
        self, chat: Room, host: Person, guest: Person, name: str
    ) -> Portal | Refusal:
        """Invite *guest*, of Matrix, to a direct room with the ghost of *host*.

        Asked again after a crash, it finds the room that it made. The portal comes
        without an id.
        """

    async def begun(self, far: Room, kind: Kind) -> str | None:
        """Name what ``start_direct`` or ``found`` has made for *far*, finished or not.

        Empty if there is none, None if the homeserver cannot say now.
        """

    async def called(self, person: Person) -> str | None:
        """Tell the name of *person*, "" of nobody; None if it cannot be said now."""

    async def pictured(self, person: Person) -> Picture | None:
        """Tell what *person* looks like, NO_PICTURE of nobody; None as above."""

    async def protect(self, portal: Portal) -> bool:
        """Encrypt the room of a direct chat, if it is ours; tell whether it is."""

    async def confirm(self, room: str) -> Sequence[str] | Refusal:
        """Accept the new encryption identities of people in *room*; return whose."""

    async def devices(self, room: str) -> str:
        """Tell in words which devices of ours are in *room*, as people compare them."""

    async def accept(
        self, invite: Invite
    ) -> tuple[Portal, Sequence[Arrival]] | Refusal:
        """Let the ghost of the invited person join.

        Return the portal, without an id and an XMPP address, of kind DIRECT or
        HOSTED, and what was said between the invitation and the join: homeservers
        do not push it.
        """

    async def decline(self, invite: Invite) -> None:
        """Let the ghost of the invited person decline, if it can."""

    async def linkable(self, room: str) -> Portal | Refusal:
        """Return a portal for *room*, which the bot is in, of kind PLUMBED.

        It comes without an id and an XMPP address.
        """

    async def found(self, muc: str, about: Description) -> Portal | Refusal:
        """Make the room for a MUC, or find the one made before; without an id."""

    async def follow(self, portal: Portal, room: str, by: Person) -> Portal | Refusal:
        """Go with the room of *portal* to *room*, which must say that it replaces it.

        The portal comes without an id and an XMPP address.
        """

    async def describe(self, room: str) -> Description:
        """Tell the name, the topic and the members of real people of a room."""

    async def look(self, address: str) -> Description | Refusal:
        """Tell what can be seen from outside of a room, by its alias or room id.

        Nobody joins and nothing is made; the members are left out.
        """

    async def foreign_bridge(self, room: str, muc: str) -> str:
        """Name another bridge that claims to link *room*; empty if none does."""

    async def depart(self, portal: Portal) -> Sequence[Wire]:
        """Write what lets our ghosts leave the room of *portal*."""


class XmppDevices(Protocol):
    """What people ask about the devices of portals on XMPP; answers are words."""

    async def state(self, portal: Portal) -> str:
        """Tell how *portal* is guarded on XMPP at present; empty if it is no chat."""

    async def theirs(self, portal: Portal, whose: Person) -> str:
        """List the devices of the people of XMPP, as far as *whose* own knows them."""

    async def decide(
        self, portal: Portal, whose: Person, fingerprint: str, *, trusted: bool
    ) -> str:
        """Trust or distrust a device from now on, for what *whose* write."""

    async def ours(self, room: Room, portal: Portal | None) -> str:
        """List our devices that people of XMPP in *room*, a side of *portal*, check."""


class XmppRooms(Protocol):
    """What provisioning asks of the XMPP side beyond carrying."""

    @property
    def devices(self) -> XmppDevices:
        """The devices of direct chats."""

    def addressee(self, chat: Room) -> Person | Refusal | None:
        """Name the Matrix person of a direct chat, or None if it is a MUC."""

    def canonical(self, text: str) -> str | None:
        """Read the address of a MUC as people type it; None if it can be none."""

    def chat(self, person: Person, puppet: Person) -> Room:
        """Name the direct chat of a person of XMPP with one of Matrix."""

    def alias(self, address: str) -> str | None:
        """Name the Matrix room, by alias or id, that a hosted room's address means.

        None if the address means none. An id may come without its server.
        """

    def hosted(self, portal: Portal) -> str:
        """Name the address under which a Matrix room is reached from XMPP."""

    async def visit(self, muc: str) -> Description | Refusal:
        """Enter a MUC as the bridge itself, to listen; entering twice is once."""

    async def depart(self, portal: Portal) -> Sequence[Wire]:
        """Write what lets all of us leave a MUC, or puts all out of a room of ours."""

    async def invite(self, invite: Invite, portal: Portal) -> Refusal | None:
        """Ask a person of XMPP into a room that we host."""

    def notice(self, room: Room, words: str) -> Sequence[Wire]:
        """Write words of the bridge's own to *room*, which is here."""


class Host(Protocol):
    """What the core offers to the adapters."""

    def portal(self, room: Room) -> Portal | None:
        """Find the portal that *room*, on either network, is a side of."""

    def keep(self, arrivals: Sequence[Arrival]) -> Awaitable[None]:
        """Have *arrivals* safe on disk, or raise ``StoreUnavailableError``."""

    def tell(self, event: State | Vanished) -> None:
        """Take note of how things stand; forgotten in a crash, so say it again."""

    def bars(self, person: Person) -> bool:
        """Tell whether *person* is not served at all."""

    def request(self, person: Person) -> Refusal | None:
        """Say why *person* may not ask for something now; None counts it as asked."""

    def later(self, room: Room, wires: Sequence[Wire]) -> None:
        """Send *wires* to *room* on its own network, in order, safe on disk."""

    def back(self, remote: str) -> None:
        """Send at once what waits for *remote*, which a ``Later`` said was away."""

    def warn(self, room: Room, words: str) -> None:
        """Tell the people on the far side of *room* what will not reach them."""

    def retry(self, room: Room) -> None:
        """Send again what was refused to the chat *room* as it could not be sealed."""

    def note(self, *records: Record) -> None:
        """Remember *records* for sure, though not before what was sent by now."""

    def regret(self, parcel: Parcel, refused: Refused) -> None:
        """Tell the sender of *parcel*, which had seemed delivered, that it was not."""

    async def called(self, person: Person) -> str | None:
        """Tell the name of a *person* of Matrix, "" of nobody; see ``MatrixRooms``."""

    async def pictured(self, person: Person) -> Picture | None:
        """Tell what a *person* of Matrix looks like; see ``MatrixRooms``."""

    async def open_hosted(
        self, address: Room, guest: Person, name: str
    ) -> Portal | Refusal:
        """Find or make the portal for a Matrix room that *guest*, of XMPP, enters."""

    async def open_foreign(self, muc: Room) -> Portal | Refusal:
        """Find or make the portal for a MUC that somebody of Matrix asks for."""

    async def describe(self, portal: Portal) -> Description:
        """Tell what the Matrix room of *portal* looks like."""

    async def look(self, address: Room) -> Description | Refusal:
        """Tell what a Matrix room, by its XMPP *address*, looks like from outside."""
