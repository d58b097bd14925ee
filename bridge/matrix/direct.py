"""Rooms in which a ghost is our agent: direct chats, and those it is invited to."""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Any

import msgspec

from bridge.matrix.client import Homeserver, HomeserverDownError, MatrixError, join
from bridge.matrix.codec.envelope import RawEvent, raw_event
from bridge.matrix.codec.names import muc_alias
from bridge.matrix.ghosts import Ghosts
from bridge.matrix.guests import DeclinedError, Guests
from bridge.matrix.patience import patiently
from bridge.matrix.presences import Presences
from bridge.matrix.recent import Recent
from bridge.matrix.rooms import Rooms
from bridge.matrix.secrecy import Secrecy, encryption_event
from bridge.matrix.views import About, Place, Views, refusing
from bridge.model.delivery import Refusal
from bridge.model.events import Invite
from bridge.model.places import Person, Room
from bridge.model.records import Kind, Portal

logger = logging.getLogger(__name__)

PATIENCE_S = 300.0
MISSED_MAX = 200
PAGE = 50
PAGES_MAX = 20
"""Pages of what is hidden from those who come later are empty, down to the first."""
PAGE_PATIENCE_S = 30.0
TWO = 2
TOLD_MAX = 10_000
TOLD_EVERY_S = 3600.0

MISSED = (
    "They write encrypted from XMPP, this room is not encrypted, and the bridge may not"
    " change that: what they wrote is kept, not shown. To see it, turn on encryption in"
    " this room and write !xmpp dead retry all, or write !xmpp plaintext allow"
)
TOPIC = "A conversation with {person} on XMPP, through a bridge that can read it."
TOPIC_SEALED = (
    "A conversation with {person} on XMPP. It is encrypted as far as the bridge, which"
    " can read it and sends it on in the clear unless XMPP is encrypted, too; to keep"
    " it from that: !xmpp plaintext forbid"
)


class Direct:
    """Rooms that a ghost makes or is asked into."""

    def __init__(  # noqa: PLR0913 - a room is made of all of them
        self,
        *,
        homeserver: Homeserver,
        ghosts: Ghosts,
        presences: Presences,
        guests: Guests,
        views: Views,
        rooms: Rooms,
        secrecy: Secrecy,
        encrypts: bool,
        too_large: Callable[[About | None], bool],
        tell: Callable[[str, str], None],
    ) -> None:
        self._secrecy = secrecy
        self._encrypts = encrypts
        self._homeserver = homeserver
        self._server = homeserver.server_name
        self._ghosts = ghosts
        self._presences = presences
        self._guests = guests
        self._views = views
        self._rooms = rooms
        rooms.ended = guests.ends
        self._too_large = too_large
        self._tell = tell
        self._told: Recent[str, float] = Recent(TOLD_MAX)

    async def start(
        self, chat: Room, ghost: str, host: Person, guest: str, name: str
    ) -> Portal | Refusal:
        """Have a room for *ghost*, who is *host*'s, and *guest*.

        See ``MatrixRooms.start_direct``.
        """
        try:
            made = await refusing(
                patiently(
                    lambda: self._start(chat, ghost, host, guest, name), PATIENCE_S
                )
            )
        except DeclinedError:
            return Refusal.DECLINED
        return made if isinstance(made, Refusal) else _addressed(made, chat)

    async def begun(self, far: Room, kind: Kind) -> str | None:
        """Name the room of *far* by its alias; see ``MatrixRooms.begun``."""
        alias = dm_alias(far, self._server)
        if kind is Kind.FOREIGN:
            alias = muc_alias(far.address, self._server)
        place = await refusing(self._views.find(alias, ""))
        if place is Refusal.UNREACHABLE:
            return None
        return "" if isinstance(place, Refusal) else place.room

    async def accept(
        self, ghost: str, invite: Invite
    ) -> tuple[Portal, Sequence[RawEvent]] | Refusal:
        """Let *ghost* accept *invite*; also return what was said before it did."""
        return await refusing(
            patiently(lambda: self._accept(ghost, invite), PATIENCE_S)
        )

    async def decline(self, ghost: str, invite: Invite) -> None:
        """Let *ghost* decline *invite*; nobody misses it if that fails."""
        try:
            await self._ghosts.ensure(ghost, invite.person.id, invite.person.id)
            await self._decline(invite.room.address, ghost)
        except (MatrixError, HomeserverDownError) as error:
            room = invite.room.address
            logger.info("room %s: an invitation stays open: %s", room, error)

    async def _start(
        self, chat: Room, ghost: str, host: Person, guest: str, name: str
    ) -> Portal | Refusal:
        name = name or host.id
        await self._ghosts.ensure(ghost, host.id, name)
        if not await self._is_somebody(guest, ghost):
            return Refusal.NO_SUCH_PERSON
        alias = dm_alias(chat, self._server)
        encrypts = self._encrypts and await self._secrecy.may_encrypt(guest)
        encrypts = encrypts and await self._secrecy.welcome(ghost)
        state = [encryption_event()] if encrypts else []
        room = await self._made(alias, ghost, guest, _body(host, state))
        if room is None:
            room = await self._found(alias, ghost, guest)
            room = room or await self._made(alias, ghost, guest, _body(host, state))
        if room is None:
            return Refusal.REJECTED
        await self._call_by(room, ghost, host, name)
        await self._guests.begins(room, guest)
        made = await self._rooms.portal(
            Kind.DIRECT, Place(room, (self._server,)), ghost
        )
        # It was we who encrypted the room, not the guest: their answers may go on in
        # the clear, as the words did that they answer. The room's topic says so.
        return replace(made, exposed=made.encrypted)

    async def protect(self, portal: Portal) -> bool:
        """Encrypt the room of *portal*, if its ghost may; tell whether it is."""
        event = encryption_event()
        path = join("rooms", portal.matrix, "state", event["type"], "")
        try:
            await self._homeserver.request(
                "PUT", path, user=portal.agent, body=event["content"]
            )
        except (MatrixError, HomeserverDownError) as error:
            logger.info("room %s stays as it is: %s", portal.matrix, error)
            if not portal.exposed:
                self._complain(portal.matrix)
            return False
        await self._rooms.seal(portal.matrix, event["content"])
        return True

    def _complain(self, room: str) -> None:
        """Tell those in *room*, now and then, that they miss what is encrypted."""
        now = time.monotonic()
        told = self._told.get(room)
        if told is None or now - told >= TOLD_EVERY_S:
            self._told.put(room, now)
            self._tell(room, MISSED)

    async def _call_by(self, room: str, ghost: str, host: Person, name: str) -> None:
        """Have *ghost*, who is in *room* under some name, be there under *name*."""
        known = await self._ghosts.find(ghost)
        was = known.name if known is not None else ""
        await self._presences.note(room, ghost, was)
        await self._presences.enter(room, ghost, host.id, name)

    async def _is_somebody(self, guest: str, ghost: str) -> bool:
        try:
            await self._homeserver.request("GET", join("profile", guest), user=ghost)
        except MatrixError as error:
            # Some homeservers keep profiles to themselves (403): then they may exist.
            return error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST)
        return True

    async def _made(
        self, alias: str, ghost: str, guest: str, about: Mapping[str, Any]
    ) -> str | None:
        """Make the room, or return None if its alias is taken."""
        body = {
            **about,
            "invite": [guest],
            # Found again by its alias if we crash before it is written down.
            "room_alias_name": alias[1:].partition(":")[0],
        }
        try:
            answer = await self._homeserver.request(
                "POST", join("createRoom"), user=ghost, body=body
            )
        except MatrixError as error:
            if error.errcode != "M_ROOM_IN_USE":
                raise
            return None
        room = str(answer["room_id"])
        await self._secrecy.audiences.enters(room, guest)
        return room

    async def _found(self, alias: str, ghost: str, guest: str) -> str | None:
        """Return the room that bears *alias*, or free the alias if it is over."""
        place = await self._views.find(alias, ghost)
        try:
            member = await self._views.content(
                place.room, "m.room.member", ghost, ghost
            )
            if member.get("membership") == "join":
                await self._call(place.room, ghost, guest)
                return place.room
        except MatrixError as error:
            if error.status != HTTPStatus.FORBIDDEN:
                raise
        path = join("directory", "room", alias)
        await self._homeserver.request("DELETE", path, user=ghost)
        return None

    async def _call(self, room: str, ghost: str, guest: str) -> None:
        """Invite *guest* into *room* unless they are there or invited."""
        if room in self._guests:
            await self._guests.recall(room, ghost)
            return
        member = await self._views.content(room, "m.room.member", ghost, guest)
        if member.get("membership") not in ("join", "invite"):
            await self._guests.invite(room, ghost, guest)

    async def _accept(
        self, ghost: str, invite: Invite
    ) -> tuple[Portal, Sequence[RawEvent]] | Refusal:
        room, person = invite.room.address, invite.person.id
        server = invite.sender.id.partition(":")[2]
        place = Place(room, (server,))
        await self._ghosts.ensure(ghost, person, person)
        await self._secrecy.welcome(ghost)
        about = await self._views.outside(place, ghost)
        if self._too_large(about):
            await self._decline(room, ghost)
            return Refusal.TOO_LARGE
        known = await self._ghosts.find(ghost)
        await self._presences.forget(room, ghost)
        await self._presences.enter(room, ghost, person, known.name if known else "")
        missed = await self._missed(room, ghost, invite.sent_at)
        kind = await self._kind(room, ghost, invite)
        if kind is Kind.DIRECT:
            await self._guests.begins(room, invite.sender.id)
        return await self._rooms.portal(kind, place, ghost), missed

    async def _decline(self, room: str, ghost: str) -> None:
        path = join("rooms", room, "leave")
        await self._homeserver.request("POST", path, user=ghost, body={})

    async def _kind(self, room: str, ghost: str, invite: Invite) -> Kind:
        """Tell a conversation of two from a room."""
        if await self._is_crowd(room, ghost):
            return Kind.HOSTED
        if invite.direct:
            return Kind.DIRECT
        about = await self._views.inside(room, ghost)
        return Kind.HOSTED if about.name or about.alias else Kind.DIRECT

    async def _is_crowd(self, room: str, ghost: str) -> bool:
        """Tell whether more than two are in *room*, or are asked in.

        Clients call it direct, too, what somebody begins with several at once.
        """
        path = join("rooms", room, "joined_members")
        answer = await self._homeserver.request("GET", path, user=ghost)
        joined = answer.get("joined")
        if not isinstance(joined, dict) or len(joined) > TWO:
            return True
        path = join("rooms", room, "members")
        answer = await self._homeserver.request(
            "GET", path, user=ghost, query={"membership": "invite"}
        )
        return len(joined) + len(_chunk(answer)) > TWO

    async def _missed(
        self, room: str, ghost: str, since: datetime
    ) -> Sequence[RawEvent]:
        """Read back to the invitation of *ghost*, and return what came after it.

        Homeservers push events only of rooms in which a user of ours has joined.
        """
        missed: list[RawEvent] = []
        query = {"dir": "b", "limit": str(PAGE)}
        for _ in range(PAGES_MAX):
            try:
                page = await self._page(room, ghost, query)
            except (MatrixError, HomeserverDownError) as error:
                logger.warning("room %s: cannot be read back: %s", room, error)
                break
            for event in _chunk(page):
                if _is_invite(event, ghost) or _is_before(event, since):
                    return missed[::-1]
                read = raw_event(msgspec.json.encode(event))
                if isinstance(read, RawEvent):
                    missed.append(read)
            if len(missed) >= MISSED_MAX or not isinstance(page.get("end"), str):
                break
            query = query | {"from": page["end"]}
        return missed[::-1]

    async def _page(
        self, room: str, ghost: str, query: Mapping[str, str]
    ) -> Mapping[str, Any]:
        """Read a page; what was said there must not be lost to a moment's outage."""
        path = join("rooms", room, "messages")
        return await patiently(
            lambda: self._homeserver.request("GET", path, user=ghost, query=query),
            PAGE_PATIENCE_S,
        )


def dm_alias(chat: Room, server: str) -> str:
    """Name the room of a direct chat: the same for the same chat, and no one else's."""
    digest = hashlib.sha256(chat.address.encode()).hexdigest()[:32]
    return f"#_xmpp_dm_{digest}:{server}"


def _body(host: Person, state: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Say what the room of a chat with *host* is like."""
    topic = TOPIC_SEALED if state else TOPIC
    # The alias is not for people: clients would show it as the room's name.
    unnamed = {"type": "m.room.canonical_alias", "state_key": "", "content": {}}
    return {
        "preset": "trusted_private_chat",
        "is_direct": True,
        "topic": topic.format(person=host.id),
        "initial_state": [unnamed, *state],
    }


def _addressed(made: Portal, chat: Room) -> Portal:
    return replace(made, xmpp=chat.address)


def _chunk(page: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    chunk = page.get("chunk")
    return [e for e in chunk if isinstance(e, dict)] if isinstance(chunk, list) else []


def _is_before(event: Mapping[str, Any], since: datetime) -> bool:
    """Tell whether *event* was there already; the invitation may not be listed."""
    sent_at_ms = event.get("origin_server_ts")
    return (
        isinstance(sent_at_ms, int) and sent_at_ms < int(since.timestamp() * 1000) - 1
    )


def _is_invite(event: Mapping[str, Any], ghost: str) -> bool:
    content = event.get("content")
    return (
        event.get("type") == "m.room.member"
        and event.get("state_key") == ghost
        and isinstance(content, dict)
        and content.get("membership") == "invite"
    )
