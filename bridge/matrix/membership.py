"""Reads who came, went and was asked in; keeps the rosters up to date.

Told apart by whom it is about: people of Matrix, ghosts of ours, and the bot.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from bridge.matrix.bot import Bot
from bridge.matrix.client import HomeserverDownError, MatrixError
from bridge.matrix.codec.envelope import RawEvent
from bridge.matrix.codec.member import Membership, Stand, decode
from bridge.matrix.codec.tolerant import decode as parsed
from bridge.matrix.guests import Guests
from bridge.matrix.members import Members
from bridge.matrix.pictures import Pictures
from bridge.matrix.presences import Presences
from bridge.matrix.times import sent_at
from bridge.model.events import (
    Command,
    Invite,
    Join,
    Leave,
    Rank,
    Rename,
    Repictured,
)
from bridge.model.places import Network, Person, Ref, Room
from bridge.model.records import Kind, Portal

logger = logging.getLogger(__name__)

Change = Join | Rename | Repictured | Leave | Invite | Command

MEMBER = "m.room.member"

_GONE = (Stand.LEAVE, Stand.BAN)


@dataclass(frozen=True, slots=True)
class Turn:
    """A change of one membership; *before* is what it was, if that is known."""

    event: Mapping[str, Any]
    room: str
    sender: str
    target: str
    now: Membership
    before: Membership | None

    @property
    def gone(self) -> bool:
        """Whether *target* is now out, or kept out."""
        return self.now.stand in _GONE

    @property
    def was(self) -> Stand | None:
        """How *target* stood before."""
        return self.before.stand if self.before is not None else None


class Memberships:
    """Member events become events of the model.

    *person* tells whose ghost an MXID is, *portal* finds that of a room.
    """

    def __init__(  # noqa: PLR0913 - a membership is about all of them
        self,
        *,
        bot: Bot,
        person: Callable[[str], Awaitable[str | None]],
        portal: Callable[[str], Portal | None],
        greet: Callable[[str], Awaitable[None]],
        members: Members,
        presences: Presences,
        guests: Guests,
        pictures: Pictures,
    ) -> None:
        self._bot = bot
        self._person = person
        self._portal = portal
        self._greet = greet
        self._members = members
        self._presences = presences
        self._guests = guests
        self._pictures = pictures

    def closes(self, event: RawEvent) -> bool:
        """Tell whether *event* takes our agent out of a chat that we have not ended.

        So do homeservers whose admin closes a room, in the name of everybody in it.
        """
        portal = self._portal(event.room_id)
        if portal is None or portal.kind is not Kind.DIRECT:
            return False
        if event.type != MEMBER or not event.sender == event.state_key == portal.agent:
            return False
        now = decode(parsed(event.raw).get("content"))
        return now is not None and now.stand is Stand.LEAVE

    async def read(self, event: Mapping[str, Any]) -> Change | None:
        """Make an event of a member event of somebody who is not ours."""
        turn = _turn(event)
        if turn is None:
            return None
        if turn.target == self._bot.mxid:
            return await self._of_bot(turn)
        person = await self._person(turn.target)
        if person is not None:
            return await self._of_ghost(turn, Person(Network.XMPP, person))
        return await self._of_somebody(turn)

    async def _of_somebody(self, turn: Turn) -> Change | None:
        if turn.now.stand is Stand.JOIN:
            return await self._came(turn)
        if not turn.gone or turn.was in _GONE:
            return None
        self._members.left(turn.room, turn.target)
        declined = turn.was is Stand.INVITE
        if turn.was is Stand.KNOCK or (declined and turn.sender != turn.target):
            return None  # a request denied, or an invitation taken back
        declined = await self._miss(turn, declined=declined) and declined
        person = Person(Network.MATRIX, turn.target)
        return await self._left(turn, person, declined=declined)

    async def _miss(self, turn: Turn, *, declined: bool) -> bool:
        """Note that the guest of a chat is not there; tell whether it is they."""
        portal = self._portal(turn.room)
        if portal is None or portal.kind is not Kind.DIRECT:
            return False
        if not await self._is_guest(turn, declined=declined):
            return False
        await self._guests.left(turn.room, turn.target, declined=declined)
        if not declined:
            await self._ask_back(turn, portal.agent)
        return True

    async def _is_guest(self, turn: Turn, *, declined: bool) -> bool:
        """Tell whether it is their chat: others may have been asked in since."""
        whose = self._guests.whose(turn.room)
        if whose is not None:
            return whose == turn.target
        return not declined or not await self._members.of(turn.room)

    async def _ask_back(self, turn: Turn, agent: str) -> None:
        leave = str(turn.event.get("event_id", ""))
        try:
            await self._guests.miss(turn.room, agent, leave)
        except (MatrixError, HomeserverDownError) as error:
            logger.warning(
                "room %s: its guest cannot be asked back: %s", turn.room, error
            )

    async def _came(self, turn: Turn) -> Join | Rename | Repictured | None:
        room, target = turn.room, turn.target
        known = self._members.known(room)
        was_in = turn.was is Stand.JOIN or (
            turn.before is None and known is not None and target in known
        )
        await self._members.of(room)
        self._members.joined(room, target, turn.now.name)
        self._pictures.learn(target, turn.now.picture)
        if self._is_direct(room):
            await self._guests.came(room, target)
        kind: type[Join | Rename | Repictured] = Rename if was_in else Join
        if was_in and turn.before and turn.before.name == turn.now.name:
            if turn.before.picture == turn.now.picture:
                return None
            kind = Repictured
        return kind(
            ref=_ref(turn),
            room=_room(turn),
            sender=Person(Network.MATRIX, target),
            sent_at=sent_at(turn.event),
            name=await self._members.name(room, target),
        )

    async def _left(
        self, turn: Turn, person: Person, *, declined: bool = False
    ) -> Leave:
        return Leave(
            ref=_ref(turn),
            room=_room(turn),
            sender=Person(Network.MATRIX, turn.sender),
            sent_at=sent_at(turn.event),
            name=await self._members.name(turn.room, turn.sender),
            person=person,
            banned=turn.now.stand is Stand.BAN,
            declined=declined,
            reason=turn.now.reason,
        )

    async def _of_ghost(self, turn: Turn, person: Person) -> Change | None:
        if turn.now.stand is Stand.INVITE:
            sender = Person(Network.MATRIX, turn.sender)
            return Invite(
                ref=_ref(turn),
                room=_room(turn),
                sender=sender,
                sent_at=sent_at(turn.event),
                person=person,
                direct=turn.now.direct,
            )
        if not turn.gone:
            return None
        alone = turn.sender == turn.target
        if alone and await self._presences.stays(turn.room, turn.target):
            return None  # they were let in again since
        await self._presences.forget(turn.room, turn.target)
        if turn.was not in (Stand.JOIN, None):
            return None
        return await self._left(turn, person)

    async def _of_bot(self, turn: Turn) -> Command | None:
        if turn.now.stand is Stand.INVITE:
            if await self._bot.invited(turn.room, turn.sender):
                await self._greet(turn.room)
            return None
        if not turn.gone:
            return None
        await self._presences.forget(turn.room, self._bot.mxid)
        self._members.forget(turn.room)
        portal = self._portal(turn.room)
        if portal is None or portal.kind is not Kind.PLUMBED:
            return None
        # Who may put the bot out may undo the link, and just has.
        return Command(
            ref=_ref(turn),
            room=_room(turn),
            sender=Person(Network.MATRIX, turn.sender),
            sent_at=sent_at(turn.event),
            words="unbridge",
            rank=Rank.ADMIN,
        )

    def _is_direct(self, room: str) -> bool:
        portal = self._portal(room)
        return portal is not None and portal.kind is Kind.DIRECT


def _turn(event: Mapping[str, Any]) -> Turn | None:
    now, target = decode(event.get("content")), event.get("state_key")
    if now is None or not _is_mxid(target):
        return None
    unsigned = event.get("unsigned")
    before = unsigned.get("prev_content") if isinstance(unsigned, dict) else None
    room, sender = event["room_id"], event["sender"]
    return Turn(event, room, sender, target, now, decode(before))


def _is_mxid(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value.startswith("@") and ":" in value


def _ref(turn: Turn) -> Ref:
    return Ref(Network.MATRIX, turn.event["event_id"])


def _room(turn: Turn) -> Room:
    return Room(Network.MATRIX, turn.room)
