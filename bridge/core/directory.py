"""Which rooms belong together. In memory whole, as it is small."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from bridge.core.ports import State, Unit
from bridge.model.delivery import Parcel
from bridge.model.events import Retitled, Subject
from bridge.model.places import Network, PortalId, Room
from bridge.model.records import Kind, Portal


class Place(NamedTuple):
    """A portal with what is asked about it all the time: its lane, and its sides."""

    portal: Portal
    lane: str
    matrix: Room
    xmpp: Room

    def side(self, network: Network) -> Room:
        """Name the room on *network*."""
        return self.matrix if network is Network.MATRIX else self.xmpp


class Directory:
    """The portals, by the room on either side."""

    def __init__(self, portals: Iterable[Portal] = ()) -> None:
        self._by_id: dict[PortalId, Place] = {}
        self._by_room: dict[Room, Place] = {}
        for portal in portals:
            self._enter(portal)

    def __iter__(self) -> Iterator[Portal]:
        return iter([place.portal for place in self._by_id.values()])

    def portal(self, room: Room) -> Portal | None:
        """Find the portal that *room*, on either network, is a side of."""
        place = self._by_room.get(room)
        return None if place is None else place.portal

    def place(self, room: Room) -> Place | None:
        """Find the portal that *room* is a side of, and what belongs to it."""
        return self._by_room.get(room)

    def far(self, portal: Portal, near: Room) -> Room:
        """Name the other side of *portal*."""
        place = self._by_id.get(portal.id)
        if place is not None and place.portal is portal:
            return place.side(near.network.other)
        return side(portal, near.network.other)

    def lane(self, room: Room) -> str:
        """Name the lane of *room*: both sides of a portal share one."""
        place = self._by_room.get(room)
        return unbridged(room) if place is None else place.lane

    def near_of(self, parcel: Parcel) -> Room:
        """Name the room in which whoever sent *parcel* waits for the outcome."""
        place = self._by_id.get(parcel.portal)
        if place is None:
            return Room(parcel.network.other, parcel.lane)
        return place.side(parcel.network.other)

    def far_of(self, parcel: Parcel) -> Room:
        """Name the room for which *parcel* is bound."""
        place = self._by_id.get(parcel.portal)
        if place is None:
            return Room(parcel.network, parcel.lane)
        return place.side(parcel.network)

    def by_id(self, number: PortalId) -> Portal | None:
        """Find the portal of that *number*."""
        place = self._by_id.get(number)
        return None if place is None else place.portal

    def put(self, portal: Portal, unit: Unit) -> None:
        """Remember *portal*, now and in *unit*."""
        self._enter(portal)
        unit.put.append(portal)

    def drop(self, portal: Portal, unit: Unit) -> None:
        """Forget *portal*, now and in *unit*."""
        self._leave(portal)
        unit.drop.append(portal)

    def note(self, portal: Portal, event: State, unit: Unit) -> None:
        """Remember what the home of *portal* calls its room, and what it is about."""
        home = Network.MATRIX if portal.kind is Kind.HOSTED else Network.XMPP
        if event.room.network is not home:
            return
        match event:
            case Subject(topic=topic) if topic != portal.topic:
                self.put(replace(portal, topic=topic), unit)
            case Retitled(title=title) if title != portal.name:
                self.put(replace(portal, name=title), unit)
            case _:
                return

    def _enter(self, portal: Portal) -> None:
        old = self._by_id.get(portal.id)
        if old is not None:
            self._leave(old.portal)
        matrix, xmpp = side(portal, Network.MATRIX), side(portal, Network.XMPP)
        place = Place(portal, str(portal.id), matrix, xmpp)
        self._by_id[portal.id] = self._by_room[matrix] = self._by_room[xmpp] = place

    def _leave(self, portal: Portal) -> None:
        place = self._by_id.pop(portal.id, None)
        for room in () if place is None else (place.matrix, place.xmpp):
            # By now another may have come in its place.
            if self._by_room.get(room) is place:
                del self._by_room[room]


def side(portal: Portal, network: Network) -> Room:
    """Name the room of *portal* on *network*."""
    address = portal.matrix if network is Network.MATRIX else portal.xmpp
    return Room(network, address)


def unbridged(room: Room) -> str:
    """Name the lane of a room that is bridged nowhere (yet)."""
    return f"{room.network.value} {room.address}"
