"""What a room of Matrix looks like, asked afresh: from inside, or from outside."""

import asyncio
import secrets
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

from bridge.matrix.client import Homeserver, HomeserverDownError, MatrixError, join
from bridge.matrix.codec import member
from bridge.matrix.members import plain_name
from bridge.model.delivery import Refusal
from bridge.model.events import Rank

T = TypeVar("T")

BRIDGE_TYPES = ("m.bridge", "uk.half-shot.bridge")
_PUBLIC = "public"
_NOBODY = (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
_V12_OPAQUE_LENGTH = 43
TEXT_MAX = 2000
VIA_MAX = 5
ANSWER_S = 15.0
FAR_AT_ONCE_MAX = 8
"""Other servers may be slow: others need the way to the homeserver, too."""
_YEAR_9999_MS = 253_370_764_800_000


@dataclass(frozen=True, slots=True)
class Place:
    """A room, servers through which it can be joined, and the alias we know it by."""

    room: str
    via: tuple[str, ...] = ()
    alias: str = ""


@dataclass(frozen=True, slots=True)
class About:
    """The outside of a room; *size* is 0 if nobody says how many are in it.

    *topic_by* set the topic, at *topic_at_ms*, as is seen from inside.
    """

    name: str = ""
    alias: str = ""
    topic: str = ""
    public: bool = False
    encrypted: bool = False
    size: int = 0
    topic_by: str = ""
    topic_at_ms: int = 0


async def refusing(ask: Awaitable[T]) -> T | Refusal:
    """Return what *ask* returns, or why the homeserver would not."""
    try:
        return await ask
    except HomeserverDownError:
        return Refusal.UNREACHABLE
    except MatrixError as error:
        match error.status:
            case HTTPStatus.FORBIDDEN:
                return Refusal.NOT_ALLOWED
            case HTTPStatus.NOT_FOUND | HTTPStatus.BAD_REQUEST:
                return Refusal.NO_SUCH_ROOM
            case _:
                return Refusal.UNREACHABLE


class Views:
    """Looks at rooms, as somebody of ours."""

    def __init__(self, homeserver: Homeserver) -> None:
        self._homeserver = homeserver
        self._near = f":{homeserver.server_name}"
        self._gate = asyncio.Semaphore(FAR_AT_ONCE_MAX)

    async def called(self, mxid: str) -> str | None:
        """Tell what somebody's profile says (Client-Server API §13.2), "" of nobody.

        None if the homeserver cannot say now.
        """
        path = join("profile", mxid)
        gate = nullcontext() if mxid.endswith(self._near) else self._gate
        try:
            async with gate:
                profile = await self._homeserver.request(
                    "GET", path, timeout_s=ANSWER_S
                )
        except HomeserverDownError:
            return None
        except MatrixError as error:
            return "" if error.status in _NOBODY else None
        return plain_name(mxid, profile.get("displayname"))

    async def find(self, address: str, user: str) -> Place:
        """Find the room of an alias, ``#room:hs``, or an id, ``!id[:hs]``."""
        if address.startswith("!"):
            return place_of(address)
        path = join("directory", "room", address)
        answer = await self._homeserver.request("GET", path, user=user)
        room, via = answer.get("room_id"), answer.get("servers")
        if not isinstance(room, str) or not room.startswith("!"):
            raise MatrixError(HTTPStatus.NOT_FOUND, "M_NOT_FOUND", "no room id")
        known = via if isinstance(via, list) else []
        servers = tuple(v for v in known if isinstance(v, str))[:VIA_MAX]
        return Place(room, servers, address)

    async def outside(self, place: Place, user: str) -> About | None:
        """Look at a room that we may not be in (spec 1.15); None if none can tell."""
        path = join("room_summary", place.room, version="v1")
        query = {"via": place.via[0]} if place.via else {}
        try:
            seen = await self._homeserver.request("GET", path, user=user, query=query)
        except MatrixError:
            return None
        size = seen.get("num_joined_members")
        encryption = seen.get("encryption") or seen.get("im.nheko.summary.encryption")
        return About(
            name=_text(seen, "name"),
            alias=_text(seen, "canonical_alias"),
            topic=_text(seen, "topic"),
            public=seen.get("join_rule") == _PUBLIC,
            encrypted=bool(encryption),
            size=size if isinstance(size, int) else 0,
        )

    async def inside(self, room: str, user: str) -> About:
        """Look at a room that *user* is in."""
        kinds = ("name", "canonical_alias", "join_rules", "encryption")
        topic, name, alias, rules, encryption = await asyncio.gather(
            self.event(room, "m.room.topic", user),
            *(self.content(room, f"m.room.{kind}", user) for kind in kinds),
        )
        return About(
            name=_text(name, "name"),
            alias=_text(alias, "alias"),
            topic=_text(_inner(topic, "content"), "topic"),
            public=rules.get("join_rule") == _PUBLIC,
            encrypted=bool(encryption),
            topic_by=_text(topic, "sender"),
            topic_at_ms=_moment(topic),
        )

    async def event(self, room: str, kind: str, user: str) -> Mapping[str, Any]:
        """Read a state event; empty if there is none.

        A homeserver that knows no ``format`` tells its content alone.
        """
        path = join("rooms", room, "state", kind, "")
        query = {"format": "event"}
        try:
            seen = await self._homeserver.request("GET", path, user=user, query=query)
        except MatrixError as error:
            if error.errcode != "M_NOT_FOUND":
                raise
            return {}
        return seen if "content" in seen else {"content": seen}

    async def content(
        self, room: str, kind: str, user: str, key: str = ""
    ) -> Mapping[str, Any]:
        """Read the content of a state event; empty if there is none."""
        path = join("rooms", room, "state", kind, key)
        try:
            return await self._homeserver.request("GET", path, user=user)
        except MatrixError as error:
            if error.errcode != "M_NOT_FOUND":
                raise
            return {}

    async def powers(self, room: str, user: str) -> member.Powers:
        """Ask what everybody in *room* may do, as it stands now."""
        levels = await self.content(room, "m.room.power_levels", user)
        path = join("rooms", room, "state", "m.room.create", "")
        # Who made the room stands only on the event, not in its content.
        query = {"format": "event"}
        create = await self._homeserver.request("GET", path, user=user, query=query)
        sender = create.get("sender")
        maker = sender if isinstance(sender, str) else ""
        creators = member.decode_creators(create.get("content", create), maker)
        if not levels and maker:
            creators |= {maker}  # where no levels are set, whoever made it has them
        return member.decode_powers(levels, creators)

    async def rank(self, room: str, mxid: str, user: str) -> Rank:
        """Ask what *mxid* may do in *room*: nothing, if nobody tells."""
        try:
            return (await self.powers(room, user)).rank(mxid)
        except (MatrixError, HomeserverDownError):
            return Rank.GUEST

    async def bridges(self, room: str, user: str) -> Sequence[Mapping[str, Any]]:
        """Read what bridges say of themselves in *room* (MSC2346).

        By a sync, as their state keys are not known and the whole state of a room
        can be very large.
        """
        nothing = {"not_types": ["*"]}
        wanted = {"types": list(BRIDGE_TYPES), "limit": 50}
        inside = {
            "rooms": [room],
            # Synapse answers the same question from memory for two minutes.
            "not_rooms": [f"!{secrets.token_hex(8)}:localhost"],
            "state": wanted,
            "timeline": wanted,
            "ephemeral": nothing,
            "account_data": nothing,
        }
        asked = {"room": inside, "presence": nothing, "account_data": nothing}
        query = {
            "filter": msgspec.json.encode(asked).decode(),
            "full_state": "true",
            "timeout": "0",
        }
        answer = await self._homeserver.request(
            "GET", join("sync"), user=user, query=query
        )
        seen = _inner(answer, "rooms", "join", room)
        newest: dict[tuple[object, object], Mapping[str, Any]] = {}
        for part in ("state", "timeline"):
            events = _inner(seen, part).get("events")
            for event in events if isinstance(events, list) else ():
                newest[event.get("type"), event.get("state_key")] = event
        return [e for e in newest.values() if e.get("type") in BRIDGE_TYPES]


def place_of(address: str) -> Place:
    """Tell the room of an id that was given with a server, ``!id:hs``.

    From room version 12 on, a room id names no server: what stands behind the colon
    then only helps to find it.
    """
    opaque, _, server = address.partition(":")
    via = (server,) if server else ()
    is_v12 = len(opaque) == 1 + _V12_OPAQUE_LENGTH
    return Place(opaque if is_v12 else address, via)


def named(about: About) -> About:
    """Let a room without a name go by its alias."""
    return about if about.name else replace(about, name=about.alias)


def _inner(known: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        value = known.get(key)
        known = value if isinstance(value, dict) else {}
    return known


def _moment(event: Mapping[str, Any]) -> int:
    """Tell when an event was sent; 0 if that is no time that a calendar has."""
    at_ms = event.get("origin_server_ts")
    return at_ms if isinstance(at_ms, int) and 0 < at_ms < _YEAR_9999_MS else 0


def _text(known: Mapping[str, Any], key: str) -> str:
    value = known.get(key)
    return value[:TEXT_MAX] if isinstance(value, str) else ""
