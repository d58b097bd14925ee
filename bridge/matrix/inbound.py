"""Reads what a homeserver pushed: which of it to keep, and what it says."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypedDict

import msgspec

from bridge.core.ports import Unit
from bridge.matrix import reactions
from bridge.matrix.audiences import Audiences
from bridge.matrix.bot import Bot
from bridge.matrix.checking import PREFIX as VERIFICATION, Checks
from bridge.matrix.codec import message
from bridge.matrix.codec.envelope import RawEvent
from bridge.matrix.codec.tolerant import decode
from bridge.matrix.doubts import Doubts
from bridge.matrix.megolm.ports import Rejected
from bridge.matrix.members import Members
from bridge.matrix.membership import Memberships
from bridge.matrix.opening import Opening
from bridge.matrix.recent import Recent
from bridge.matrix.sealed import Sealed
from bridge.matrix.times import sent_at
from bridge.matrix.views import TEXT_MAX, Views
from bridge.model.delivery import Arrival, Refusal, Taken, Unreadable
from bridge.model.events import (
    PREFIXES,
    AnyEvent,
    Command,
    Manner,
    Message,
    Protection,
    Replaced,
    Retitled,
    Subject,
    Text,
)
from bridge.model.places import Network, Person, Ref, Room
from bridge.model.records import Kind, Portal

PREFIX = PREFIXES[Network.MATRIX]
COMPLAINT_EVERY_S = 3600.0

_ENCRYPTION = "m.room.encryption"
_SAID = frozenset(
    (
        "m.room.message",
        "m.room.encrypted",
        "m.sticker",
        "m.room.redaction",
        reactions.TYPE,
    )
)
_TOMBSTONE = "m.room.tombstone"
_NAME = "m.room.name"
_STATE = frozenset(("m.room.member", _NAME, "m.room.topic", _ENCRYPTION, _TOMBSTONE))
_SPOKEN = "m.room.message"
_HIDDEN = "m.room.encrypted"


class _Common(TypedDict):
    """What all events of the model have in common."""

    ref: Ref
    room: Room
    sender: Person
    sent_at: datetime
    name: str


class Receipt(msgspec.Struct, gc=False):
    """Where whoever sent a message is told how it fared."""

    room: str
    event: str
    sender: str


_encode_receipt = msgspec.json.Encoder().encode
_decode_receipt = msgspec.json.Decoder(Receipt).decode


class Inbound:
    """Matrix events become events of the model.

    *ours* tells whether an MXID is a ghost or the bot, *portal* finds that of a room.
    """

    def __init__(  # noqa: PLR0913 - what an event means depends on all of them
        self,
        *,
        bot: Bot,
        ours: Callable[[str], bool],
        portal: Callable[[str], Portal | None],
        members: Members,
        memberships: Memberships,
        sealed: Sealed,
        views: Views,
        audiences: Audiences,
        opening: Opening,
        checks: Checks,
        doubts: Doubts,
    ) -> None:
        self._doubts = doubts
        self._checks = checks
        self._audiences = audiences
        self._opening = opening
        self._bot = bot
        self._ours = ours
        self._portal = portal
        self._members = members
        self._memberships = memberships
        self._sealed = sealed
        self._views = views
        self._reactions = reactions.Reactions(lambda room: portal(room) is not None)
        self._exposed: Recent[tuple[str, str], float] = Recent(10_000)
        self._told: Recent[tuple[str, str, Refusal, str], float] = Recent(10_000)

    def arrivals(self, events: Sequence[RawEvent]) -> list[Arrival]:
        """Choose what to keep: nothing of ours comes back as if it were news."""
        kept: list[Arrival] = []
        for event in events:
            kind = event.type
            self._audiences.seen(event)
            if kind in _SAID or kind.startswith(VERIFICATION):
                if event.state_key is not None:
                    continue
            elif kind not in _STATE or event.state_key is None:
                continue
            if self._ours(event.sender) and not self._memberships.closes(event):
                continue
            if kind == reactions.TYPE and not self._reactions.wants(event):
                continue
            if kind == _ENCRYPTION and event.state_key == "":
                self._sealed.suspect(event.room_id)  # what is under way stops here
            room = Room(Network.MATRIX, event.room_id)
            kept.append(Arrival(room, event.event_id, event.raw))
        return kept

    def glance(self, arrival: Arrival) -> Message | None:
        """Make a message of *arrival* if it is plain to see; see ``Adapter``."""
        event = decode(arrival.raw)
        if not isinstance(event, dict) or event["type"] != _SPOKEN:
            return None
        if event["room_id"] in self._sealed:
            return None  # that is to be marked
        name = self._members.shown(event["room_id"], event["sender"])
        said = message.decode(event)
        if name is None or not isinstance(said, Text) or _asked(said) is not None:
            return None
        return _message(event, said, name)

    async def read(self, taken: Taken, unit: Unit) -> AnyEvent | Unreadable | None:
        """Make an event of *taken*; see ``Adapter``."""
        event = decode(taken.arrival.raw)
        if not isinstance(event, dict):
            return None
        kind = event["type"]
        if kind == _HIDDEN:
            return await self._secret(taken.arrival, event, unit)
        if kind in _SAID:
            said = await self._said(event)
            if isinstance(said, Message):
                self._doubts.clear(said)
            return said
        if kind.startswith(VERIFICATION):
            await self._checks.answer(event)
            return None
        return await self._stands(kind, event)

    async def _stands(self, kind: str, event: Mapping[str, Any]) -> AnyEvent | None:
        """Read how things now stand in a room."""
        if kind == "m.room.member":
            return await self._memberships.read(event)
        if kind == _ENCRYPTION and event.get("state_key") == "":
            await self._sealed.add(event["room_id"], event.get("content"))
            return None
        if kind == _TOMBSTONE:
            return self._replaced(event)
        return await self._titled(event)

    def _replaced(self, event: Mapping[str, Any]) -> Replaced | None:
        """Read a tombstone (spec: room upgrades)."""
        content, room = event.get("content"), event["room_id"]
        there = content.get("replacement_room") if isinstance(content, dict) else None
        if event.get("state_key") != "" or self._portal(room) is None:
            return None
        if not isinstance(there, str) or not there.startswith("!") or there == room:
            return None
        return Replaced(
            ref=Ref(Network.MATRIX, event["event_id"]),
            room=Room(Network.MATRIX, room),
            sender=Person(Network.MATRIX, event["sender"]),
            sent_at=sent_at(event),
            address=there,
        )

    def tells(self, receipt: Receipt) -> bool:
        """Tell whether the sender of *receipt* is to be told, again, that all waits.

        In a chat always: there it is one person, and each message counts.
        """
        portal, key = self._portal(receipt.room), (receipt.room, receipt.sender)
        if portal is None or portal.kind is Kind.DIRECT:
            return True
        now = time.monotonic()
        told = self._exposed.get(key)
        if told is not None and now - told < COMPLAINT_EVERY_S:
            return False
        self._exposed.put(key, now)
        return True

    def receipt(self, event: Message) -> bytes:
        """Note where to answer *event*; nobody answers a notice, or bots would chat."""
        if event.content.manner is Manner.NOTICE:
            return b""
        return _encode_receipt(
            Receipt(event.room.address, event.ref.id, event.sender.id)
        )

    async def _secret(
        self, arrival: Arrival, event: Mapping[str, Any], unit: Unit
    ) -> Message | Command | Unreadable | None:
        """Read what an encrypted event says, as if it had been said like that."""
        room = event["room_id"]
        private = self._portal(room) is None and await self._is_private(room)
        if not event.get("content") or not (private or self._portal(room)):
            return None  # redacted, or bridged nowhere
        opened = await self._opening.open(arrival, event, unit)
        if opened is None:
            return None
        if isinstance(opened, Rejected):
            why, words = Refusal.UNDECIPHERABLE, opened.fault.value
            return self._unreadable(event, why, private=private, detail=words)
        inner = {**event, "type": opened.type, "content": opened.content}
        verifies = await self._checks.answer(inner)
        if verifies or opened.type not in _SAID or opened.type == _HIDDEN:
            return None
        said = await self._said(inner)
        if said is None or isinstance(said, Unreadable):
            return said
        if isinstance(said, Message):
            self._doubts.weighed(said, opened.trust)
        return replace(said, protection=Protection.END_TO_END)

    async def _said(
        self, event: Mapping[str, Any]
    ) -> Message | Command | Unreadable | None:
        said = message.decode(event)
        room = event["room_id"]
        # Element verifies in the clear, in encrypted rooms as well.
        if said is None and await self._checks.answer(event):
            return None
        if said is None or self._reactions.takes_back(event):
            return None
        private = self._portal(room) is None and await self._is_private(room)
        if isinstance(said, Refusal):
            detail = message.kind(event) if said is Refusal.UNSUPPORTED else ""
            return self._unreadable(event, said, private=private, detail=detail)
        words = _asked(said)
        if private and words is None and said.manner is not Manner.NOTICE:
            words = said.body.plain
        if words is not None:
            return await self._commanded(event, words, private=private)
        if self._portal(room) is None:
            return None  # bridged nowhere: nobody expects an answer
        return _message(event, said, await self._members.name(room, event["sender"]))

    async def _is_private(self, room: str) -> bool:
        """Tell whether one person is alone with the bot."""
        roster = await self._members.of(room)
        return roster.bot and len(roster) == 1

    async def _commanded(
        self, event: Mapping[str, Any], words: str, *, private: bool
    ) -> Command:
        room, sender = event["room_id"], event["sender"]
        return Command(
            ref=Ref(Network.MATRIX, event["event_id"]),
            room=Room(Network.MATRIX, room),
            sender=Person(Network.MATRIX, sender),
            sent_at=sent_at(event),
            name=await self._members.name(room, sender),
            words=words,
            # As things stand now, not when it was said: rights may have been taken.
            rank=await self._views.rank(room, sender, self._bot.agent(room)),
            private=private,
        )

    def _unreadable(
        self,
        event: Mapping[str, Any],
        why: Refusal,
        *,
        private: bool,
        detail: str = "",
    ) -> Unreadable | None:
        room = event["room_id"]
        if not private and self._portal(room) is None:
            return None
        content = event.get("content")
        if isinstance(content, dict) and content.get("msgtype") == "m.notice":
            return None
        receipt = Receipt(room, _about(event), event["sender"])
        if event["type"] == reactions.TYPE and not self._reactions.tells(room):
            return None
        if why is not Refusal.MALFORMED and not self._may_complain(
            receipt, why, detail
        ):
            return None
        return Unreadable(why, _encode_receipt(receipt), detail)

    def _may_complain(self, receipt: Receipt, why: Refusal, detail: str) -> bool:
        """Tell whether the sender has not been told the same within the hour."""
        key = (receipt.room, receipt.sender, why, detail)
        now = time.monotonic()
        told = self._told.get(key)
        if told is not None and now - told < COMPLAINT_EVERY_S:
            return False
        self._told.put(key, now)
        return True

    async def _titled(self, event: Mapping[str, Any]) -> Subject | Retitled | None:
        """Read what a room is called, or what it is about."""
        content, room = event.get("content"), event["room_id"]
        is_name = event["type"] == _NAME
        key = "name" if is_name else "topic"
        words = content.get(key, "") if isinstance(content, dict) else None
        if event.get("state_key") != "" or not isinstance(words, str):
            return None
        if self._portal(room) is None:
            return None
        common = _Common(
            ref=Ref(Network.MATRIX, event["event_id"]),
            room=Room(Network.MATRIX, room),
            sender=Person(Network.MATRIX, event["sender"]),
            sent_at=sent_at(event),
            name=await self._members.name(room, event["sender"]),
        )
        words = words[:TEXT_MAX]
        return (
            Retitled(title=words, **common)
            if is_name
            else Subject(topic=words, **common)
        )


def where(receipt: bytes) -> Receipt | None:
    """Read what ``Inbound.receipt`` noted; None if nobody waits."""
    if not receipt:
        return None
    known: Receipt = _decode_receipt(receipt)
    return known


def _about(event: Mapping[str, Any]) -> str:
    """Name the event to which what is said of *event* answers."""
    own: str = event["event_id"]
    content = event.get("content")
    if event["type"] != reactions.TYPE or not isinstance(content, dict):
        return own
    relation = content.get("m.relates_to")
    target = relation.get("event_id") if isinstance(relation, dict) else None
    return target if isinstance(target, str) else own  # no client shows an answer to it


def _message(event: Mapping[str, Any], said: Text, name: str) -> Message:
    return Message(
        ref=Ref(Network.MATRIX, event["event_id"]),
        room=Room(Network.MATRIX, event["room_id"]),
        sender=Person(Network.MATRIX, event["sender"]),
        sent_at=sent_at(event),
        name=name,
        content=said,
        hops=message.hops(event),
    )


def _asked(said: Text) -> str | None:
    """Return what is asked of the bridge, if *said* asks anything; no notice does."""
    words = said.body.plain
    if not words.startswith("!") or words[: len(PREFIX)].casefold() != PREFIX:
        return None
    if said.manner is Manner.NOTICE:
        return None
    rest = words[len(PREFIX) :]
    return rest.strip() if not rest or rest[0].isspace() else None
