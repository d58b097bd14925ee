"""Who is in a room and what they may do there, as state events tell it."""

import enum
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.model.events import Rank

NAME_CHARS_MAX = 100
REASON_CHARS_MAX = 1000
LEVEL_MAX = 2**53 - 1
OWNER_LEVEL = 100
MODERATOR_LEVEL = 50

_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_JOINERS = "\u200c\u200d"
_MXC = re.compile(
    r"mxc://[0-9A-Za-z\[][0-9A-Za-z.:\[\]-]{0,254}/[0-9A-Za-z_-]{1,255}"
).fullmatch
_NUMERIC = re.compile(r"[+-]?[0-9]{1,16}").fullmatch
_CREATORS_SINCE = 12


class Stand(enum.Enum):
    """How somebody stands to a room (``membership``)."""

    JOIN = "join"
    INVITE = "invite"
    LEAVE = "leave"
    BAN = "ban"
    KNOCK = "knock"


@dataclass(frozen=True, slots=True)
class Membership:
    """The content of an ``m.room.member`` event, as far as it is any good."""

    stand: Stand
    name: str = ""
    reason: str = ""
    direct: bool = False
    picture: str = ""


def decode(content: object) -> Membership | None:
    """Read *content*; None if it does not say how somebody stands."""
    if not isinstance(content, dict):
        return None
    try:
        stand = Stand(content.get("membership"))
    except ValueError:
        return None
    return Membership(
        stand,
        clean_name(content.get("displayname")),
        clean_name(content.get("reason"), REASON_CHARS_MAX),
        content.get("is_direct") is True,
        clean_uri(content.get("avatar_url")),
    )


def encode(membership: Membership) -> dict[str, Any]:
    """Write *membership* as the content of an event."""
    content: dict[str, Any] = {"membership": membership.stand.value}
    if name := clean_name(membership.name):
        content["displayname"] = name
    if reason := clean_name(membership.reason, REASON_CHARS_MAX):
        content["reason"] = reason
    if membership.direct:
        content["is_direct"] = True
    if picture := clean_uri(membership.picture):
        content["avatar_url"] = picture
    return content


def clean_uri(value: object) -> str:
    """Return *value* if it can be the address of a file here, or else nothing.

    Client-Server API, "Matrix Content (mxc://) URIs".
    """
    return value if isinstance(value, str) and _MXC(value) else ""


def clean_name(value: object, chars_max: int = NAME_CHARS_MAX) -> str:
    """Return *value* as one line without anything that cannot be seen.

    Empty if it is no text, or nothing is left of it.
    """
    if not isinstance(value, str):
        return ""
    if value.isascii() and value.isprintable() and len(value) <= chars_max:
        return value.strip()
    spaced = " ".join(value[: 4 * chars_max].split())
    seen = "".join(
        c for c in spaced if c in _JOINERS or unicodedata.category(c) not in _UNSEEN
    )
    # What is not seen may have stood between two spaces.
    seen = " ".join(seen.split()).strip(_JOINERS + " ")
    return seen[:chars_max].strip(_JOINERS + " ")


@dataclass(frozen=True, slots=True)
class Powers:
    """What it takes to do things in a room, and who has it.

    *creators* stand above all levels (room version 12 and later).
    """

    users: Mapping[str, int] = field(default_factory=dict)
    default: int = 0
    speaking: int = 0
    moderating: int = MODERATOR_LEVEL
    ruling: int = MODERATOR_LEVEL
    creators: frozenset[str] = frozenset()

    def rank(self, mxid: str) -> Rank:
        """Tell what *mxid* may do."""
        if mxid in self.creators:
            return Rank.OWNER
        level = self.users.get(mxid, self.default)
        if level >= self.ruling:
            return Rank.OWNER if level >= OWNER_LEVEL else Rank.ADMIN
        if level >= self.moderating:
            return Rank.MODERATOR
        return Rank.MEMBER if level >= self.speaking else Rank.GUEST


def decode_powers(content: object, creators: Iterable[str] = ()) -> Powers:
    """Read the content of ``m.room.power_levels``; what is malformed is the default.

    Levels may be numbers written as text (rooms before version 10).
    """
    given = content if isinstance(content, dict) else {}
    users = _levels(given.get("users"))
    events = _levels(given.get("events"))
    state = _level(given.get("state_default"), MODERATOR_LEVEL)
    speaking = events.get("m.room.message", _level(given.get("events_default"), 0))
    tools = (_level(given.get(tool), MODERATOR_LEVEL) for tool in ("kick", "redact"))
    # What everybody may do makes nobody a moderator.
    moderating = max(*tools, speaking + 1, 1)
    ruling = max(events.get("m.room.power_levels", state), moderating)
    return Powers(
        users=users,
        default=_level(given.get("users_default"), 0),
        speaking=speaking,
        moderating=moderating,
        ruling=ruling,
        creators=frozenset(creators),
    )


def decode_creators(create: object, sender: str) -> frozenset[str]:
    """Read from ``m.room.create``, sent by *sender*, who stands above all levels."""
    given = create if isinstance(create, dict) else {}
    version = given.get("room_version")
    number = _number(version) if isinstance(version, str) else None
    if number is None or number < _CREATORS_SINCE:
        return frozenset()
    others = given.get("additional_creators")
    named = others if isinstance(others, list) else []
    return frozenset((sender, *(name for name in named if isinstance(name, str))))


def _levels(value: object) -> dict[str, int]:
    if not isinstance(value, dict):
        return {}
    read = ((key, _number(level)) for key, level in value.items())
    return {key: level for key, level in read if level is not None}


def _level(value: object, default: int) -> int:
    number = _number(value)
    return default if number is None else number


def _number(value: object) -> int | None:
    if isinstance(value, str) and _NUMERIC(value.strip()):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return max(-LEVEL_MAX, min(value, LEVEL_MAX))
