"""Which rooms we host at present, and who may come in; restored after a restart."""

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Iterable

from bridge.core.ports import StoreUnavailableError, Unit
from bridge.model.delivery import Parcel, Refusal, Wire
from bridge.model.places import Network, Person, PortalId, Room
from bridge.model.records import Cursor, Kind, Occupant, Portal, Record
from bridge.xmpp.muc.history import HISTORY_MAX, Said
from bridge.xmpp.muc.packing import UnknownFormatError, ready, sheet
from bridge.xmpp.muc.ports import Means
from bridge.xmpp.muc.presence import Stencils
from bridge.xmpp.muc.room import HostedRoom, Seat, occupant_id

logger = logging.getLogger(__name__)

IDLE_MAX = 32
OPENING_TIMEOUT_S = 60.0
SLICE = 250

STANDING = "muc-standing"
SECRET = "muc-secret"  # noqa: S105 - the name of a record
MEMBER, OUTCAST = "member", "outcast"
MODE = "muc-sealed"
"""Kind of the record which says that a room was last spoken to with OMEMO."""


class Rooms:
    """The rooms that somebody of XMPP is in, or was in a moment ago.

    *sealed* are the addresses of those in which the last words came encrypted.
    """

    def __init__(self, means: Means) -> None:
        self._means = means
        self._rooms: dict[str, HostedRoom] = {}
        self._by_portal: dict[PortalId, HostedRoom] = {}
        self._idle: OrderedDict[str, None] = OrderedDict()
        self._loading: dict[str, asyncio.Lock] = {}
        self._standings: dict[str, dict[str, str]] = {}
        self.sealed: set[str] = set()
        self._secret = b""
        self._stencils = Stencils(means.domain)

    async def restore(self) -> None:
        """Read who was in which room when the last run ended: they still are."""
        store = self._means.store
        kept = await store.find(Cursor, SECRET, self._means.domain)
        if kept is None:
            kept = Cursor(SECRET, self._means.domain, secrets.token_hex(32))
            await store.commit(Unit(put=[kept]))
        self._secret = bytes.fromhex(kept.value)
        for standing in await store.load(Cursor):
            if standing.kind == STANDING:
                room, _, bare = standing.key.partition(" ")
                self._standings.setdefault(room, {})[bare] = standing.value
            elif standing.kind == MODE and standing.value:
                self.sealed.add(standing.key)
        for occupant in await store.load(Occupant):
            self._seat_again(occupant)
        logger.info("%d hosted rooms are in use", len(self._rooms))

    def get(self, address: str) -> HostedRoom | None:
        """Return the room of that address, if it is in use."""
        return self._rooms.get(address)

    def of_portal(self, portal: PortalId) -> HostedRoom | None:
        """Return the room that is a side of *portal*, if it is in use."""
        return self._by_portal.get(portal)

    def occupied(self) -> list[HostedRoom]:
        """List the rooms that people of XMPP are in."""
        return [r for r in self._rooms.values() if r.loaded and r.devices]

    def unloaded(self) -> list[HostedRoom]:
        """List the rooms in use whose members are not known yet."""
        return [room for room in self._rooms.values() if not room.loaded]

    async def open(
        self, address: str, guest: Person, nick: str
    ) -> HostedRoom | Refusal:
        """Make ready the room that *guest* wants to come into."""
        async with asyncio.timeout(OPENING_TIMEOUT_S):
            side = Room(Network.XMPP, address)
            known = self._means.host.portal(side)
            portal = known or await self._means.host.open_hosted(side, guest, nick)
            if isinstance(portal, Refusal):
                return portal
            if portal.kind is not Kind.HOSTED:
                return Refusal.NOT_ALLOWED
            room = self._rooms.get(portal.xmpp) or self._enter(portal)
            if known is None:
                # Matrix has let them in.
                self.set_standing(room.address, guest.id, MEMBER)
            await self.load(room)
        return room

    async def load(self, room: HostedRoom) -> None:
        """Learn who is in *room*, and what was said there last."""
        async with self._loading.setdefault(room.address, asyncio.Lock()):
            if not room.loaded:
                await self._load(room)
        self._loading.pop(room.address, None)
        self.rest(room)

    async def _load(self, room: HostedRoom) -> None:
        about = await self._means.host.describe(room.portal)
        parcels = await self._means.store.archive(
            Network.XMPP, str(room.portal.id), HISTORY_MAX
        )
        room.history.restore([said for p in parcels if (said := remembered(p))])
        room.describe(about)
        mistaken: list[Seat] = []
        for start in range(0, len(about.members), SLICE):
            mistaken += room.fill(about.members[start : start + SLICE])
            await asyncio.sleep(0)  # a large room stops nobody else's conversation
        room.loaded = True
        room.gone.clear()
        self._correct(room, mistaken)

    def _correct(self, room: HostedRoom, mistaken: Iterable[Seat]) -> None:
        """Show anew who spoke before we knew what they may do in *room*."""
        if room.devices:
            # Who has left meanwhile would be seen there for ever.
            here = [one for one in mistaken if room.people.get(one.person.id) is one]
            seen = [sheet(room.presence(seat)) for seat in here]
            wires = [Wire(f"{secrets.token_hex(12)}/presence", one) for one in seen]
            self._means.host.later(Room(Network.XMPP, room.address), wires)

    def rest(self, room: HostedRoom) -> None:
        """Keep *room* for a while after its last occupant of XMPP has left."""
        self._idle.pop(room.address, None)
        if room.devices or self._rooms.get(room.address) is not room:
            return
        self._idle[room.address] = None
        if len(self._idle) > IDLE_MAX:
            address, _ = self._idle.popitem(last=False)
            self.close(self._rooms[address])

    def close(self, room: HostedRoom) -> None:
        """Forget *room*."""
        self._idle.pop(room.address, None)
        self._rooms.pop(room.address, None)
        self._by_portal.pop(room.portal.id, None)

    def abandon(self, address: str) -> None:
        """Forget a room for good: who is in it, and who may come."""
        known = self._standings.pop(address, {})
        drop: list[Record] = [Cursor(STANDING, f"{address} {b}", "") for b in known]
        room = self._rooms.get(address)
        if room is not None:
            drop += [Occupant(address, device, "") for device in room.devices]
            self.close(room)
        self._write(Unit(drop=drop))

    def enter(self, room: HostedRoom, device: str, nick: str) -> None:
        """Remember that *device* is in *room*."""
        self._idle.pop(room.address, None)
        self._write(Unit(put=[Occupant(room.address, device, nick)]))

    def leave(self, room: HostedRoom, devices: list[str]) -> None:
        """Forget that *devices* were in *room*."""
        drop: list[Record] = [Occupant(room.address, device, "") for device in devices]
        self._write(Unit(drop=drop))
        self.rest(room)

    def standing(self, address: str, bare: str) -> str:
        """Tell whether somebody of XMPP is a member, an outcast, or neither."""
        return self._standings.get(address, {}).get(bare, "")

    def set_standing(self, address: str, bare: str, standing: str) -> None:
        """Remember *standing*; empty if there is none any more."""
        record = Cursor(STANDING, f"{address} {bare}", standing)
        known = self._standings.setdefault(address, {})
        if standing:
            known[bare] = standing
            self._write(Unit(put=[record]))
        elif known.pop(bare, ""):
            self._write(Unit(drop=[record]))

    def occupant_id(self, address: str, person: str) -> str:
        """Name a person for good, in this room only (XEP-0421 §4)."""
        known = self._rooms.get(address)
        seat = None if known is None else known.people.get(person)
        return occupant_id(self._secret, address, person) if seat is None else seat.id

    def members(self, address: str, standing: str) -> list[str]:
        """List the people of XMPP who have that *standing*."""
        known = self._standings.get(address, {})
        return [bare for bare, value in known.items() if value == standing]

    def recipients(self, address: str) -> list[str]:
        """List the people of XMPP who may read what is said in the room."""
        room = self._rooms.get(address)
        seats = () if room is None else room.devices.values()
        inside = [seat.person.id for seat in seats]
        return list(dict.fromkeys((*inside, *self.members(address, MEMBER))))

    def _enter(self, portal: Portal) -> HostedRoom:
        room = HostedRoom(portal, self._means.domain, self._secret, self._stencils)
        self._rooms[room.address] = self._by_portal[portal.id] = room
        return room

    def _seat_again(self, occupant: Occupant) -> None:
        side = Room(Network.XMPP, occupant.room)
        portal = self._means.host.portal(side)
        if portal is None or portal.kind is not Kind.HOSTED:
            self._write(Unit(drop=[occupant]))
            return
        room = self._rooms.get(occupant.room) or self._enter(portal)
        person = Person(Network.XMPP, occupant.jid.partition("/")[0])
        seat = room.people.get(person.id)
        if seat is None:
            seat = room.welcome(person, room.nick(person, occupant.nick))
        room.enter(seat, occupant.jid)

    def _write(self, unit: Unit) -> None:
        future = self._means.store.commit(unit)
        future.add_done_callback(_look)


def remembered(parcel: Parcel) -> Said | None:
    """Read what a parcel said in its room, if it said anything there."""
    try:
        sheet = ready(parcel.wire.data)
    except UnknownFormatError:
        return None
    if not sheet.at_ms:
        return None
    return Said(parcel.id, sheet.at_ms, sheet.stanza, parcel.wire.key)


def _look(done: "asyncio.Future[frozenset[int]]") -> None:
    if not done.cancelled() and isinstance(done.exception(), StoreUnavailableError):
        logger.warning("who is in which room could not be written")
