"""What happens in the Matrix room, as the occupants see it."""

import logging
from collections.abc import Sequence
from datetime import datetime

from bridge.core.ports import State
from bridge.model.delivery import Refusal, Route, Wire
from bridge.model.events import (
    Join,
    Leave,
    Message,
    Rank,
    Rename,
    Repictured,
    Retitled,
    Subject,
)
from bridge.model.places import Network
from bridge.xmpp.codec.message import LATE, about, around, bodies, words
from bridge.xmpp.codec.names import puppet_jid
from bridge.xmpp.codec.nicks import safe_nick
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.gate import StanzaError, addressed
from bridge.xmpp.muc import stencil
from bridge.xmpp.muc.join import about_self, now_ms, subject
from bridge.xmpp.muc.packing import guarded, sheet
from bridge.xmpp.muc.ports import Means
from bridge.xmpp.muc.presence import (
    BANNED,
    CONFIGURED,
    KICKED,
    MUC_USER,
    NICK_CHANGED,
    belongs,
    unavailable,
)
from bridge.xmpp.muc.room import HostedRoom, Seat, Topic
from bridge.xmpp.muc.rooms import OUTCAST, Rooms
from bridge.xmpp.packing import AS_IT_IS, AS_THE_CHAT, GUARDED

logger = logging.getLogger(__name__)

LATE_MS = LATE.total_seconds() * 1000


class News:
    """Writes what people of Matrix say and do.

    Who sits where changes here at once, in the order in which things happened; the
    occupants learn it by wires, in order with the messages.
    """

    def __init__(self, means: Means, rooms: Rooms) -> None:
        self._means = means
        self._rooms = rooms

    def prepare(self, event: Message, route: Route) -> Sequence[Wire] | Refusal:
        """Write *event* for all who will be in the room when it is sent."""
        address = route.room.address
        room = self._rooms.get(address)
        wires: list[Wire] = []
        try:
            if room is None:
                nick = safe_nick(event.name, _local(event.sender.id))
                occupant = self._rooms.occupant_id(address, event.sender.id)
            else:
                seat = room.people.get(event.sender.id)
                if seat is None:
                    seat = room.seat(event.sender, event.name, Rank.MEMBER)
                    seat.debut = event.ref.id
                if seat.debut == event.ref.id:
                    # Perhaps once more, if what was written then could not be kept.
                    wires.extend(self._seen(room, seat, event.ref.id))
                nick, occupant = seat.nick, seat.id
            wires.extend(self._said(event, address, (nick, occupant)))
        except StanzaError as error:
            logger.info("%s cannot be written: %s", event.ref.id, error)
            return Refusal.TOO_LARGE
        return wires

    async def apply(  # noqa: PLR0911 - one for each kind of event
        self, event: State, route: Route
    ) -> Sequence[Wire]:
        """Change who is in the room, or what it is about."""
        room = self._rooms.get(route.room.address)
        match event:
            case Leave() if event.person.network is Network.XMPP:
                return self._put_out(event, route.room.address, room)
            case _ if room is None:
                return ()
            case Join():
                return self._joined(event, room)
            case Rename():
                return self._renamed(event, room)
            case Leave():
                return self._left(event, room)
            case Subject() | Retitled():
                return self._titled(event, room)
            case Repictured():
                return ()  # their puppet shows it

    def _said(
        self, event: Message, address: str, sender: tuple[str, str]
    ) -> list[Wire]:
        now, domain = now_ms(), self._means.domain
        at_ms = min(_ms(event.sent_at), now)
        guard = self._guard(event, address)
        late = now - at_ms >= LATE_MS
        wires: list[Wire] = []
        for number, body in enumerate(bodies(event.content), 1):
            name = event.ref.id if number == 1 else f"{event.ref.id}/{number}"
            if late:
                inside = words(body.text), *around(styled=body.styled), *about(event)
                stanza = stencil.said(address, sender, (name, name), inside, domain)
            else:
                hops = event.hops + 1
                stanza = stencil.spoken(address, sender, name, body, hops, domain)
            if guard == AS_IT_IS:
                data = sheet(stanza, at_ms)
            else:
                account = puppet_jid(event.sender.id, domain)
                data = guarded(stanza, at_ms, guard, account)
            wires.append(Wire(name, data, archived=True))
        return wires

    def _guard(self, event: Message, address: str) -> int:
        """Tell how what somebody of Matrix says may leave."""
        if event.protection:
            return GUARDED
        return AS_THE_CHAT if address in self._rooms.sealed else AS_IT_IS

    def _joined(self, event: Join, room: HostedRoom) -> Sequence[Wire]:
        if event.sender.network is Network.XMPP:
            return ()
        room.gone.discard(event.sender.id)
        seat = room.people.get(event.sender.id)
        if seat is None:
            seat = room.seat(event.sender, event.name, event.rank)
        else:
            seat.rank = event.rank
            seat.shown = None
        return self._seen(room, seat, event.ref.id)

    def _renamed(self, event: Rename, room: HostedRoom) -> Sequence[Wire]:
        seat = room.people.get(event.sender.id)
        if seat is None or seat.person.network is Network.XMPP:
            return ()
        if seat.name == event.name:
            return ()
        old = room.card(seat)
        nick = room.nick(event.sender, event.name)
        room.rename(seat, nick, event.name)
        wires: list[Wire] = []
        if not old.address.endswith(f"/{nick}"):
            bye = unavailable(old, (NICK_CHANGED,), nick=nick)
            wires.extend(self._wire(room, bye, f"{event.ref.id}/old"))
        wires.extend(self._seen(room, seat, event.ref.id))
        return wires

    def _left(self, event: Leave, room: HostedRoom) -> Sequence[Wire]:
        seat = room.people.get(event.person.id)
        if seat is None:
            room.gone.add(event.person.id)
            return ()
        bye = self._farewell(event, room, seat)
        room.leave(seat)
        return self._wire(room, bye, f"{event.ref.id}/left")

    def _put_out(
        self, event: Leave, address: str, room: HostedRoom | None
    ) -> Sequence[Wire]:
        """Put somebody of XMPP out; whoever was banned does not come in again."""
        standing = OUTCAST if event.banned else ""
        self._rooms.set_standing(address, event.person.id, standing)
        seat = None if room is None else room.people.get(event.person.id)
        if room is None or seat is None:
            return self.belongs(address, event.person.id, "none", event.ref.id)
        bye = self._farewell(event, room, seat)
        devices = list(seat.devices)
        room.leave(seat)
        self._rooms.leave(room, devices)
        own = addressed(about_self(bye), self._means.domain)
        data = sheet(own, to=tuple(devices))
        name = f"{event.ref.id}/left"
        return (Wire(f"{name}/self", data), *self._wire(room, bye, name))

    def belongs(
        self, address: str, bare: str, affiliation: str, name: str
    ) -> Sequence[Wire]:
        """Say in a room that is not public who belongs to it, though not there."""
        room = self._rooms.get(address)
        if room is None or room.public or bare in room.people:
            return ()
        return self._wire(room, belongs(address, bare, affiliation), f"{name}/belongs")

    def _farewell(self, event: Leave, room: HostedRoom, seat: Seat) -> Node:
        """Say how somebody went: of themselves, or put out (XEP-0045 §8.2, §9.1)."""
        card = room.card(seat)._replace(status=(), affiliation="none")
        if event.sender == event.person:
            return unavailable(card)
        actor = room.people.get(event.sender.id)
        return unavailable(
            card,
            (BANNED if event.banned else KICKED,),
            actor="" if actor is None else actor.nick,
            reason=event.reason,
        )

    def _titled(self, event: Subject | Retitled, room: HostedRoom) -> Sequence[Wire]:
        if isinstance(event, Retitled):
            return self._retitled(event, room)
        return self._subject(event, room)

    def _subject(self, event: Subject, room: HostedRoom) -> Sequence[Wire]:
        room.topic = Topic(event.topic, event.sender.id, _ms(event.sent_at))
        return self._wire(room, subject(room), event.ref.id)

    def _retitled(self, event: Retitled, room: HostedRoom) -> Sequence[Wire]:
        """Say that the room is another than before: clients ask then (§10.2.1)."""
        title = event.title or room.portal.alias
        if title == room.name:
            return ()
        room.name = title
        said = node("x", {"xmlns": MUC_USER}, node("status", {"code": str(CONFIGURED)}))
        message = node("message", {"type": "groupchat", "from": room.address}, said)
        return self._wire(room, message, event.ref.id)

    def _seen(self, room: HostedRoom, seat: Seat, name: str) -> Sequence[Wire]:
        if not room.devices:
            return ()
        return (Wire(f"{name}/presence", sheet(room.presence(seat))),)

    def _wire(self, room: HostedRoom, stanza: Node, name: str) -> Sequence[Wire]:
        """Write *stanza* for all in *room*; nobody needs it who comes later."""
        if not room.devices:
            return ()
        return (Wire(name, sheet(addressed(stanza, self._means.domain))),)


def _ms(moment: datetime) -> int:
    return max(1, int(moment.timestamp() * 1000))


def _local(mxid: str) -> str:
    return mxid.lstrip("@").partition(":")[0]
