"""Who comes in, goes by another nick and goes out (XEP-0045 §7)."""

import secrets
import time
from collections.abc import Callable, Sequence
from xml.etree.ElementTree import Element

from bridge.model.delivery import Arrival
from bridge.model.pace import Pace
from bridge.model.places import Network, Person, Room
from bridge.xmpp.codec.fault import fault
from bridge.xmpp.codec.names import Jid
from bridge.xmpp.codec.nicks import safe_nick
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.gate import Addressed, addressed
from bridge.xmpp.muc import refusals
from bridge.xmpp.muc.history import DELAY, MUC, Wish, stamp
from bridge.xmpp.muc.packing import Moved, pack
from bridge.xmpp.muc.ports import Means
from bridge.xmpp.muc.presence import (
    CONFIGURED,
    MUC_USER,
    NICK_ASSIGNED,
    NICK_CHANGED,
    NON_ANONYMOUS,
    REVEALED,
    SELF,
    available,
    shared,
    unavailable,
)
from bridge.xmpp.muc.refusals import Fault
from bridge.xmpp.muc.room import HostedRoom, Seat
from bridge.xmpp.muc.rooms import MEMBER, OUTCAST, Rooms
from bridge.xmpp.muc.stanza import child

DEVICES_MAX = 32
REMINDED_OF_MAX = 500
MOVES_PER_MINUTE = 20
"""So often somebody may come in or change the nick; twice that after a rest."""

KICKABLE = frozenset(
    (
        "gone",
        "item-not-found",
        "jid-malformed",
        "recipient-unavailable",
        "remote-server-not-found",
        "remote-server-timeout",
        "service-unavailable",
    )
)


class Door:
    """Lets people of XMPP in and out of rooms that are loaded.

    *entered* is told of every device that came into a room that is not public.
    """

    def __init__(
        self,
        means: Means,
        rooms: Rooms,
        entered: Callable[[HostedRoom, str], None] = lambda _room, _device: None,
    ) -> None:
        self._entered = entered
        self._means = means
        self._rooms = rooms
        self._moves = Pace(MOVES_PER_MINUTE)

    def presence(self, room: HostedRoom, stanza: Element, sender: Jid, to: Jid) -> None:
        """Take the presence of a device, which is in *room* or wants to be."""
        device = sender.full
        seat = room.devices.get(device)
        kind = stanza.get("type", "")
        if kind == "unavailable" and seat is not None:
            self.leave(room, seat, device, shared(stanza, self._means.domain))
        elif kind:
            # XEP-0045 knows no other kind; probes and subscriptions mean nothing.
            return
        elif seat is None:
            self._join(room, stanza, sender, to)
        else:
            self._renew(room, seat, stanza, to)

    def bounced(self, room: HostedRoom, stanza: Element, device: str) -> None:
        """Take out a device that our stanzas no longer reach."""
        seat = room.devices.get(device)
        if seat is not None and fault(stanza).condition in KICKABLE:
            self.leave(room, seat, device, (), silent=True)

    def leave(
        self,
        room: HostedRoom,
        seat: Seat,
        device: str,
        status: tuple[Node, ...],
        *,
        silent: bool = False,
    ) -> None:
        """Let *device* go out, and its owner if it was the last (XEP-0045 §7.14)."""
        card = room.card(seat)._replace(status=status)
        if not silent:
            self._show(unavailable(card, (SELF,)), [device])
        room.part(seat, device)
        if not seat.devices:
            room.leave(seat)
            self._show(unavailable(card), list(room.devices))
            if not self._belongs(room, seat.person.id):
                self._tell(room, seat, "")
        self._rooms.leave(room, [device])

    def _belongs(self, room: HostedRoom, bare: str) -> bool:
        """Tell whether somebody is a member even while they are away.

        Who has left a Matrix room that is not open could not come in again.
        """
        if room.loaded and room.open:
            return False
        return self._rooms.standing(room.address, bare) == MEMBER

    def _join(self, room: HostedRoom, stanza: Element, sender: Jid, to: Jid) -> None:
        joins = child(stanza, MUC, "x")
        if joins is None or not to.resource:
            why = refusals.LOST_TOUCH if joins is None else refusals.NO_NICK
            self._refuse(stanza, why)
            return
        nick = safe_nick(to.resource, sender.local)
        bare, device = sender.bare, sender.full
        if (barred := self._barred(room, bare, nick)) is not None:
            self._refuse(stanza, barred)
            return
        seat = room.people.get(bare)
        if seat is None:
            seat = room.welcome(Person(Network.XMPP, bare), nick)
            seat.status = shared(stanza, self._means.domain)
            others = room.presence(seat).fan_out(list(room.devices))
            self._means.stream.write(others)
            self._tell(room, seat, seat.nick, first=True)
        room.enter(seat, device)
        self._rooms.enter(room, device, seat.nick)
        if not room.public and self._rooms.standing(room.address, bare) != MEMBER:
            # Others encrypt for members only.
            self._rooms.set_standing(room.address, bare, MEMBER)
        self._answer(room, seat, stanza, to.resource)
        if not room.public:
            self._entered(room, device)

    def _barred(self, room: HostedRoom, bare: str, nick: str) -> Fault | None:
        standing = self._rooms.standing(room.address, bare)
        if standing == OUTCAST:
            return refusals.OUTCAST
        if not room.open and standing != MEMBER:
            return refusals.MEMBERS_ONLY
        if self._means.host.bars(Person(Network.XMPP, bare)):
            return refusals.OUTCAST
        seat = room.people.get(bare)
        if seat is None:
            if not self._moves.allows((room.address, bare)):
                return refusals.TOO_FAST
            return refusals.NICK_TAKEN if room.holder(nick) else None
        return refusals.TOO_BUSY if len(seat.devices) >= DEVICES_MAX else None

    def _renew(self, room: HostedRoom, seat: Seat, stanza: Element, to: Jid) -> None:
        """Take a presence of a device that is in *room*.

        One that joins again has lost its state, and is told everything.
        """
        nick = safe_nick(to.resource, seat.nick)
        if nick != seat.nick and not self._rename(room, seat, stanza, nick):
            return
        if child(stanza, MUC, "x") is not None:
            self._answer(room, seat, stanza, to.resource)
        elif (status := shared(stanza, self._means.domain)) != seat.status:
            seat.status = status
            seat.shown = None
            self._show_seat(room, seat)

    def _rename(self, room: HostedRoom, seat: Seat, stanza: Element, nick: str) -> bool:
        """Give *seat* another nick (XEP-0045 §7.6), and tell if that was possible."""
        if room.holder(nick) not in (None, seat):
            self._refuse(stanza, refusals.NICK_TAKEN)
            return False
        if not self._moves.allows((room.address, seat.person.id)):
            self._refuse(stanza, refusals.TOO_FAST)
            return False
        card = room.card(seat)
        everybody = list(room.devices)
        self._show(unavailable(card, (NICK_CHANGED,), nick=nick), everybody, seat)
        seat.status = shared(stanza, self._means.domain)
        room.rename(seat, nick, nick)
        self._show_seat(room, seat)
        for device in seat.devices:
            self._rooms.enter(room, device, nick)
        self._tell(room, seat, nick)
        return True

    def _answer(
        self, room: HostedRoom, seat: Seat, stanza: Element, asked: str
    ) -> None:
        """Tell a device all about the room, in the order of XEP-0045 §7.1."""
        device = stanza.get("from", "")
        room.told[device] = room.history.newest
        joins = child(stanza, MUC, "x")
        wish = Wish() if joins is None else Wish.of(joins, now_ms())
        parts = [
            *(room.presence(s) for s in tuple(room.seats.values()) if s is not seat),
            self._myself(room, seat, renamed=seat.nick != asked),
            *room.history.pick(wish),
            self._subject(room),
        ]
        self._means.stream.write(b"".join([part.to(device) for part in parts]))

    def remind(self, room: HostedRoom) -> None:
        """Tell everybody in *room* anew that they are in it.

        A client that came back before we did was told that we are away, and some
        wait for ever for what would end their join.
        """
        seats = tuple(room.seats.values())
        shown = seats if len(seats) <= REMINDED_OF_MAX else ()
        for seat in seats:
            parts = [
                *(room.presence(other) for other in shown if other is not seat),
                self._myself(room, seat),
                self._subject(room),
            ]
            for device in seat.devices:
                data = b"".join([part.to(device) for part in parts])
                self._means.stream.write(data)

    def reveal(self, room: HostedRoom) -> None:
        """Let everybody in *room* know who the others are: it is encrypted now.

        Their clients ask anew what the room is (XEP-0045 §10.2.1), and for whom to
        encrypt.
        """
        room.close()
        for seat in room.devices.values():
            self._rooms.set_standing(room.address, seat.person.id, MEMBER)
        codes = [node("status", {"code": str(c)}) for c in (CONFIGURED, REVEALED)]
        said = node("x", {"xmlns": MUC_USER}, *codes)
        attributes = {"type": "groupchat", "from": room.address}
        self._show(node("message", attributes, said), list(room.devices))
        self.remind(room)

    def _myself(
        self, room: HostedRoom, seat: Seat, *, renamed: bool = False
    ) -> Addressed:
        """Write what tells a device of *seat* that it is in (XEP-0045 §7.2.2)."""
        codes = [SELF]
        if not room.public:
            codes.append(NON_ANONYMOUS)
        if renamed:
            codes.append(NICK_ASSIGNED)
        return addressed(available(room.card(seat), codes), self._means.domain)

    def _subject(self, room: HostedRoom) -> Addressed:
        return addressed(subject(room, late=True), self._means.domain)

    def _show_seat(self, room: HostedRoom, seat: Seat) -> None:
        self._show(available(room.card(seat)), list(room.devices), seat)

    def _show(
        self,
        presence: Node,
        devices: Sequence[str],
        seat: Seat | None = None,
    ) -> None:
        """Send *presence* to *devices*; to those of *seat* it is about themselves."""
        mine = () if seat is None else tuple(seat.devices)
        rest = [device for device in devices if device not in mine]
        data = addressed(presence, self._means.domain).fan_out(rest)
        if mine:
            own = addressed(about_self(presence), self._means.domain)
            data += own.fan_out(mine)
        if data:
            self._means.stream.write(data)

    def _refuse(self, stanza: Element, why: Fault) -> None:
        self._means.write(refusals.refuse(stanza, why))

    def _tell(
        self, room: HostedRoom, seat: Seat, nick: str, *, first: bool = False
    ) -> None:
        """Let Matrix know, in order with what the occupant says."""
        mark = secrets.token_hex(12)
        moved = Moved(room.address, seat.person.id, nick, first, mark, now_ms())
        side = Room(Network.XMPP, room.address)
        self._means.inbound.add(Arrival(side, mark, pack(moved)))


def about_self(presence: Node) -> Node:
    """Mark *presence* as being about whom it goes to (status 110)."""
    status = node("status", {"code": str(SELF)})
    children = tuple(
        part._replace(children=(*part.children, status))
        if isinstance(part, Node) and part.name == "x" and _is_muc(part)
        else part
        for part in presence.children
    )
    return presence._replace(children=children)


def subject(room: HostedRoom, *, late: bool = False) -> Node:
    """Write the topic, even an empty one: it ends every join (§7.2.15).

    It is of who set it, if they are still there. If *late*, it says when that was.
    """
    topic, address = room.topic, room.address
    seat = room.people.get(topic.by)
    sender = address if seat is None else f"{address}/{seat.nick}"
    parts = [node("subject", None, *((topic.words,) if topic.words else ()))]
    if late and topic.at_ms:
        since = {"xmlns": DELAY, "from": address, "stamp": stamp(topic.at_ms)}
        parts.append(node("delay", since))
    return node("message", {"type": "groupchat", "from": sender}, *parts)


def now_ms() -> int:
    """Tell the time."""
    return time.time_ns() // 1_000_000


def _is_muc(part: Node) -> bool:
    return part.attributes.get("xmlns", "").startswith(MUC)
