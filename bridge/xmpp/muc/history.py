"""What was said last in a room, for those who come in (XEP-0045 §7.2.13)."""

from collections import deque
from collections.abc import Container, Iterable
from datetime import UTC, datetime
from typing import Self
from xml.etree.ElementTree import Element

from bridge.model.frozen import dataclass
from bridge.xmpp.codec.xml import node
from bridge.xmpp.gate import Addressed, addressed
from bridge.xmpp.muc.contents import Contents
from bridge.xmpp.muc.stanza import child

HISTORY_MAX = 256
"""How much of a room's history is remembered, for those who ask for it."""
HISTORY_UNASKED = 50
"""How much is shown to those who ask for nothing (XEP-0045 §7.2.13)."""
MUC = "http://jabber.org/protocol/muc"
DELAY = "urn:xmpp:delay"

_END = b"</message>"
_STAMP = "STAMP"  # room addresses are lower case


@dataclass(frozen=True, slots=True)
class Wish:
    """How much of the history somebody wants to see."""

    stanzas: int = HISTORY_UNASKED
    chars: int | None = None
    since_ms: int = 0

    @classmethod
    def of(cls, join: Element, now_ms: int) -> Self:
        """Read the wish out of a ``<x xmlns=muc>``; nonsense in it counts as absent."""
        history = child(join, MUC, "history")
        if history is None:
            return cls()
        stanzas = _number(history.get("maxstanzas"))
        seconds = _number(history.get("seconds"))
        since_ms = moment(history.get("since", "")) or 0
        if seconds is not None:
            since_ms = max(since_ms, now_ms - seconds * 1000)
        chars = _number(history.get("maxchars"))
        limited = since_ms > 0 or chars is not None
        unasked = HISTORY_MAX if limited else HISTORY_UNASKED
        return cls(unasked if stanzas is None else stanzas, chars, since_ms)


@dataclass(frozen=True, slots=True)
class Said:
    """A message as it went out, by its id; *number* grows within a room."""

    number: int
    at_ms: int
    stanza: Addressed
    name: str


class History:
    """The newest messages of a room.

    *contents*, once there are any, tell of many more that the store keeps.
    """

    def __init__(self, room: str, domain: str) -> None:
        self.contents: Contents | None = None
        self._said: deque[Said] = deque(maxlen=HISTORY_MAX)
        delay = node("delay", {"xmlns": DELAY, "from": room, "stamp": _STAMP})
        after = addressed(node("message", {"from": room}, delay), domain).after
        self._delay = after[after.index(b"<delay") :].split(_STAMP.encode())

    @property
    def newest(self) -> int:
        """The number of what was said last; 0 if nothing was."""
        return self._said[-1].number if self._said else 0

    def add(self, said: Said) -> bool:
        """Remember *said*; False if it is remembered already."""
        if said.number <= self.newest:
            return False
        self._said.append(said)
        if self.contents is not None:
            self.contents.add(said.name, said.number, said.at_ms)
        return True

    def restore(self, archived: Iterable[Said]) -> None:
        """Put what was said in earlier runs before what was said in this one."""
        all_of_them = {said.number: said for said in (*archived, *self._said)}
        ordered = sorted(all_of_them.values(), key=lambda said: said.number)
        self._said = deque(ordered, maxlen=HISTORY_MAX)

    def catalogue(self) -> Contents:
        """List what is remembered, and from now on what is said."""
        self.contents = Contents()
        for said in self._said:
            self.contents.add(said.name, said.number, said.at_ms)
        return self.contents

    def among(self, numbers: Container[int]) -> list[Said]:
        """Return those of *numbers* that are remembered."""
        return [said for said in self._said if said.number in numbers]

    def pick(self, wish: Wish) -> list[Addressed]:
        """Return, oldest first, what fits *wish*.

        The newest count first; ``maxchars`` counts whole stanzas.
        """
        picked: list[Addressed] = []
        chars = 0
        for said in reversed(self._said):
            if len(picked) >= wish.stanzas or said.at_ms < wish.since_ms:
                break
            stanza = self.delayed(said)
            chars += len(stanza.before) + len(stanza.after)
            if wish.chars is not None and chars > wish.chars:
                break
            picked.append(stanza)
        return picked[::-1]

    def delayed(self, said: Said) -> Addressed:
        """Say when it was said (XEP-0203)."""
        at = stamp(said.at_ms).encode()
        inside = said.stanza.after.removesuffix(_END)
        return Addressed(said.stanza.before, inside + at.join(self._delay))


def stamp(at_ms: int) -> str:
    """Write a moment (XEP-0082 §3.2)."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: str) -> int | None:
    """Read a moment (XEP-0082 §3.2) in milliseconds; None if it is none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    try:
        return round(at.timestamp() * 1000)
    except (OverflowError, ValueError):
        return None


def _number(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit()):
        return None
    return int(text[:9])
