"""Writes what happened on XMPP as the orders that let Matrix see it."""

from collections.abc import Sequence
from functools import lru_cache

from bridge.core.ports import State
from bridge.matrix.codec import message, names
from bridge.matrix.presences import Presences
from bridge.matrix.wires import Says, Stands, Titles, content, wire
from bridge.model.delivery import Refusal, Route, Wire
from bridge.model.events import (
    Join,
    Leave,
    Message,
    Rename,
    Repictured,
    Retitled,
    Subject,
)
from bridge.model.places import Network, Person


class Outbound:
    """Events of XMPP become wires."""

    def __init__(self, server: str, presences: Presences) -> None:
        self._presences = presences
        self.ghost = lru_cache(10_000)(lambda person: names.ghost_mxid(person, server))

    def prepare(self, event: Message, route: Route) -> Sequence[Wire] | Refusal:
        """Write *event* for its room; one wire for each part of it."""
        room = route.room.address
        person = event.sender.id
        ghost = self.ghost(person)
        name = event.name
        carried = {message.HOPS: event.hops + 1}
        return [
            wire(Says(ghost, room, content(part | carried), name, person))
            for part in message.encode(event.content)
        ]

    async def apply(self, event: State, route: Route) -> Sequence[Wire]:
        """Write how things now stand, if it makes a difference here."""
        match event:
            case Join():
                return [self._named(event, route)]
            case Rename():
                room, ghost = route.room.address, self.ghost(event.sender.id)
                if await self._presences.find(room, ghost) is None:
                    return ()  # whoever comes in later does so under the new name
                return [self._named(event, route)]
            case Leave():
                return [self._left(event, route)]
            case Subject():
                return self._titled(event, route)
            case Retitled() | Repictured():
                return ()  # it took its name when it was made; ghosts have no pictures

    # Who is already there, or not there at all, is looked up only when the wire's
    # turn comes: others may be queued before it.

    def _named(self, event: Join | Rename, route: Route) -> Wire:
        person, room = event.sender.id, route.room.address
        ghost = self.ghost(person)
        return wire(Stands(ghost, room, ghost, "join", event.name, person))

    def _left(self, event: Leave, route: Route) -> Wire:
        room = route.room.address
        if event.person.network is Network.XMPP:
            ghost = self.ghost(event.person.id)
            return wire(Stands(ghost, room, ghost, "leave", reason=_farewell(event)))
        # Put out of the MUC: here our agent does the same, if it may.
        membership = "ban" if event.banned else "leave"
        agent, target = route.portal.agent, event.person.id
        return wire(Stands(agent, room, target, membership, reason=_farewell(event)))

    def _titled(self, event: Subject, route: Route) -> Sequence[Wire]:
        person, agent = event.sender, route.portal.agent
        user = self.ghost(person.id) if _is_somebody(person) else agent
        return [wire(Titles(user, agent, route.room.address, event.topic, person.id))]


def _farewell(event: Leave) -> str:
    if event.sender == event.person:
        return event.reason
    return f"{_by(event)}: {event.reason}" if event.reason else _by(event)


def _by(event: Leave) -> str:
    return f"{'banned' if event.banned else 'removed'} by {event.name or 'XMPP'}"


def _is_somebody(person: Person) -> bool:
    return person.network is Network.XMPP and bool(person.id)
