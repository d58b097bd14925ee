"""What occupants say: from the stream to Matrix, and back to all of the room."""

import hashlib
import logging
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

from bridge.core.ports import Unit
from bridge.model.delivery import (
    Arrival,
    Delivered,
    Outcome,
    Refusal,
    Refused,
    Taken,
    Unreadable,
    Wire,
)
from bridge.model.events import Command, Content, Message, Protection, Rank, Text
from bridge.model.frozen import dataclass
from bridge.model.pace import Pace
from bridge.model.places import Network, Person, Room
from bridge.xmpp import reactions, replies
from bridge.xmpp.codec.message import OWN_WORDS, decode, hops, origin_ref
from bridge.xmpp.codec.names import Jid
from bridge.xmpp.codec.xml import node
from bridge.xmpp.gate import Addressed, StanzaError, addressed
from bridge.xmpp.means import COMMAND
from bridge.xmpp.muc import refusals, stencil
from bridge.xmpp.muc.history import DELAY, MUC
from bridge.xmpp.muc.join import now_ms
from bridge.xmpp.muc.packing import Said, arrival, pack, sheet
from bridge.xmpp.muc.ports import Means
from bridge.xmpp.muc.presence import MUC_USER
from bridge.xmpp.muc.refusals import Fault
from bridge.xmpp.muc.room import HostedRoom, Seat
from bridge.xmpp.muc.rooms import Rooms
from bridge.xmpp.muc.secrecy import Secrecy
from bridge.xmpp.muc.stanza import (
    STREAM,
    TooDeepError,
    child,
    split,
    to_node,
    wrap,
)
from bridge.xmpp.muc.stencil import OCCUPANT_ID, STANZA_IDS
from bridge.xmpp.repeats import Repeats

logger = logging.getLogger(__name__)

_HIDDEN = (None, Refusal.ENCRYPTED)
_SEALED = (
    "{eu.siacs.conversations.axolotl}encrypted",
    "{urn:xmpp:omemo:2}encrypted",
)

CHAT_STATES = "http://jabber.org/protocol/chatstates"
HINTS = "urn:xmpp:hints"
MARK_CHARS_MAX = 200
FLEETING_PER_MINUTE = 60
"""So many chat states of a device are shown, and twice that at once."""
SURELY_SMALL_BYTES = 30_000
"""Escaping makes nothing more than six times as large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken(Message):
    """A message of an occupant; *raw* is how it was kept."""

    raw: bytes


class Messages:
    """Takes what occupants say, and reflects it once Matrix has it."""

    def __init__(self, means: Means, rooms: Rooms, secrecy: Secrecy) -> None:
        self._means = means
        self._secrecy = secrecy
        self._rooms = rooms
        self._fleeting = Pace(FLEETING_PER_MINUTE)
        self._repeats = Repeats()
        self._reactions = reactions.Reactions()

    def message(self, room: HostedRoom, stanza: Element, sender: Jid, to: Jid) -> None:
        """Take a message that is no error."""
        seat = room.devices.get(sender.full)
        kind = stanza.get("type", "normal")
        if kind == "headline":
            return
        if seat is None:
            self._refuse(stanza, refusals.NOT_IN_ROOM)
        elif to.resource:
            self._whispered(stanza, kind)
        elif kind == "groupchat":
            self._said(room, seat, stanza)
        else:
            # Invitations through the room (§7.8.2) and requests for voice (§7.13).
            self._refuse(stanza, refusals.NO_INVITATION)

    def glance(self, said: Said, arrival: Arrival) -> Spoken | None:
        """Make a message of what was *said*, if it is plain to see."""
        stanza = wrap("message", {"type": "groupchat", "id": said.id}, said.inside)
        content = decode(stanza)
        if not isinstance(content, Text) or self._secrecy.notices(said):
            return None
        if content.body.plain.startswith(COMMAND):
            return None
        event = self._event(said, arrival.raw, content, (stanza, Protection.TRANSPORT))
        return event if isinstance(event, Spoken) else None

    async def read(
        self, said: Said, taken: Taken, unit: Unit
    ) -> Spoken | Command | Unreadable | None:
        """Make an event of what was kept."""
        raw = taken.arrival.raw
        stanza = wrap("message", {"type": "groupchat", "id": said.id}, said.inside)
        content = decode(stanza)
        protection = Protection.TRANSPORT
        if content in _HIDDEN and self._secrecy.opens(stanza):
            key = taken.arrival.key
            opened = await self._secrecy.open(said, stanza, key, unit)
            if opened is None:
                return None
            if isinstance(opened, Refused):
                return Unreadable(opened.why, raw, opened.detail)
            stanza, content = opened, decode(opened)
            protection = Protection.END_TO_END
        if content is None:
            # It says nothing on Matrix, but those in the room may understand it.
            side = Room(Network.XMPP, said.room)
            self._means.host.later(side, self._reflected(said, said.mark))
            self._regret(stanza, said.room, said.device)
            return None
        if isinstance(content, Refusal):
            self._secrecy.strange(said, stanza)
            return Unreadable(content, raw)
        if not protection:
            self._secrecy.clear(said, unit)
        return self._event(said, raw, content, (stanza, protection))

    def _event(
        self, said: Said, raw: bytes, content: Content, came: tuple[Element, Protection]
    ) -> Spoken | Command:
        stanza, protection = came
        sender = Person(Network.XMPP, said.device.partition("/")[0])
        side = Room(Network.XMPP, said.room)
        at = datetime.fromtimestamp(said.at_ms / 1000, UTC)
        if content.body.plain.startswith(COMMAND):
            # It is for us and not for Matrix; the room sees what is answered.
            self._means.host.later(side, self._reflected(said, said.mark))
            return Command(
                ref=origin_ref(sender, said.mark),
                room=side,
                sender=sender,
                sent_at=at,
                name=said.nick,
                protection=protection,
                words=content.body.plain.removeprefix(COMMAND),
                rank=Rank.GUEST,  # who rules here is decided on Matrix
            )
        return Spoken(
            ref=origin_ref(sender, said.mark),
            room=side,
            sender=sender,
            sent_at=at,
            name=said.nick,
            protection=protection,
            content=content,
            hops=hops(stanza),
            raw=raw,
        )

    def settle(self, receipt: bytes, outcome: Outcome) -> Sequence[Wire]:
        """Reflect what has arrived (XEP-0045 §7.4), or tell its sender why not."""
        said = arrival(receipt)
        if not isinstance(said, Said):
            return ()
        if isinstance(outcome, Delivered):
            name = outcome.refs[0].id if outcome.refs else said.mark
            return self._reflected(said, name)
        fault = refusals.of_refusal(outcome.why, outcome.detail)
        came = {"from": said.device, "to": said.room, "id": said.id}
        answer = replies.error(wrap("message", came, ()), *fault)
        data = sheet(addressed(answer, self._means.domain), to=(said.device,))
        return (Wire(f"{said.mark}/{fault.condition}/{said.at_ms}", data),)

    def _said(self, room: HostedRoom, seat: Seat, stanza: Element) -> None:
        body = _words(stanza)
        if body is None and child(stanza, STREAM, "subject") is not None:
            self._refuse(stanza, refusals.NO_SUBJECT)
            return
        try:
            said = _said(room, seat, stanza)
            raw = pack(said)
            if len(raw) > SURELY_SMALL_BYTES:
                self._reflection(said, said.mark, seat.nick)
        except TooDeepError:
            self._refuse(stanza, refusals.of_refusal(Refusal.MALFORMED))
        except StanzaError:
            self._refuse(stanza, refusals.of_refusal(Refusal.TOO_LARGE))
        else:
            if body is None:
                self._pass_on(room, said, stanza)
                return
            side = Room(Network.XMPP, room.address)
            self._means.inbound.add(Arrival(side, self._key(said, body), raw))

    def _key(self, said: Said, body: str) -> str:
        """Tell a message from all others; without an id there is nothing to tell by."""
        if not said.id:
            return secrets.token_hex(16)
        bare = said.device.partition("/")[0]
        return self._repeats.name(said.room, bare, said.id, body)

    def _pass_on(self, room: HostedRoom, said: Said, stanza: Element) -> None:
        """Show at once what says nothing lasting: chat states, markers, reactions."""
        found = decode(stanza)
        if isinstance(found, Refusal):
            self._refuse(stanza, refusals.of_refusal(found))
            return
        if _is_fleeting(stanza) and not self._fleeting.allows(said.device):
            return  # nobody misses one of so many
        reflection = self._reflection(said, "", said.nick)
        self._means.stream.write(reflection.fan_out(list(room.devices)))
        self._regret(stanza, room.address, said.device)

    def _regret(self, stanza: Element, room: str, device: str) -> None:
        """Say, once in a room, that reactions do not cross."""
        if self._reactions.tells(stanza, room):
            about = {"type": "groupchat", "from": room, "to": device}
            body = node("body", None, reactions.WORDS)
            self._means.write(node("message", about, body, OWN_WORDS))

    def _whispered(self, stanza: Element, kind: str) -> None:
        if kind == "groupchat":
            self._refuse(stanza, refusals.TO_OCCUPANT)
        elif child(stanza, STREAM, "body") is not None:
            self._refuse(stanza, refusals.NO_WHISPER)

    def _reflected(self, said: Said, name: str) -> Sequence[Wire]:
        room = self._rooms.get(said.room)
        bare = said.device.partition("/")[0]
        seat = None if room is None else room.people.get(bare)
        nick = said.nick if seat is None else seat.nick
        try:
            stanza = self._reflection(said, name, nick)
        except StanzaError as error:
            logger.info("%s: only the body is reflected: %s", said.room, error)
            inside = tuple(part for part in said.inside if part.name == "body")
            bodies = Said(said.room, said.device, nick, "", "", 0, inside)
            stanza = self._reflection(bodies, name, nick)
        return (Wire(name, sheet(stanza, said.at_ms), archived=True),)

    def _reflection(self, said: Said, name: str, nick: str) -> Addressed:
        """Write what goes to all: as it came, but under the room's own names."""
        bare = said.device.partition("/")[0]
        occupant = self._rooms.occupant_id(said.room, bare)
        if name:
            names = said.id, name
            return stencil.said(
                said.room, (nick, occupant), names, said.inside, self._means.domain
            )
        mine = node("occupant-id", {"xmlns": OCCUPANT_ID, "id": occupant})
        attributes = {
            "type": "groupchat",
            "from": f"{said.room}/{nick}",
            "id": said.id,
        }
        stanza = node("message", attributes, *said.inside, mine)
        return addressed(stanza, self._means.domain)

    def _refuse(self, stanza: Element, fault: Fault) -> None:
        self._means.write(refusals.refuse(stanza, fault))


def _words(stanza: Element) -> str | None:
    """Return what tells one message from others; None if it says nothing lasting."""
    for part in stanza:
        if part.tag in _SEALED:
            return "".join(part.itertext())
    body = child(stanza, STREAM, "body")
    return None if body is None else body.text or ""


def _said(room: HostedRoom, seat: Seat, stanza: Element) -> Said:
    origin = child(stanza, STANZA_IDS, "origin-id")
    given = stanza.get("id", "")
    mark = given or ("" if origin is None else origin.get("id", ""))
    if len(mark) > MARK_CHARS_MAX:
        mark = hashlib.sha256(mark.encode(errors="replace")).hexdigest()
    inside = tuple(to_node(p) for p in stanza if not _forged(p, room.address))
    return Said(
        room.address,
        stanza.get("from", ""),
        seat.nick,
        given,
        mark or secrets.token_hex(12),
        now_ms(),
        inside,
    )


def _is_fleeting(stanza: Element) -> bool:
    """Tell whether *stanza* only says that somebody is typing, or not (XEP-0085)."""
    return all(split(part.tag)[0] in (CHAT_STATES, HINTS) for part in stanza)


def _forged(part: Element, room: str) -> bool:
    """Tell whether only the room itself may say this (XEP-0359 §5, XEP-0421 §6)."""
    match split(part.tag):
        case ("urn:xmpp:sid:0", "stanza-id"):
            return part.get("by") == room
        case (space, "delay") if space == DELAY:
            return part.get("from", room) == room
        case (space, _):
            return space in (OCCUPANT_ID, MUC_USER, MUC)
