"""Who is in a MUC elsewhere, as its presences say (XEP-0045 §7, XEP-0421)."""

from collections.abc import Iterator
from dataclasses import replace

from bridge.xmpp.codec.names import occupant_person
from bridge.xmpp.codec.presence import Seen


class Occupancy:
    """The occupants of one MUC, by nick.

    An occupant's *id* is what we tell people by: it stays when the nick changes.
    Where the room shows nothing else, it is the nick under which they came in.
    """

    def __init__(self, muc: str) -> None:
        self._muc = muc
        self.occupant_ids = False
        self._by_nick: dict[str, Seen] = {}
        self._persons: dict[str, str] = {}
        self._nicks: dict[str, set[str]] = {}
        self._came_as: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._by_nick)

    def __iter__(self) -> Iterator[Seen]:
        return iter(tuple(self._by_nick.values()))

    def __contains__(self, nick: str) -> bool:
        return nick in self._by_nick

    def at(self, nick: str) -> Seen | None:
        """Return who is there under *nick*."""
        return self._by_nick.get(nick)

    def person(self, seen: Seen) -> str:
        """Name an occupant for good."""
        if self._by_nick.get(seen.nick) is seen:
            return self._persons[seen.nick]
        return self.identity(seen.nick, seen.occupant_id, seen.jid)

    def identity(self, nick: str, occupant_id: str = "", jid: str = "") -> str:
        """Name whoever bears *nick*; an occupant-id counts only if the room gives it.

        A person known by their real JID is the same one as in a direct chat.
        """
        if occupant_id and self.occupant_ids:
            return occupant_person(self._muc, nick, occupant_id)
        if jid:
            return jid
        if not self._came_as:
            return occupant_person(self._muc, nick)
        former = self._came_as.get(nick)
        if former is not None:
            return former
        name = occupant_person(self._muc, nick)
        # Whoever takes the nick that somebody in the room has given up is not them;
        # no nick contains U+007F.
        return f"{name}\x7f" if name in self._came_as.values() else name

    def holder(self, person: str) -> Seen | None:
        """Return somebody's seat in the room, if they are there."""
        nicks = self._nicks.get(person)
        return self._by_nick[next(iter(nicks))] if nicks else None

    def enter(self, seen: Seen) -> Seen | None:
        """Take note of a presence; return what the one before it said."""
        before = self._remove(seen.nick)
        person = self._persons[seen.nick] = self.person(seen)
        self._by_nick[seen.nick] = seen
        self._nicks.setdefault(person, set()).add(seen.nick)
        return before

    def leave(self, nick: str) -> Seen | None:
        """Forget who was there under *nick*, and return them."""
        seen = self._remove(nick)
        self._came_as.pop(nick, None)
        return seen

    def rename(self, nick: str, new_nick: str) -> Seen | None:
        """Let who is there under *nick* be called *new_nick*, and return them so."""
        seen = self._by_nick.get(nick)
        if seen is None:
            return None
        person = self.person(seen)
        self.leave(nick)
        renamed = replace(seen, nick=new_nick)
        if self.person(renamed) != person:
            self._came_as[new_nick] = person
        self.enter(renamed)
        return renamed

    def clear(self) -> None:
        """Forget everybody, as all who are there will be seen again."""
        self._by_nick.clear()
        self._persons.clear()
        self._nicks.clear()

    def complete(self) -> None:
        """Take note that all who are there have been seen."""
        here = self._by_nick
        self._came_as = {n: who for n, who in self._came_as.items() if n in here}

    def _remove(self, nick: str) -> Seen | None:
        seen = self._by_nick.pop(nick, None)
        if seen is not None:
            person = self._persons.pop(nick)
            nicks = self._nicks[person]
            nicks.discard(nick)
            if not nicks:
                del self._nicks[person]
        return seen
