"""The MUC service that we host: Matrix rooms as XEP-0045 rooms."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

from bridge.core.ports import Host, State, Store, Unit
from bridge.model.delivery import (
    Arrival,
    Later,
    Outcome,
    Parcel,
    Refusal,
    Route,
    Taken,
    Unreadable,
    Wire,
)
from bridge.model.events import AnyEvent, Invite, Join, Leave, Message, Rename
from bridge.model.places import Network, Person, Room
from bridge.model.records import Portal
from bridge.xmpp.checking import Company
from bridge.xmpp.codec.message import OWN_WORDS, origin_ref
from bridge.xmpp.codec.names import Jid, puppet_jid
from bridge.xmpp.codec.xml import node
from bridge.xmpp.endtoend import EndToEnd
from bridge.xmpp.gate import addressed
from bridge.xmpp.hopes import Hopes
from bridge.xmpp.muc import packing, refusals
from bridge.xmpp.muc.disco import Questions
from bridge.xmpp.muc.entrance import Entrance
from bridge.xmpp.muc.fanout import Fanout
from bridge.xmpp.muc.join import Door
from bridge.xmpp.muc.messages import Messages, Spoken
from bridge.xmpp.muc.news import News
from bridge.xmpp.muc.packing import Moved, Said, UnknownFormatError, sheet
from bridge.xmpp.muc.ports import Inbound, Means, Stream
from bridge.xmpp.muc.presence import MUC_USER, SELF
from bridge.xmpp.muc.room import HostedRoom
from bridge.xmpp.muc.rooms import MEMBER, Rooms
from bridge.xmpp.muc.secrecy import Secrecy
from bridge.xmpp.muc.stanza import split
from bridge.xmpp.written import NOTHING, Marks

logger = logging.getLogger(__name__)

DELETED = (
    "the Matrix room was deleted; what was said here last may have reached nobody."
    " Who joins again comes into the new one, if there is any"
)
_DESTROYED = node(
    "x",
    {"xmlns": MUC_USER},
    node("item", {"affiliation": "none", "role": "none"}),
    node("destroy", None, node("reason", None, DELETED)),
    node("status", {"code": str(SELF)}),
)


class Hosted:
    """The venue for rooms that we host.

    *refused* counts the stanzas that nothing could be made of. *met* hears of the
    presences of who is, or was, in a room that is not public.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the edge of the adapter meets all its parts
        self,
        domain: str,
        stream: Stream,
        host: Host,
        store: Store,
        inbound: Inbound,
        tasks: asyncio.TaskGroup,
        marks: Marks = NOTHING,
        endtoend: EndToEnd | None = None,
        hopes: Hopes | None = None,
    ) -> None:
        means = Means(domain, stream, host, store, inbound, tasks, endtoend)
        self.refused = 0
        self.met: Callable[[Element, Jid], None] = lambda _stanza, _sender: None
        self._lost = False
        self._means = means
        self._rooms = Rooms(means)
        self._secrecy = Secrecy(means, self._rooms, hopes)
        self._door = Door(means, self._rooms, self._secrecy.entered)
        self._secrecy.reveal = self._door.reveal
        self._entrance = Entrance(means, self._rooms, self.received)
        self._messages = Messages(means, self._rooms, self._secrecy)
        self._questions = Questions(means, self._rooms)
        self._news = News(means, self._rooms)
        self._fanout = Fanout(means, self._rooms, marks, self._secrecy)

    @property
    def tag(self) -> bytes:
        """The first byte of all that this venue writes for itself."""
        return packing.TAG

    async def start(self) -> None:
        """Restore who is in which room."""
        await self._rooms.restore()

    def received(self, stanza: Element, sender: Jid, to: Jid) -> None:
        """Take a stanza to a room or to an occupant."""
        try:
            if sender.domain == self._means.domain:
                self.refused += 1  # nobody of ours writes to a room of ours
            else:
                self._route(stanza, sender, to)
        except Exception:
            # The end of the line for a stanza: it must not stop the stream.
            self.refused += 1
            logger.exception("a stanza from %s makes no sense", sender.bare)

    async def up(self) -> None:
        """Learn who is in the rooms that were restored; remind them if we were away."""
        if self._lost:
            self._lost = False
            self._means.tasks.create_task(self._remind(), name="remind occupants")
        if self._rooms.unloaded():
            self._means.tasks.create_task(self._load(), name="load hosted rooms")

    def down(self) -> None:
        """Keep everybody in their rooms: bounces will tell who is gone."""
        self._lost = True

    def company(self, address: str) -> Company:
        """Name who meets in a room that we host; see ``Checking``."""
        return self._secrecy.company(address)

    def glance(self, arrival: Arrival) -> Message | None:
        """Make a message of what came, if it is plain to see; see ``Adapter``."""
        try:
            kept = packing.arrival(arrival.raw)
        except UnknownFormatError:
            return None
        return self._messages.glance(kept, arrival) if isinstance(kept, Said) else None

    async def read(self, taken: Taken, unit: Unit) -> AnyEvent | Unreadable | None:
        """Make an event of what came; see ``Adapter``."""
        raw = taken.arrival.raw
        try:
            kept = packing.arrival(raw)
        except UnknownFormatError:
            logger.exception("arrival %d is in no format of ours", taken.seq)
            return None
        if isinstance(kept, Moved):
            return _moved(kept)
        return await self._messages.read(kept, taken, unit)

    def receipt(self, event: Message) -> bytes:
        """Note what *settle* needs; see ``Adapter``."""
        return event.raw if isinstance(event, Spoken) else b""

    def settle(self, receipt: bytes, outcome: Outcome) -> Sequence[Wire]:
        """Reflect or refuse a message; see ``Adapter``."""
        try:
            return self._messages.settle(receipt, outcome)
        except UnknownFormatError:
            logger.exception("a receipt is in no format of ours")
            return ()

    def prepare(self, event: Message, route: Route) -> Sequence[Wire] | Refusal:
        """Write a message from Matrix; see ``Adapter``."""
        return self._news.prepare(event, route)

    async def apply(self, event: State, route: Route) -> Sequence[Wire]:
        """Show how things now stand on Matrix; see ``Adapter``."""
        return await self._news.apply(event, route)

    async def send(self, parcels: Sequence[Parcel]) -> Sequence[Outcome | Later]:
        """Send to all who are there; see ``Adapter``."""
        return await self._fanout.send(parcels)

    def notice(self, room: Room, words: str) -> Sequence[Wire]:
        """Let the room itself say *words*."""
        attributes = {"type": "groupchat", "from": room.address}
        stanza = node("message", attributes, node("body", None, words), OWN_WORDS)
        data = sheet(addressed(stanza, self._means.domain))
        return (Wire(f"notice/{secrets.token_hex(12)}", data),)

    def depart(self, portal: Portal) -> Sequence[Wire]:
        """Put everybody out of a room that is no more (XEP-0045 §10.9); forget it."""
        address, token = portal.xmpp, secrets.token_hex(12)
        room = self._rooms.get(address)
        wires: list[Wire] = []
        for device, seat in () if room is None else room.devices.items():
            about = {"from": f"{address}/{seat.nick}", "type": "unavailable"}
            bye = addressed(node("presence", about, _DESTROYED), self._means.domain)
            wires.append(Wire(f"{token}/{len(wires)}", sheet(bye, to=(device,))))
        self._rooms.abandon(address)
        return wires

    async def invite(self, invite: Invite, portal: Portal) -> Refusal | None:
        """Ask somebody of XMPP in, who then may come (XEP-0045 §7.8.2)."""
        bare = invite.person.id
        self._rooms.set_standing(portal.xmpp, bare, MEMBER)
        asker = puppet_jid(invite.sender.id, self._means.domain)
        # The address of a room without an alias tells people nothing, nor does that
        # of whoever asks where a client shows the room's instead.
        who = await self._means.host.called(invite.sender) or invite.sender.id
        words = f"{who} invites you to {portal.name or 'a room'} on Matrix"
        why = node("reason", None, words)
        direct = {"xmlns": "jabber:x:conference", "jid": portal.xmpp, "reason": words}
        stanza = node(
            "message",
            {"from": portal.xmpp, "to": bare, "id": invite.ref.id},
            node("x", {"xmlns": MUC_USER}, node("invite", {"from": str(asker)}, why)),
            node("x", direct),
        )
        data = sheet(addressed(stanza, self._means.domain), to=(bare,))
        side = Room(Network.XMPP, portal.xmpp)
        wires = [Wire(f"{invite.ref.id}/invite", data)]
        wires.extend(self._news.belongs(portal.xmpp, bare, MEMBER, invite.ref.id))
        self._means.host.later(side, wires)
        return None

    def _route(self, stanza: Element, sender: Jid, to: Jid) -> None:
        _, name = split(stanza.tag)
        room = self._rooms.get(to.bare)
        inside = room is not None and sender.full in room.devices
        if name == "iq" and not self._entrance.keeps(to.bare, sender):
            self._questions.iq(room, stanza, sender, to)
        elif stanza.get("type") == "error":
            if room is not None:
                self._door.bounced(room, stanza, sender.full)
        elif self._entrance.holds(to.bare) and not inside:
            self._entrance.wait((stanza, sender, to))
        elif room is not None and (inside or room.loaded):
            if name == "presence":
                self._door.presence(room, stanza, sender, to)
                self._meet(room, stanza, sender, inside=inside)
            else:
                self._messages.message(room, stanza, sender, to)
        else:
            self._outside(stanza, sender, to)

    def _meet(
        self, room: HostedRoom, stanza: Element, sender: Jid, *, inside: bool
    ) -> None:
        if not room.public and (inside or sender.full in room.devices):
            self.met(stanza, sender)

    def _outside(self, stanza: Element, sender: Jid, to: Jid) -> None:
        """Take what comes to a room that its sender cannot be in."""
        if split(stanza.tag)[1] == "message":
            self._means.write(refusals.refuse(stanza, refusals.NOT_IN_ROOM))
        elif not stanza.get("type"):
            self._entrance.knock(stanza, sender, to)

    async def _remind(self) -> None:
        for room in self._rooms.occupied():
            self._door.remind(room)
            await self._means.stream.drained()

    async def _load(self) -> None:
        for room in self._rooms.unloaded():
            try:
                await self._rooms.load(room)
            except Exception:
                # The end of the line: the next stream, or guest, tries again.
                logger.exception("who is in %s cannot be learnt now", room.address)


def _moved(moved: Moved) -> Join | Rename | Leave:
    """Make an event of an occupant's coming, renaming or going."""
    person = Person(Network.XMPP, moved.bare)
    ref = origin_ref(person, moved.mark)
    room = Room(Network.XMPP, moved.room)
    sent_at = datetime.fromtimestamp(moved.at_ms / 1000, UTC)
    name = moved.nick
    if not name:
        return Leave(ref=ref, room=room, sender=person, sent_at=sent_at, person=person)
    kind = Join if moved.first else Rename
    return kind(ref=ref, room=room, sender=person, sent_at=sent_at, name=name)
