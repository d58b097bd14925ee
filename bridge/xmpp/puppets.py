"""Brings the people of Matrix into a MUC elsewhere, each when they first speak.

    out -> coming in -> in -> (put out, stream lost) -> out or in doubt

One puppet of a MUC comes in at a time, so that they come in the order in which they
speak and never compete for a nick.
"""

import asyncio
import enum
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from bridge.model.delivery import Later, Refusal, Refused
from bridge.model.records import Puppet
from bridge.xmpp.codec.fault import Fault, fault, refused
from bridge.xmpp.codec.names import puppet_jid
from bridge.xmpp.codec.nicks import SUFFIXES, safe_nick, same_nick_key
from bridge.xmpp.codec.presence import Seen, is_self, seen
from bridge.xmpp.codec.xml import node
from bridge.xmpp.gate import serialise
from bridge.xmpp.means import RESOURCE, Means
from bridge.xmpp.occupancy import Occupancy
from bridge.xmpp.selfping import still_in

logger = logging.getLogger(__name__)

JOIN_TIMEOUT_S = 30.0

_MUC = "http://jabber.org/protocol/muc"

# XEP-0045 §7.2: why somebody may not come in
_WORDS = {
    "forbidden": "they are banned from the room",
    "registration-required": "only members of the room may come in",
    "not-authorized": "the room has a password",
    "service-unavailable": "the room is full",
    "not-allowed": "the room may not be made",
    "not-acceptable": "the room does not allow this nick",
    "item-not-found": "the room is not open",
}
_PASSING = frozenset(
    ("remote-server-timeout", "remote-server-not-found", "resource-constraint")
)


class Place(enum.Enum):
    """Where a puppet is, as far as we know."""

    OUT = "out"
    DOUBTFUL = "doubtful"
    IN = "in"


@dataclass(slots=True)
class Seat:
    """A puppet in one MUC; *nick* is what it bears or bore, *asked* what it wants."""

    mxid: str
    jid: str
    nick: str = ""
    asked: str = ""
    place: Place = Place.OUT
    waiting: "asyncio.Future[Fault | None] | None" = field(default=None, repr=False)

    @property
    def within(self) -> bool:
        """Whether the puppet is in the room, as far as we know."""
        return self.place is Place.IN

    @property
    def full(self) -> str:
        """The device that is in the MUC."""
        return f"{self.jid}/{RESOURCE}"


class Puppets:
    """Our puppets in one MUC.

    *put_out* is called with a puppet that somebody of the room has put out of it.
    """

    def __init__(
        self,
        muc: str,
        means: Means,
        occupancy: Occupancy,
        put_out: Callable[[str, Seen], None],
    ) -> None:
        self._muc = muc
        self._means = means
        self._occupancy = occupancy
        self._put_out = put_out
        self._seats: dict[str, Seat] = {}
        self._by_jid: dict[str, Seat] = {}
        self._by_nick: dict[str, Seat] = {}
        self._known: set[str] = set()
        self._turn = asyncio.Lock()
        self._asking: Seat | None = None

    def __iter__(self) -> Iterator[Seat]:
        return iter(tuple(self._seats.values()))

    def restore(self, record: Puppet) -> None:
        """Take note of what an earlier run had left."""
        seat = self._seat(record.mxid)
        seat.place = Place.DOUBTFUL if record.joined else Place.OUT
        self._bear(seat, record.nick)

    def ours(self, nick: str, stanza_id: str) -> bool:
        """Tell whether what *nick* said was said by a puppet.

        Whether it was when a puppet bore the nick is not always known, but only our
        own messages are called as Matrix events are.
        """
        seat = self._by_nick.get(nick)
        if seat is not None and seat.place is Place.IN:
            return True
        return stanza_id.startswith("$") and nick in self._known

    def bears(self, nick: str) -> bool:
        """Tell whether *nick* is a puppet's, or may be."""
        asking = self._asking
        return nick in self._by_nick or (asking is not None and asking.asked == nick)

    def seat(self, mxid: str) -> Seat | None:
        """Return the seat of somebody who was here."""
        return self._seats.get(mxid)

    def doubt(self) -> None:
        """Take note that the stream was lost: who is still in is not known."""
        for seat in self._seats.values():
            if seat.place is Place.IN:
                seat.place = Place.DOUBTFUL
            _tell(seat, Fault("remote-server-timeout", "wait"))

    def lost(self, seat: Seat) -> None:
        """Take note that a puppet is not in the room."""
        if self._by_nick.get(seat.nick) is seat:
            del self._by_nick[seat.nick]
        if seat.place is not Place.OUT:
            seat.place = Place.OUT
            self._remember(seat)

    async def ensure(self, mxid: str, name: str) -> Refused | Later | None:
        """Have the puppet of *mxid* in the room, called *name*; None if it is."""
        seat = self._seats.get(mxid)
        if seat is not None and seat.place is Place.IN:
            return None
        async with self._turn:
            return await self._bring(self._seat(mxid), name)

    async def rename(self, mxid: str, name: str) -> None:
        """Let a puppet that is in the room be called *name*, if the room allows it."""
        seat = self._seats.get(mxid)
        if seat is None or seat.place is not Place.IN:
            return
        async with self._turn:
            for nick in self._free(seat, name):
                if nick == seat.nick or await self._ask(seat, nick) is None:
                    break
            self._remember(seat)

    def farewell(self, mxid: str) -> bytes:
        """Write what lets a puppet leave, and count it as gone."""
        seat = self._seats.get(mxid)
        if seat is None or seat.place is Place.OUT:
            return b""
        to = f"{self._muc}/{seat.nick}"
        self.lost(seat)
        leave = {"from": seat.full, "to": to, "type": "unavailable"}
        return serialise(node("presence", leave), self._means.domain)

    def received(self, stanza: Element, jid: str, nick: str) -> None:
        """Take a presence that came to a puppet; nearly all of them say nothing."""
        seat = self._by_jid.get(jid)
        if seat is None:
            return
        kind = stanza.get("type")
        if kind == "error":
            _tell(seat, fault(stanza))
        elif kind == "unavailable":
            if nick == seat.nick:
                self._gone(seat, seen(stanza, nick))
        elif seat.waiting is not None and is_self(stanza):
            seat.place = Place.IN
            self._bear(seat, nick)
            _tell(seat, None)

    def _gone(self, seat: Seat, seen: Seen) -> None:
        if seen.new_nick:
            self._bear(seat, seen.new_nick)
            self._remember(seat)
            return
        self.lost(seat)
        _tell(seat, Fault("forbidden", "auth", seen.reason))
        self._put_out(seat.mxid, seen)

    async def _bring(self, seat: Seat, name: str) -> Refused | Later | None:
        if seat.place is Place.IN:
            return None
        if await self._stayed(seat):
            seat.place = Place.IN
            return None
        wish = seat.nick if seat.place is Place.DOUBTFUL else ""
        trouble = Fault("conflict")
        for nick in self._free(seat, name, wish):
            # Before it can speak: what it says must be known for ours even if we
            # fall now and read it in the archive.
            if not await self._means.keep(
                Puppet(self._muc, seat.mxid, nick, joined=True)
            ):
                return Later(1.0)
            answer = await self._ask(seat, nick)
            if answer is None:
                self._remember(seat)
                return None
            trouble = answer
            if answer.condition != "conflict":
                break
        self.lost(seat)
        self._remember(seat)
        return _why(trouble)

    async def _stayed(self, seat: Seat) -> bool:
        """Tell whether a puppet is still in, though the stream was lost."""
        if seat.place is not Place.DOUBTFUL or seat.nick not in self._occupancy:
            return False
        address = f"{self._muc}/{seat.nick}"
        return await still_in(self._means, address, seat.full) is True

    async def _ask(self, seat: Seat, nick: str) -> Fault | None:
        """Ask the room for *nick*, and wait for its answer (XEP-0045 §7.2, §7.6)."""
        asked = [node("x", {"xmlns": _MUC}, node("history", {"maxstanzas": "0"}))]
        if seat.place is Place.IN:
            asked = []
        to = f"{self._muc}/{nick}"
        stanza = node("presence", {"from": seat.full, "to": to}, *asked)
        seat.asked, self._asking = nick, seat
        seat.waiting = asyncio.get_running_loop().create_future()
        try:
            if not self._means.stream.write(serialise(stanza, self._means.domain)):
                return Fault("remote-server-timeout", "wait")
            async with asyncio.timeout(JOIN_TIMEOUT_S):
                return await seat.waiting
        except TimeoutError:
            return Fault("remote-server-timeout", "wait")
        finally:
            seat.waiting = self._asking = None

    def _free(self, seat: Seat, name: str, wish: str = "") -> list[str]:
        """List the nicks worth asking for, *wish* first.

        What people would mix up with somebody else's nick is not.
        """
        others = {
            same_nick_key(seen.nick)
            for seen in self._occupancy
            if seen.nick != seat.nick and self._by_nick.get(seen.nick) is not seat
        }
        plain = safe_nick(name, seat.mxid[1:].partition(":")[0])
        wanted = (wish, plain, *(plain + suffix for suffix in SUFFIXES))
        return [
            nick
            for nick in dict.fromkeys(wanted)
            if nick
            and same_nick_key(nick) not in others
            and self._by_nick.get(nick, seat) is seat
        ]

    def _seat(self, mxid: str) -> Seat:
        seat = self._seats.get(mxid)
        if seat is None:
            seat = Seat(mxid, puppet_jid(mxid, self._means.domain))
            self._seats[mxid] = self._by_jid[seat.jid] = seat
        return seat

    def _bear(self, seat: Seat, nick: str) -> None:
        if self._by_nick.get(seat.nick) is seat:
            del self._by_nick[seat.nick]
        seat.nick = nick
        self._known.add(nick)
        if seat.place is not Place.OUT:
            self._by_nick[nick] = seat

    def _remember(self, seat: Seat) -> None:
        joined = seat.place is Place.IN
        self._means.put(Puppet(self._muc, seat.mxid, seat.nick, joined))


def _tell(seat: Seat, answer: Fault | None) -> None:
    if seat.waiting is not None and not seat.waiting.done():
        seat.waiting.set_result(answer)


def _why(answer: Fault) -> Refused | Later:
    if answer.kind == "wait" or answer.condition in _PASSING:
        return Later(1.0)
    if answer.condition == "conflict":
        return Refused(Refusal.REJECTED, "somebody else in the room bears your name")
    words = _WORDS.get(answer.condition)
    if words is None:
        return refused(answer, room=True)
    why = Refusal.NO_SUCH_ROOM if answer.condition == "item-not-found" else None
    return Refused(why or Refusal.NOT_ALLOWED, answer.text or words)
