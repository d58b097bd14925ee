"""Who may read what we say in an encrypted room, as the room stands now.

Asked once per room, then kept up to date by its member events; asked again when
somebody may have come in.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from bridge.matrix.client import Homeserver, join
from bridge.matrix.codec.envelope import RawEvent
from bridge.matrix.codec.tolerant import decode
from bridge.matrix.megolm.ports import SealedRoom
from bridge.matrix.recent import Recent
from bridge.matrix.sealed import MEGOLM, Sealed
from bridge.matrix.views import Views

ROOMS_MAX = 2_000
LOOK_AROUND_S = 5.0
"""How long clients have to look up whom they see for the first time.

Strict ones never show what they read too early, and others a red shield for a moment.
On a busy machine two seconds are not enough: the join has to come down, the device to
be asked for and answered, and a server of theirs may have to ask ours.
"""
SETTLE_S = 1.0
"""How long somebody who accepts invitations at once has for that.

Synapse makes a fork of what is said just then; its next sync answer tells the client of
them, before what was said, that they are but invited, which undoes the join.
"""
MEMBER, VISIBILITY = "m.room.member", "m.room.history_visibility"


class Audience(msgspec.Struct, gc=False):
    """The members of a room; *visibility* is that of its history."""

    joined: set[str]
    invited: set[str]
    visibility: str


class Audiences:
    """The audiences of the rooms in use.

    *agent* tells who of ours is in a room and can ask, *ours* whether somebody is one
    of us; *bot* is told of new devices. ``on_join``, which may be set, is told the room
    when others come in, who have *pause_s* to look around there.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        views: Views,
        sealed: Sealed,
        agent: Callable[[str], str],
        ours: Callable[[str], bool],
        bot: str,
    ) -> None:
        self._homeserver = homeserver
        self._views = views
        self._sealed = sealed
        self._agent = agent
        self._ours = ours
        self._bot = bot
        self.pause_s = LOOK_AROUND_S
        self.settle_s = SETTLE_S
        self.on_join: Callable[[str], None] = lambda _: None
        self._came: Recent[str, dict[str, float]] = Recent(ROOMS_MAX)
        self._called: dict[tuple[str, str], asyncio.Event] = {}
        self._known: Recent[str, Audience] = Recent(ROOMS_MAX)
        self._changes: Recent[str, int] = Recent(ROOMS_MAX)
        self._doubts = 0

    async def of(self, room: str) -> SealedRoom:
        """Return *room* as it stands now; raises as ``Homeserver`` does."""
        audience = self._known.get(room) or await self._load(room)
        encryption = self._sealed.encryption(room)
        if not encryption:
            agent = self._agent(room)
            stated = await self._views.content(room, "m.room.encryption", agent)
            # It was encrypted once: if that is stated no more, it holds all the same.
            await self._sealed.add(room, dict(stated) or {"algorithm": MEGOLM})
            encryption = self._sealed.encryption(room)
        readers = set(audience.joined)
        if audience.visibility != "joined":
            readers |= audience.invited
        return SealedRoom(
            room,
            frozenset(readers),
            encryption,
            audience.visibility,
            watched=self._bot in audience.joined,
            awaited=frozenset(self._awaited(room, audience) & readers),
        )

    def _awaited(self, room: str, audience: Audience) -> set[str]:
        """Tell who has to look around before they can read what we say.

        That is who is invited, while nobody else is there, and who has just come in.
        """
        if all(map(self._ours, audience.joined)):
            return {user for user in audience.invited if not self._ours(user)}
        now, came = time.monotonic(), self._came.get(room, {})
        return {user for user, at in came.items() if now - at < self.pause_s}

    def seen(self, event: RawEvent) -> None:
        """Take note of an event that changes who may read."""
        if event.type == VISIBILITY:
            self.forget(event.room_id)
        elif event.type == MEMBER and event.state_key is not None:
            self._member(event)

    async def enters(self, room: str, user: str) -> bool:
        """Give *user*, invited into *room*, a moment; tell whether they came in."""
        if user in (self._came.get(room) or {}):
            return True
        came = self._called.setdefault((room, user), asyncio.Event())
        try:
            async with asyncio.timeout(self.settle_s):
                return await came.wait()
        except TimeoutError:
            return False
        finally:
            self._called.pop((room, user), None)

    def forget(self, room: str) -> None:
        """Ask anew when *room* is next spoken in."""
        self._known.drop(room)
        self._changes.put(room, (self._changes.get(room) or 0) + 1)

    def doubt(self) -> None:
        """Ask anew everywhere: those who left may have gone unheard."""
        self._known = Recent(ROOMS_MAX)
        self._doubts += 1

    def _member(self, event: RawEvent) -> None:
        known, member = self._known.get(event.room_id), event.state_key
        assert member is not None
        raw = decode(event.raw)
        content = raw.get("content") if isinstance(raw, dict) else None
        membership = content.get("membership") if isinstance(content, dict) else None
        if membership == "join" and known is not None and member in known.joined:
            return  # a new name, say
        if known is not None and membership in ("leave", "ban"):
            known.joined.discard(member)
            known.invited.discard(member)
            return
        self.forget(event.room_id)
        if membership == "join" and not self._ours(member):
            self._note(event.room_id, member)
        if not self._ours(member) and event.room_id in self._sealed:
            self.on_join(event.room_id)

    def _note(self, room: str, member: str) -> None:
        """Remember that *member* has just come in, and who else has."""
        now = time.monotonic()
        came = (self._came.get(room) or {}) | {member: now}
        fresh = {user: at for user, at in came.items() if now - at < self.pause_s}
        self._came.put(room, fresh)
        if called := self._called.get((room, member)):
            called.set()

    async def _load(self, room: str) -> Audience:
        changes, agent = self._seen(room), self._agent(room)
        answer = await self._homeserver.request(
            "GET",
            join("rooms", room, "members"),
            user=agent,
            query={"not_membership": "leave"},
        )
        visibility = await self._views.content(room, VISIBILITY, agent)
        stated = visibility.get("history_visibility")
        audience = Audience(
            _members(answer, "join"),
            _members(answer, "invite"),
            stated if isinstance(stated, str) else "shared",
        )
        if self._seen(room) == changes:
            self._known.put(room, audience)
        return audience

    def _seen(self, room: str) -> tuple[int, int]:
        """Tell what changes of *room* have been heard of, or may have been missed."""
        return self._changes.get(room) or 0, self._doubts


def _members(answer: Mapping[str, Any], membership: str) -> set[str]:
    chunk = answer.get("chunk")
    return {
        event["state_key"]
        for event in (chunk if isinstance(chunk, list) else ())
        if isinstance(event, dict)
        and isinstance(event.get("state_key"), str)
        and isinstance(event.get("content"), dict)
        and event["content"].get("membership") == membership
    }
