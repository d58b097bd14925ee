"""Answers the questions that clients ask of a room (XEP-0045 §6, §9, §10)."""

import logging
from collections.abc import Callable
from xml.etree.ElementTree import Element

from bridge.model.delivery import Description, Refusal
from bridge.model.places import Network, Person, Room
from bridge.xmpp import replies
from bridge.xmpp.codec.names import Jid
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.muc import refusals
from bridge.xmpp.muc.archive import FEATURES, Archive
from bridge.xmpp.muc.history import HISTORY_MAX, MUC
from bridge.xmpp.muc.occupants import DONE, PING, VCARD, Occupants
from bridge.xmpp.muc.paging import MAM
from bridge.xmpp.muc.ports import Means
from bridge.xmpp.muc.refusals import Fault
from bridge.xmpp.muc.room import HostedRoom, is_public
from bridge.xmpp.muc.rooms import MEMBER, OUTCAST, Rooms
from bridge.xmpp.muc.stanza import split
from bridge.xmpp.muc.stencil import OCCUPANT_ID, STANZA_IDS

logger = logging.getLogger(__name__)

ADMIN = "http://jabber.org/protocol/muc#admin"
OWNER = "http://jabber.org/protocol/muc#owner"
REGISTER = "jabber:iq:register"
ROOM_NICK = "x-roomuser-item"
LISTED_MAX = 500
ASKING_MAX = 200

_FEATURES = (
    replies.DISCO_INFO,
    replies.DISCO_ITEMS,
    MUC,
    f"{MUC}#stable_id",
    f"{MUC}#self-ping-optimization",
    STANZA_IDS,
    OCCUPANT_ID,
    *FEATURES,
    PING,
    "muc_persistent",
    "muc_unmoderated",
    "muc_unsecured",
)
_PUBLIC = ("muc_public", "muc_open", "muc_semianonymous")
_PRIVATE = ("muc_hidden", "muc_membersonly", "muc_nonanonymous")

Answer = Callable[[HostedRoom | None, Element, Jid, Jid], Node | Fault | None]


class Questions:
    """Answers IQs to rooms and to occupants."""

    def __init__(self, means: Means, rooms: Rooms) -> None:
        self._means = means
        self._rooms = rooms
        self._asking: dict[str, list[tuple[Element, Jid]]] = {}
        kept = Archive(means, rooms, self._reply)
        self._occupants = Occupants(means, self._reply)
        self._answers: dict[tuple[str, str, str], Answer] = {
            ("get", PING, "ping"): _pinged,
            ("get", replies.DISCO_INFO, "query"): self._described,
            ("get", replies.DISCO_ITEMS, "query"): _listed,
            ("get", VCARD, "vCard"): lambda *_: refusals.NOT_FOUND,
            ("get", ADMIN, "query"): self._affiliated,
            ("set", ADMIN, "query"): lambda *_: refusals.FORBIDDEN,
            ("get", MAM, "query"): kept.form,
            ("set", MAM, "query"): kept.query,
            ("get", MAM, "metadata"): kept.metadata,
            ("get", OWNER, "query"): lambda *_: refusals.FORBIDDEN,
            ("set", OWNER, "query"): lambda *_: refusals.FORBIDDEN,
            ("get", REGISTER, "query"): lambda *_: refusals.NOT_YET,
            ("set", REGISTER, "query"): lambda *_: refusals.NOT_YET,
        }

    def iq(
        self, room: HostedRoom | None, stanza: Element, sender: Jid, to: Jid
    ) -> None:
        """Take an IQ; answers to what we never asked mean nothing."""
        kind = stanza.get("type", "")
        if kind not in ("get", "set") or not stanza.get("id"):
            return
        if len(stanza) != 1:
            self._reply(stanza, Fault("modify", "bad-request", ""))
        elif to.resource:
            self._reply(stanza, self._occupants.asked(room, stanza, sender, to))
        else:
            answer = self._answers.get((kind, *split(stanza[0].tag)))
            found = (
                refusals.UNKNOWN if answer is None else answer(room, stanza, sender, to)
            )
            self._reply(stanza, found)

    def _described(
        self, room: HostedRoom | None, stanza: Element, sender: Jid, to: Jid
    ) -> Node | Fault | None:
        """Say what the room is; Conversations asks before every join."""
        name = stanza[0].get("node", "")
        if name == ROOM_NICK:
            return node("query", {"xmlns": replies.DISCO_INFO, "node": name})
        if name:
            return refusals.NOT_FOUND
        if room is not None and room.loaded:
            return self._of_room(room, sender)
        asking = self._asking.get(to.bare)
        if asking is not None and len(asking) < ASKING_MAX:
            asking.append((stanza, sender))
        elif asking is not None or len(self._asking) >= ASKING_MAX:
            return refusals.TOO_BUSY
        else:
            self._asking[to.bare] = [(stanza, sender)]
            look = self._look(to.bare, sender)
            self._means.tasks.create_task(look, name="look at a room")
        return None

    def _of_room(self, room: HostedRoom, sender: Jid) -> Node:
        if self._inside(room, sender):
            about = Description(room.name, room.topic.words, (), room.public)
            return describe(about, len(room.seats))
        return describe(Description(public=False))

    def _inside(self, room: HostedRoom, sender: Jid) -> bool:
        """Tell whether somebody may know what the room is about."""
        return room.open or self._belongs(room, sender)

    def _belongs(self, room: HostedRoom, sender: Jid) -> bool:
        """Tell whether somebody may know who else does."""
        if sender.bare in room.people:
            return True
        return self._rooms.standing(room.address, sender.bare) == MEMBER

    async def _look(self, address: str, sender: Jid) -> None:
        found: HostedRoom | Description | Refusal
        side = Room(Network.XMPP, address)
        member = self._rooms.standing(address, sender.bare) == MEMBER
        try:
            if member and self._means.host.portal(side) is not None:
                guest = Person(Network.XMPP, sender.bare)
                found = await self._rooms.open(address, guest, sender.local)
            else:
                found = await self._means.host.look(side)
        except Exception:
            # The end of the line: whatever broke, somebody waits for an answer.
            logger.exception("the room %s cannot be looked at", address)
            found = Refusal.UNREACHABLE
        for stanza, asker in self._asking.pop(address):
            if isinstance(found, HostedRoom):
                self._reply(stanza, self._of_room(found, asker))
            elif isinstance(found, Refusal):
                self._reply(stanza, refusals.of_refusal(found))
            else:
                self._reply(stanza, describe(found, len(found.members)))

    def _affiliated(
        self, room: HostedRoom | None, stanza: Element, sender: Jid, _: Jid
    ) -> Node | Fault:
        """List who is a member, an admin, an owner (XEP-0045 §9.5).

        Clients of a members-only room ask for whom to encrypt: the relay stands for
        all of Matrix. In a public one nobody is to learn who is there.
        """
        item = stanza[0].find(f"{{{ADMIN}}}item")
        wanted = "" if item is None else item.get("affiliation", "")
        if room is None or room.public or not self._belongs(room, sender):
            return refusals.FORBIDDEN
        if wanted == OUTCAST or not wanted:
            return refusals.FORBIDDEN
        found: list[dict[str, str]] = []
        if wanted == MEMBER:
            if self._means.endtoend is not None:
                found.append({"jid": self._means.relay, "affiliation": MEMBER})
            found.extend(
                {"jid": bare, "affiliation": MEMBER, "nick": _nick(room, bare)}
                for bare in self._rooms.recipients(room.address)
            )
        items = [node("item", attributes) for attributes in found[:LISTED_MAX]]
        return node("query", {"xmlns": ADMIN}, *items)

    def _reply(self, stanza: Element, found: Node | Fault | None) -> None:
        if found is None or not replies.may_answer(stanza):
            return
        answer: Node
        if isinstance(found, Fault):
            answer = replies.error(stanza, *found)
        else:
            answer = replies.result(stanza, None if found is DONE else found)
        self._means.write(answer)


def describe(about: Description, occupants: int = 0) -> Node:
    """Describe a room (XEP-0045 §6.4, §15.5.4).

    A gateway identity here would keep Gajim from offering to join. The fields have
    short names, unlike the form itself.
    """
    fields = {
        "muc#roomconfig_roomname": about.name,
        "muc#roominfo_description": about.topic,
        "muc#roominfo_subject": about.topic,
        "muc#roominfo_occupants": str(occupants) if occupants else "",
        "muc#roomconfig_changesubject": "0",
        "muc#roominfo_changesubject": "0",
        "muc#roomconfig_allowinvites": "0",
        "muc#roomconfig_allowpm": "none",
        "muc#maxhistoryfetch": str(HISTORY_MAX),
    }
    kind = node(
        "field", {"var": "FORM_TYPE", "type": "hidden"}, _value(f"{MUC}#roominfo")
    )
    form = node(
        "x",
        {"xmlns": "jabber:x:data", "type": "result"},
        kind,
        *(node("field", {"var": k}, _value(v)) for k, v in fields.items() if v),
    )
    identity = replies.Identity("conference", "text", about.name)
    features = (*_FEATURES, *(_PUBLIC if is_public(about) else _PRIVATE))
    return replies.info(identity, features, (form,))


def _nick(room: HostedRoom, bare: str) -> str:
    seat = room.people.get(bare)
    return "" if seat is None else seat.nick


def _value(text: str) -> Node:
    return node("value", None, text)


def _pinged(*_: object) -> Node:
    return DONE


def _listed(*_: object) -> Node:
    """List nobody: that is the room's own choice (XEP-0045 §6.5)."""
    return replies.items()
