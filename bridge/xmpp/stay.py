"""Our stay in one MUC elsewhere: the bridge itself is there, and listens.

    out -> entering (join, then the archive; live messages are held) -> live

Only what comes to the listener is read in full; every puppet gets a copy of all.
"""

import asyncio
import enum
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from xml.etree.ElementTree import Element

from bridge.model.delivery import Description, Later, Refusal, Refused
from bridge.model.places import Network, Room
from bridge.model.records import Cursor, Puppet, Record
from bridge.xmpp.codec.about import INFO, About, about
from bridge.xmpp.codec.fault import Fault, fault, refused
from bridge.xmpp.codec.peek import UNREAD
from bridge.xmpp.codec.presence import CONFIGURED, CREATED, SELF, SHUT_DOWN, Seen, seen
from bridge.xmpp.codec.xml import node
from bridge.xmpp.component import IqError
from bridge.xmpp.confirm import Confirmations
from bridge.xmpp.gate import StanzaError, serialise
from bridge.xmpp.hearing import Hearing, Mark
from bridge.xmpp.means import Means
from bridge.xmpp.members import Members
from bridge.xmpp.occupancy import Occupancy
from bridge.xmpp.puppets import Puppets
from bridge.xmpp.recall import CURSOR, Recall
from bridge.xmpp.selfping import still_in
from bridge.xmpp.turns import Turns
from bridge.xmpp.watching import Watching

logger = logging.getLogger(__name__)

NICKS = ("Matrix bridge", *(f"Matrix bridge {n}" for n in range(2, 6)))
ASK_S = 15.0
JOIN_S = 30.0
READY_S = 10.0
GIVE_UP_S = 24 * 3600.0
STEADY_S = 60.0
"""Whoever is put out sooner after coming in is not wanted, perhaps by a robot."""
REST_S = 2.0
SETBACKS_MAX = 9
MISSING_S = 120.0
"""For so long what is for a MUC that is away waits, as mail would."""

_MUC = "http://jabber.org/protocol/muc"
_RESULT = "{urn:xmpp:mam:2}result"
_OVERLAP = timedelta(seconds=60)


class Phase(enum.Enum):
    """How far in we are."""

    OUT = "out"
    ENTERING = "entering"
    LIVE = "live"


class Stay:
    """One MUC and all that is ours in it; *thrown_out* is called when we fall out.

    It waits for one of *turns* to be entered: few are at once.
    """

    def __init__(
        self,
        address: str,
        means: Means,
        turns: Turns,
        thrown_out: Callable[["Stay"], None],
    ) -> None:
        self.address = address
        self.room = Room(Network.XMPP, address)
        self.refusal: Refusal | None = None
        self.going_in = False
        self.visitors = self._setbacks = 0
        self.saved: Mark | None = None
        self.heard_at = 0.0
        self.confirmations = Confirmations()
        self.occupancy = Occupancy(address)
        self.members = Members(address, means)
        self._means = means
        self._turns = turns
        self._thrown_out = thrown_out
        self._phase = Phase.OUT
        self._turn = asyncio.Lock()
        self._live = asyncio.Event()
        self._joined: asyncio.Future[Fault | None] | None = None
        self._out_since = self._in_since = asyncio.get_running_loop().time()
        self._destroyed = False
        self.watching = Watching(self.room, means, self.occupancy)
        self.puppets = Puppets(
            address, means, self.occupancy, self.watching.puppet_put_out
        )
        self.watching.puppets = self.puppets
        self.hearing = Hearing(
            self.room,
            means,
            self.occupancy,
            self.puppets,
            self.confirmations,
            self.watching.spoke,
        )
        self._recall = Recall(self.room, means, self.hearing)

    @property
    def live(self) -> bool:
        """Whether we hear all that is said."""
        return self._phase is Phase.LIVE

    def restore(self, mark: str) -> None:
        """Take note of how far an earlier run had heard."""
        self.hearing.mark = Mark.read(mark)

    def cursor(self, mark: Mark) -> Cursor:
        """Write down how far we have heard."""
        return Cursor(CURSOR, self.address, mark.write())

    def records(self) -> list[Record]:
        """List all that is written down of us here."""
        nicks = [Puppet(self.address, s.mxid, s.nick) for s in self.puppets]
        own = Puppet(self.address, "", self.hearing.nick)
        return [*nicks, own, self.cursor(self.hearing.mark)]

    async def enter(self) -> Description | Refusal:
        """Go in and catch up on what was said; entering twice is once."""
        async with self._turn:
            if self._phase is not Phase.LIVE:
                async with self._turns.turn(self.address):
                    self.refusal = await self._try_to_enter()
            if self.refusal is not None:
                return self.refusal
            return Description(
                self.hearing.about.name,
                self.hearing.subject or self.hearing.about.description,
                public=self.hearing.about.public,
            )

    async def ready(self) -> Refused | Later | None:
        """Wait a while until we hear what is said; None if we do."""
        if self._phase is Phase.LIVE:
            return None
        if not self._means.stream.connected:
            return Later(1.0)
        try:
            async with asyncio.timeout(READY_S):
                await self._live.wait()
        except TimeoutError:
            if self._out_s() > self._patience_s():
                return Refused(self.refusal or Refusal.UNREACHABLE)
            return Later(2.0, self.address)
        return None

    @property
    def missing(self) -> bool:
        """Whether a fallen server has forgotten it, and may soon remember."""
        gone = self.refusal is Refusal.NO_SUCH_ROOM and not self._destroyed
        return gone and self._out_s() <= MISSING_S

    def _out_s(self) -> float:
        return asyncio.get_running_loop().time() - self._out_since

    def _patience_s(self) -> float:
        """Tell how long what we have to say may wait for us to come in."""
        if self.refusal in (None, Refusal.UNREACHABLE):
            return GIVE_UP_S
        if self.refusal is Refusal.NO_SUCH_ROOM and not self._destroyed:
            # A server that was killed may have forgotten it until people come back.
            return MISSING_S
        return 0.0

    async def rest(self) -> None:
        """Wait before we come in again, if we were put out twice or more."""
        if self._setbacks > 1:
            await asyncio.sleep(REST_S * 2 ** (self._setbacks - 2))

    def lost(self) -> None:
        """Take note that the stream is lost."""
        self._fall_out()
        self._setbacks = 0
        self.puppets.doubt()
        self.confirmations.interrupt()

    async def check(self) -> bool:
        """Find out whether we are still in, and go in again if not (XEP-0410).

        False if nobody can tell: the room gives no answer.
        """
        if self._phase is not Phase.LIVE:
            return True
        self.heard_at = asyncio.get_running_loop().time()
        address = f"{self.address}/{self.hearing.nick}"
        inside = await still_in(self._means, address, self._means.listener)
        if inside is False:
            logger.info("%s: we had fallen out without a word", self.address)
            self._fall_out()
            self._thrown_out(self)
        return inside is not None

    def leave(self) -> bytes:
        """Write what takes the bridge itself out of the room."""
        to = f"{self.address}/{self.hearing.nick or NICKS[0]}"
        self._fall_out()
        leave = {"from": self._means.listener, "to": to, "type": "unavailable"}
        return serialise(node("presence", leave), self._means.domain)

    def message(self, stanza: Element, nick: str) -> None:
        """Take a message that came to the listener."""
        self.heard_at = asyncio.get_running_loop().time()
        kind = stanza.get("type")
        if stanza.tag == UNREAD:
            whose = f"of {nick} " if nick else ""
            self._recall.warn(f"a message {whose}is too large to be shown here")
        elif kind == "groupchat":
            self._said(stanza, nick)
        elif kind == "error" and not nick:
            self.confirmations.bounced(stanza.get("id", ""), fault(stanza))
        elif not nick and (result := stanza.find(_RESULT)) is not None:
            self._recall.received(result)
        elif not nick:
            self._noted(seen(stanza, ""))

    def _said(self, stanza: Element, nick: str) -> None:
        """Take what somebody, or the room itself, says to all."""
        if not nick:
            self._noted(seen(stanza, ""))
        if self._phase is Phase.LIVE:
            self.hearing.hear(stanza, nick)
        elif self._phase is Phase.ENTERING:
            self._recall.hold(stanza, nick)

    def _noted(self, note: Seen) -> None:
        """Take what the room itself says of somebody, or that it is another now."""
        self.members.told(note.jid, note.affiliation)
        if note.statuses & CONFIGURED and self._phase is Phase.LIVE:
            self._means.tasks.create_task(self._learn(), name="look at a MUC again")

    async def _learn(self) -> None:
        """Ask what the room is now (XEP-0045 §10.2.1)."""
        asked = node("query", {"xmlns": INFO})
        try:
            answer = await self._means.stream.iq(
                "get", self.address, self._means.listener, asked, ASK_S
            )
        except (IqError, TimeoutError, ConnectionError) as error:
            logger.info("%s: what it is now is not told: %s", self.address, error)
            return
        found = about(answer)
        if found is not None:
            self.hearing.about = found
            if found.secret:
                await self.members.ask()

    def presence(self, stanza: Element, nick: str) -> None:
        """Take a presence that came to the listener."""
        self.heard_at = asyncio.get_running_loop().time()
        kind = stanza.get("type")
        if kind == "error":
            self._tell(fault(stanza))
        elif nick and kind in (None, "unavailable"):
            about_us = seen(stanza, nick)
            self.members.told(about_us.jid, about_us.affiliation)
            if SELF in about_us.statuses or nick == self.hearing.nick:
                self._own(about_us)
            else:
                self.watching.saw(about_us)

    def _own(self, us: Seen) -> None:
        """Take a presence of our own."""
        if not us.gone:
            self.occupancy.enter(us)
            self._bear(us.nick)
            self._tell(Fault("item-not-found") if CREATED in us.statuses else None)
        elif us.new_nick:
            self._bear(us.new_nick)
        else:
            self._tell(Fault("forbidden", "auth", us.reason))
            if self._phase is Phase.OUT:
                return
            codes = sorted(us.statuses)
            logger.warning("%s: we were put out (%s)", self.address, codes)
            in_s = asyncio.get_running_loop().time() - self._in_since
            most = 2 if SHUT_DOWN in us.statuses else SETBACKS_MAX
            self._setbacks = 1 if in_s >= STEADY_S else min(self._setbacks + 1, most)
            self._fall_out()
            if us.destroyed:
                self.refusal, self._destroyed = Refusal.NO_SUCH_ROOM, True
            self._thrown_out(self)

    def _bear(self, nick: str) -> None:
        self.hearing.nick = self.watching.own = nick

    async def _try_to_enter(self) -> Refusal | None:
        self._phase = Phase.ENTERING
        try:
            refusal = await self._enter()
        except IqError as error:
            answer = Fault(error.condition, error.kind, error.text)
            refusal = refused(answer, room=True).why
        except (TimeoutError, ConnectionError, StanzaError):
            refusal = Refusal.UNREACHABLE
        if refusal is None and self._phase is not Phase.ENTERING:
            refusal = Refusal.UNREACHABLE  # the stream was lost, or we were put out
        if refusal is not None:
            logger.info("%s: cannot be entered: %s", self.address, refusal.name)
            self._fall_out()
            return refusal
        self._release()
        return None

    async def _enter(self) -> Refusal | None:
        asked = node("query", {"xmlns": INFO})
        answer = await self._means.stream.iq(
            "get", self.address, self._means.listener, asked, ASK_S
        )
        found = about(answer)
        if found is None:
            return Refusal.NO_SUCH_ROOM
        self.hearing.about = found
        self.occupancy.occupant_ids = found.occupant_ids
        refusal = await self._join(found)
        if refusal is None and found.secret:
            await self.members.ask()
        if refusal is None:
            await self._recall.catch_up(found)
        return refusal

    async def _join(self, about: About) -> Refusal | None:
        self.watching.entering()
        answer: Fault | None = None
        wish = self.hearing.nick
        for nick in dict.fromkeys((wish or NICKS[0], *NICKS)):
            answer = await self._ask(nick, about)
            if answer is None or answer.condition != "conflict":
                break
        if answer is None:
            self._means.put(Puppet(self.address, "", self.hearing.nick, joined=True))
            self.watching.entered(about.occupants)
            return None
        if answer.condition == "item-not-found":
            # It was not there, so the service has made it for us: unmake it.
            self._means.stream.write(self.leave())
        return refused(answer, room=True).why

    async def _ask(self, nick: str, about: About) -> Fault | None:
        asked = node("x", {"xmlns": _MUC}, node("history", self._history(about)))
        own = {"from": self._means.listener, "to": f"{self.address}/{nick}"}
        stanza = serialise(node("presence", own, asked), self._means.domain)
        joined: asyncio.Future[Fault | None]
        joined = asyncio.get_running_loop().create_future()
        self._joined = joined
        try:
            if not self._means.stream.write(stanza):
                return Fault("remote-server-timeout", "wait")
            async with asyncio.timeout(JOIN_S):
                return await joined
        finally:
            self._joined = None

    def _history(self, about: About) -> dict[str, str]:
        """Ask for what was missed where there is no archive (XEP-0045 §7.2.14)."""
        stamp = self.hearing.former = self.hearing.mark.stamp
        self.hearing.horizon = Mark.now("").stamp
        if about.archive or not stamp:
            return {"maxstanzas": "0"}
        logger.warning("%s has no archive: its history may be short", self.address)
        since = datetime.fromisoformat(stamp) - _OVERLAP
        self.hearing.horizon = since.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {"since": self.hearing.horizon}

    def _release(self) -> None:
        self._phase, self._destroyed = Phase.LIVE, False
        self._in_since = asyncio.get_running_loop().time()
        self._recall.release()
        self._live.set()
        self.watching.inside()
        self._means.host.back(self.address)
        logger.info("%s: we are in, %d occupants", self.address, len(self.occupancy))

    def _fall_out(self) -> None:
        if self._phase is Phase.LIVE:
            self._out_since = asyncio.get_running_loop().time()
        self._phase = Phase.OUT
        self._live.clear()
        self.watching.outside()
        self._recall.forget()
        self._tell(Fault("remote-server-timeout", "wait"))

    def _tell(self, answer: Fault | None) -> None:
        if self._joined is not None and not self._joined.done():
            self._joined.set_result(answer)
