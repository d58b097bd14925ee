"""Who is in a MUC elsewhere, as its presences say (XEP-0045 §7, XEP-0421)."""

from collections.abc import Iterator

from bridge.xmpp.codec.names import occupant_person
from bridge.xmpp.codec.presence import Seen


class Occupancy:
    """The occupants of one MUC, by nick.

    An occupant's *id* is what we tell people by: it stays when the nick changes, if
    the room lets us see anything that does.
    """

    def __init__(self, muc: str) -> None:
        self._muc = muc
        self.occupant_ids = False
        self._by_nick: dict[str, Seen] = {}
        self._nicks: dict[str, set[str]] = {}

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
        return self.identity(seen.nick, seen.occupant_id, seen.jid)

    def identity(self, nick: str, occupant_id: str, jid: str = "") -> str:
        """Name whoever bears *nick*; an occupant-id counts only if the room gives it.

        A person known by their real JID is the same one as in a direct chat.
        """
        if occupant_id and self.occupant_ids:
            return occupant_person(self._muc, nick, occupant_id)
        return jid or occupant_person(self._muc, nick)

    def holder(self, person: str) -> Seen | None:
        """Return somebody's seat in the room, if they are there."""
        nicks = self._nicks.get(person)
        return self._by_nick[next(iter(nicks))] if nicks else None

    def enter(self, seen: Seen) -> Seen | None:
        """Take note of a presence; return what the one before it said."""
        before = self.leave(seen.nick)
        self._by_nick[seen.nick] = seen
        self._nicks.setdefault(self.person(seen), set()).add(seen.nick)
        return before

    def leave(self, nick: str) -> Seen | None:
        """Forget who was there under *nick*, and return them."""
        seen = self._by_nick.pop(nick, None)
        if seen is not None:
            person = self.person(seen)
            nicks = self._nicks[person]
            nicks.discard(nick)
            if not nicks:
                del self._nicks[person]
        return seen

    def clear(self) -> dict[str, Seen]:
        """Forget everybody, and return them by who they are."""
        gone = {self.person(seen): seen for seen in self._by_nick.values()}
        self._by_nick.clear()
        self._nicks.clear()
        return gone
