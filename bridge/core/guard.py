"""Keeps out who is not wanted, and what comes too often or in circles."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bridge.core.echoes import Echoes
from bridge.model.delivery import Refusal
from bridge.model.events import HOPS_MAX, Event, Message
from bridge.model.pace import Pace
from bridge.model.places import Network, Person, Room
from bridge.model.records import Portal

PAUSED = (
    "Somebody seems to carry all words back to where they came from. To break the"
    " circle this room is not bridged for a minute."
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an admin allows; 0 sets no limit.

    *blocked* are MXIDs, JIDs, domains (and what lies below them), rooms and aliases.
    """

    requests_per_minute: int = 120
    messages_per_minute: int = 0
    blocked: frozenset[str] = frozenset()


class Guard:
    """Says why somebody, or something, may not pass."""

    def __init__(
        self, limits: Limits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._blocked = frozenset(name.casefold() for name in limits.blocked)
        self._requests = Pace(limits.requests_per_minute, clock=clock)
        self._messages = Pace(limits.messages_per_minute, clock=clock)
        self._words = Pace(1, clock=clock)
        self._echoes = Echoes(clock)

    def bars(self, person: Person) -> bool:
        """Tell whether *person*, or their server, is blocked."""
        return bool(self._blocked) and not self._blocked.isdisjoint(_names_of(person))

    def closes(self, room: Room) -> bool:
        """Tell whether *room*, or its server, is blocked."""
        if not self._blocked:
            return False
        address = room.address.casefold()
        return not self._blocked.isdisjoint((address, *_domains(room)))

    def closed(self, portal: Portal) -> bool:
        """Tell whether either side of *portal* is blocked."""
        return bool(self._blocked) and (
            self.closes(Room(Network.MATRIX, portal.matrix))
            or self.closes(Room(Network.XMPP, portal.xmpp))
            or portal.alias.casefold() in self._blocked
        )

    def request(self, person: Person) -> Refusal | None:
        """Say why *person* may not ask for a room, a chat or a command just now."""
        if self.bars(person):
            return Refusal.NOT_ALLOWED
        return None if self._requests.allows(person) else Refusal.TOO_FAST

    def message(self, event: Message, portal: Portal | None) -> Refusal | None:
        """Say why *event* may not cross just now."""
        if event.hops >= HOPS_MAX or (portal and self._echoes.paused(portal.id)):
            return Refusal.CIRCLES
        if self.bars(event.sender) or (portal and self.closed(portal)):
            return Refusal.NOT_ALLOWED
        if not self._messages.allows(event.sender):
            return Refusal.TOO_FAST
        return None

    def circles(self, event: Message, portal: Portal) -> bool:
        """Tell whether *event* proves that words go in circles in *portal*."""
        words = event.content.body.plain
        return self._echoes.circles(portal.id, event.room.network, words)

    def answers(self, event: Event, why: Refusal) -> bool:
        """Tell whether the sender of *event* is told, now, that it is refused.

        An answer to what goes in circles would go in circles too. On Matrix all in
        the room read it: whoever is blocked or too fast is told once a minute.
        """
        if why is Refusal.CIRCLES:
            return False
        often = why in (Refusal.TOO_FAST, Refusal.NOT_ALLOWED)
        if not often or event.room.network is Network.XMPP:
            return True
        return self._words.allows((event.sender, event.room))


def _names_of(person: Person) -> Iterable[str]:
    name = person.id.casefold()
    return (name, name.partition("/")[0], *_parents(_domain(name)))


def _domains(room: Room) -> Iterable[str]:
    name = room.address.casefold()
    if room.network is Network.MATRIX:
        return _parents(name.partition(":")[2])
    return _parents(_domain(name))


def _domain(name: str) -> str:
    if name.startswith("@"):
        return name.partition(":")[2]
    return name.partition("/")[0].rpartition("@")[2]


def _parents(domain: str) -> Iterable[str]:
    """List *domain* and the domains above it."""
    labels = domain.split(".")
    return (".".join(labels[n:]) for n in range(len(labels)))
