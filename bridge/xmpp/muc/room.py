"""The state of one room that we host: who is in it, and what was said last."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, count

from bridge.model.delivery import Description, Member
from bridge.model.events import Rank
from bridge.model.places import Network, Person
from bridge.model.records import Portal
from bridge.xmpp.codec.names import puppet_jid
from bridge.xmpp.codec.nicks import NOBODY, safe_nick, same_nick_key
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.gate import Addressed, addressed
from bridge.xmpp.muc.history import History
from bridge.xmpp.muc.presence import Card, Stencils, available, titles

OCCUPANT_ID_BYTES = 16

_LOCAL_CHARS_MAX = 32


@dataclass(slots=True, eq=False)
class Seat:
    """An occupant: who goes by *nick*, and is truly called *name*.

    *devices* are the full JIDs of an XMPP user; somebody of Matrix has none.
    *shown* is the presence as others see it, once it has been written. *debut* names
    what somebody said who was not here before: with it others see them come.
    """

    person: Person
    nick: str
    name: str
    rank: Rank
    id: str
    status: tuple[Node, ...] = ()
    devices: tuple[str, ...] = ()
    shown: Addressed | None = None
    debut: str = ""


@dataclass(frozen=True, slots=True)
class Topic:
    """What a room is about; *by* set it, at *at_ms*, if anybody can tell."""

    words: str = ""
    by: str = ""
    at_ms: int = 0


class HostedRoom:
    """A Matrix room as a MUC.

    *loaded* tells whether its members are known; until then it holds those whom we
    have met, and *gone* those who left meanwhile. *told* says up to which number a
    device has had the history. Anybody may come in if it is *open*;
    one that is *public* as well hides who its occupants are, and is never encrypted.
    """

    def __init__(
        self, portal: Portal, domain: str, secret: bytes, stencils: Stencils
    ) -> None:
        self.address = portal.xmpp
        self.portal = portal
        self.name = portal.name
        self.topic = Topic(portal.topic)
        self.open = True
        self.public = not portal.encrypted
        self.loaded = False
        self.gone: set[str] = set()
        self.seats: dict[str, Seat] = {}
        self.people: dict[str, Seat] = {}
        self.devices: dict[str, Seat] = {}
        self.told: dict[str, int] = {}
        self.history = History(self.address, domain)
        self._domain = domain
        self._digest = occupant_digest(secret, self.address)
        self._stencils = stencils

    def describe(self, about: Description) -> None:
        """Take note of what the room is called and who may come in."""
        self.name = about.name
        self.topic = Topic(about.topic, about.topic_by, about.topic_at_ms)
        self.open = about.public
        self._present(public=is_public(about) and not self.portal.encrypted)

    def close(self) -> None:
        """Show from now on who the occupants are: encryption needs to know."""
        self._present(public=False)

    def fill(self, members: Iterable[Member]) -> list[Seat]:
        """Seat those *members* who are not here yet and did not leave meanwhile.

        Return the seats of those who are here, but were shown with another rank.
        """
        mistaken = []
        for member in members:
            person = member.person
            if person.network is not Network.MATRIX or person.id in self.gone:
                continue
            seat = self.people.get(person.id)
            if seat is None:
                self.presence(self.seat(person, member.name, member.rank))
            elif seat.rank is not member.rank:
                seat.rank, seat.shown = member.rank, None
                mistaken.append(seat)
        return mistaken

    def holder(self, nick: str) -> Seat | None:
        """Return who goes by *nick*, or by one that could be mistaken for it."""
        return self.seats.get(same_nick_key(nick))

    def nick(self, person: Person, name: str) -> str:
        """Choose the nick of *person*, called *name*: free, and the same each time."""
        local = person.id.lstrip("@").partition(":")[0].partition("@")[0]
        local = safe_nick(local[:_LOCAL_CHARS_MAX], person.network.value)
        wanted = safe_nick(name, local)
        wishes = chain(
            (wanted, f"{wanted} ({local})"), (f"{local} {n}" for n in count(2))
        )
        for wish in wishes:
            nick = safe_nick(wish, local)
            holder = self.holder(nick)
            if holder is None or holder.person == person:
                return nick
        raise AssertionError  # one can count further than there are occupants

    def seat(self, person: Person, name: str, rank: Rank) -> Seat:
        """Give somebody of Matrix a seat."""
        nick = safe_nick(name, "")
        if nick == NOBODY or self.holder(nick) is not None:
            nick = self.nick(person, name)
        return self._sit(person, nick, name or nick, rank)

    def welcome(self, person: Person, nick: str) -> Seat:
        """Give somebody of XMPP a seat under *nick*, which is free."""
        self.gone.discard(person.id)
        return self._sit(person, nick, nick, Rank.MEMBER)

    def rename(self, seat: Seat, nick: str, name: str) -> None:
        """Let *seat* go by *nick*, which is its own or free."""
        del self.seats[same_nick_key(seat.nick)]
        self.seats[same_nick_key(nick)] = seat
        seat.nick, seat.name = nick, name
        seat.shown = None

    def leave(self, seat: Seat) -> None:
        """Free the seat, and all its devices'."""
        del self.seats[same_nick_key(seat.nick)]
        del self.people[seat.person.id]
        for device in seat.devices:
            self.devices.pop(device, None)
            self.told.pop(device, None)
        if not self.loaded:
            self.gone.add(seat.person.id)

    def enter(self, seat: Seat, device: str) -> None:
        """Let *device* listen at *seat*."""
        if device not in self.devices:
            seat.devices = (*seat.devices, device)
            self.devices[device] = seat

    def part(self, seat: Seat, device: str) -> None:
        """Let *device* no longer listen."""
        del self.devices[device]
        self.told.pop(device, None)
        seat.devices = tuple(known for known in seat.devices if known != device)

    def jid(self, seat: Seat) -> str:
        """Tell the address of *seat* outside of the room."""
        if seat.person.network is Network.XMPP:
            return seat.person.id
        return puppet_jid(seat.person.id, self._domain)

    def card(self, seat: Seat) -> Card:
        """Tell what others see of *seat*: JIDs only where all may know them."""
        network = seat.person.network
        affiliation, role = titles(seat.rank, network, public=self.public)
        return Card(
            f"{self.address}/{seat.nick}",
            affiliation,
            role,
            seat.id,
            "" if self.public else self.jid(seat),
            seat.name if seat.name != seat.nick else "",
            seat.status,
        )

    def presence(self, seat: Seat) -> Addressed:
        """Write the presence by which others see *seat*."""
        if seat.shown is None:
            card = self.card(seat)
            if seat.status:
                seat.shown = addressed(available(card), self._domain)
            else:
                seat.shown = self._stencils.available(card)
        return seat.shown

    def _present(self, *, public: bool) -> None:
        if self.public is not public:
            self.public = public
            for seat in self.seats.values():
                seat.shown = None

    def _sit(self, person: Person, nick: str, name: str, rank: Rank) -> Seat:
        digest = self._digest.copy()
        digest.update(person.id.encode())
        seat = Seat(person, nick, name, rank, digest.hexdigest())
        self.seats[same_nick_key(nick)] = seat
        self.people[person.id] = seat
        return seat


def is_public(about: Description) -> bool:
    """Tell whether a room hides who its occupants are; an encrypted one cannot."""
    return about.public and not about.encrypted


def occupant_digest(secret: bytes, room: str) -> "hashlib.blake2s":
    """Begin to name people in *room*: for good, and in this room only.

    XEP-0421 §4 asks for ids that nobody can trace; a keyed hash gives them.
    """
    key = hashlib.sha256(secret).digest()
    return hashlib.blake2s(f"{room}\0".encode(), key=key, digest_size=OCCUPANT_ID_BYTES)


def occupant_id(secret: bytes, room: str, person: str) -> str:
    """Name *person* in *room*."""
    digest = occupant_digest(secret, room)
    digest.update(person.encode())
    return digest.hexdigest()
