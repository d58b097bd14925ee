"""The Matrix side of a simulated bridge: small, and confirming as the real one does.

One PUT in flight per lane; whatever is in doubt is put again with the same txnId (see
bridge/matrix/sending.py). Bridged rooms are audited at the start and after every
return of the homeserver (bridge/matrix/audit.py).
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from bridge.core.ports import Host, State, Store, StoreUnavailableError, Unit
from bridge.model.delivery import (
    Arrival,
    Delivered,
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
from bridge.model.events import AnyEvent, Invite, Leave, Message, Text
from bridge.model.places import Network, Person, PortalId, Ref, Room
from bridge.model.records import Cursor, Kind, Portal
from bridge.model.text import RichText
from tests.fakes import FakeMatrixRooms, FakeNetwork
from tests.simulation.homeserver import (
    Happened,
    LimitedError,
    RefusedError,
    SimHomeserver,
)
from tests.simulation.net import DownError, Net
from tests.simulation.stanza import Stanza, is_plain_to_see, read, write

T = TypeVar("T")

TRIES_MAX = 5
AUDIT_EVERY_S = 20.0
PATIENCE_S = 0.06
"""So short that some are broken off while they write (app: REUNION_S)."""
CURSOR = "audit"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class SimMatrix(FakeNetwork, FakeMatrixRooms):
    """The ports ``Adapter`` and ``MatrixRooms`` towards the simulated homeserver."""

    host: Host

    def __init__(self, homeserver: SimHomeserver, net: Net, store: Store) -> None:
        FakeNetwork.__init__(self, Network.MATRIX)
        FakeMatrixRooms.__init__(self)
        self._homeserver = homeserver
        self._net = net
        self._store = store
        self._failed: dict[str, int] = {}
        self._marks: dict[str, int] = {}
        self._loaded = False

    async def start(self, host: Host) -> None:
        """Remember how far each room was read."""
        self.host = host
        for cursor in await self._store.load(Cursor):
            if cursor.kind == CURSOR:
                self._marks[cursor.key] = int(cursor.value)

    async def take(self, events: Sequence[Happened]) -> None:
        """Keep what was pushed, or found by the audit."""
        kept = [
            Arrival(
                Room(Network.MATRIX, event.room),
                event.id,
                write(Stanza(event.kind, event.sender, "", event.id, event.body)),
            )
            for event in events
            if not event.ours
        ]
        if kept:
            await self.host.keep(kept)

    async def run(self, portals: Callable[[], Sequence[Portal]]) -> None:
        """Audit the rooms at the start, and each time the homeserver comes back."""
        was_up = False
        while True:
            try:
                await self._net.ask(self._homeserver.ping)
            except DownError:
                was_up = False
                await asyncio.sleep(1.0)
                continue
            pause_s = AUDIT_EVERY_S
            if not was_up:
                was_up, pause_s = True, 5.0
            await self._audit([portal.matrix for portal in portals()])
            for _ in range(int(pause_s)):
                await asyncio.sleep(1.0)
                if not self._homeserver.up:
                    break

    def glance(self, arrival: Arrival) -> Message | None:
        if not is_plain_to_see(arrival.raw, self._net.plain_percent):
            return None
        event = _event(arrival)
        return event if isinstance(event, Message) else None

    async def read(self, taken: Taken, unit: Unit) -> AnyEvent | Unreadable | None:
        await pondering(self._net)
        return _event(taken.arrival)

    def receipt(self, event: Message) -> bytes:
        return _receipt(event.room.address, event.content.body.plain)

    def prepare(self, event: Message, route: Route) -> Sequence[Wire] | Refusal:
        words = event.content.body.plain
        if "unwritable" in words:
            return Refusal.TOO_LARGE
        parts = [f"{words}#1", f"{words}#2"] if "long" in words else [words]
        return [self._says(route.room.address, f"@{event.sender.id}", p) for p in parts]

    async def apply(self, event: State, route: Route) -> Sequence[Wire]:
        if isinstance(event, Leave):
            return ()
        return [self._says(route.room.address, "@bot", f"state {event.ref.id}")]

    async def send(self, parcels: Sequence[Parcel]) -> Sequence[Outcome | Later]:
        parcel = parcels[0]
        key = parcel.wire.key
        (says,) = read(parcel.wire.data)
        try:
            name = await self._put(says, key)
        except LimitedError:
            return [Later(2.0)]
        except RefusedError:
            return [Refused(Refusal.NOT_ALLOWED)]
        except DownError as error:
            if "500" not in str(error):
                return [Later(1.0)]
            self._failed[key] = tries = self._failed.get(key, 0) + 1
            if tries < TRIES_MAX or "poison" not in says.text:
                return [Later(1.0)]
            return [Refused(Refusal.REJECTED)]
        return [Delivered((Ref(Network.MATRIX, name),))]

    async def _put(self, says: Stanza, key: str) -> str:
        homeserver = self._homeserver
        name = await self._net.ask(
            lambda: homeserver.send(says.sender, says.to, key, says.text)
        )
        return str(name)

    def settle(self, receipt: bytes, outcome: Outcome) -> Sequence[Wire]:
        if not isinstance(outcome, Refused):
            return ()
        room, _, words = receipt.decode().partition(" ")
        return [self._says(room, "@bot", f"told {words}")]

    def notice(self, room: Room, words: str) -> Sequence[Wire]:
        return [self._says(room.address, "@bot", words)]

    async def start_direct(
        self, chat: Room, host: Person, guest: Person, name: str
    ) -> Portal | Refusal:
        room = await self._insist(partial(self._homeserver.make, f"dm {chat.address}"))
        return Portal(PortalId(0), Kind.DIRECT, room, chat.address, f"@{host.id}")

    async def begun(self, far: Room, kind: Kind) -> str | None:
        assert kind is Kind.DIRECT
        try:
            find = partial(self._homeserver.find, f"dm {far.address}")
            return await self._net.ask(find)
        except DownError:
            return None

    async def accept(
        self, invite: Invite
    ) -> tuple[Portal, Sequence[Arrival]] | Refusal:
        room = invite.room.address
        await self._insist(partial(self._homeserver.enter, room))
        events = await self._insist(partial(self._homeserver.read, room))
        names = [event.id for event in events]
        missed = [
            Arrival(
                invite.room,
                event.id,
                write(Stanza(event.kind, event.sender, "", event.id, event.body)),
            )
            for event in events[names.index(invite.ref.id) + 1 :]
            if not event.ours
        ]
        agent = f"@{invite.person.id}"
        return Portal(PortalId(0), Kind.DIRECT, room, "", agent), missed

    async def depart(self, portal: Portal) -> Sequence[Wire]:
        return ()

    async def _insist(self, act: Callable[[], T]) -> T:
        while True:
            try:
                return await self._net.ask(act)
            except DownError:
                await asyncio.sleep(1.0)

    async def _audit(self, rooms: Sequence[str]) -> None:
        """Read on in *rooms* from where all is known to have come."""
        for room in rooms:
            try:
                events = await self._net.ask(partial(self._homeserver.read, room))
                mark = self._marks.get(room, 0)
                async with asyncio.timeout(PATIENCE_S):
                    await self.take(events[mark:])
                self._marks[room] = len(events)
                cursor = Cursor(CURSOR, room, str(len(events)))
                await self._store.commit(Unit(put=[cursor]))
            except (DownError, StoreUnavailableError, TimeoutError):
                continue

    def _says(self, room: str, user: str, words: str) -> Wire:
        stanza = Stanza("says", user, room, "", words)
        return Wire(self._net.dice.token(), write(stanza))


async def pondering(net: Net) -> None:
    """Take a while, now and then, as reading does that has to ask or to decrypt."""
    if net.dice.chance(0.3):
        await asyncio.sleep(net.dice.delay(net.latency_s))


def _event(arrival: Arrival) -> AnyEvent | Unreadable:
    (event,) = read(arrival.raw)
    room = arrival.room
    sender = Person(Network.MATRIX, event.sender)
    ref = Ref(Network.MATRIX, event.id)
    if event.kind == "invite":
        person = Person(Network.XMPP, event.text)
        return Invite(
            ref=ref,
            room=room,
            sender=sender,
            sent_at=EPOCH,
            person=person,
            direct=True,
        )
    if "unreadable" in event.text:
        return Unreadable(Refusal.MALFORMED, _receipt(room.address, event.text))
    return Message(
        ref=ref,
        room=room,
        sender=sender,
        sent_at=EPOCH,
        name=event.sender,
        content=Text(RichText(event.text)),
    )


def _receipt(room: str, words: str) -> bytes:
    return f"{room} {words}".encode()
