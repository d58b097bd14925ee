"""The venue for MUCs on any server but ours: foreign ones and plumbed ones."""

import asyncio
import functools
import logging
import secrets
from collections.abc import Coroutine, Sequence
from xml.etree.ElementTree import Element

from bridge.core.ports import State, Unit
from bridge.model.delivery import (
    Arrival,
    Delivered,
    Description,
    Later,
    Outcome,
    Parcel,
    Refusal,
    Refused,
    Route,
    Taken,
    Unreadable,
    Wire,
)
from bridge.model.events import AnyEvent, Leave, Message, Protection, Rename
from bridge.model.places import Network, Room
from bridge.model.records import Cursor, Kind, Portal, Puppet
from bridge.xmpp import wording
from bridge.xmpp.checking import Company
from bridge.xmpp.codec.fault import fault
from bridge.xmpp.codec.names import Jid, parse
from bridge.xmpp.codec.peek import UNREAD
from bridge.xmpp.endtoend import EndToEnd
from bridge.xmpp.gate import serialise
from bridge.xmpp.hopes import Hopes
from bridge.xmpp.means import BOT, LISTENER, Means
from bridge.xmpp.muc import refusals
from bridge.xmpp.muc.stanza import to_element
from bridge.xmpp.muc_secrecy import MucSecrecy
from bridge.xmpp.packing import (
    MUC,
    Act,
    Aside,
    Exit,
    Heard,
    NewName,
    Speaker,
    Speech,
    act,
    pack,
    unpack,
)
from bridge.xmpp.recall import CURSOR
from bridge.xmpp.saying import Item, Saying
from bridge.xmpp.stay import Stay
from bridge.xmpp.turns import ALL_MAX, Turns

logger = logging.getLogger(__name__)

PAUSE_S = 1.0
PAUSE_S_MAX = 300.0
HOPELESS_S = 30.0
MISSING_PAUSE_S = 4.0
SILENCE_S = 600.0
TICK_S = 1.0
TICKS = 60
TOGETHER_MAX = 64

_MESSAGE = "{jabber:component:accept}message"
_BODY = "{jabber:component:accept}body"


class Mucs:
    """Everything that we do in MUCs elsewhere; see ``Venue`` for most of it.

    *ignored* counts the stanzas that nothing could be made of.
    """

    def __init__(
        self,
        means: Means,
        endtoend: EndToEnd | None = None,
        hopes: Hopes | None = None,
    ) -> None:
        self.ignored = 0
        self._secrecy = MucSecrecy(means, endtoend, hopes)
        self._means = means
        self._stays: dict[str, Stay] = {}
        self._mouths: dict[str, Saying] = {}
        self._turns = Turns(ALL_MAX)
        self._running: set[asyncio.Task[None]] = set()

    @property
    def tag(self) -> bytes:
        """The first byte of all that this venue writes for itself."""
        return MUC

    def knows(self, address: str) -> bool:
        """Tell whether we are, or want to be, in the MUC of that address."""
        return address in self._stays

    async def start(self) -> None:
        """Remember which MUCs we were in, and how far we had heard."""
        store = self._means.store
        for portal in await store.load(Portal):
            if portal.kind in (Kind.FOREIGN, Kind.PLUMBED):
                self._stay(portal.xmpp)
        for puppet in await store.load(Puppet):
            stay = self._stay(puppet.muc)
            if puppet.mxid:
                stay.puppets.restore(puppet)
            else:
                stay.hearing.nick = puppet.nick
        cursors = await store.load(Cursor)
        self._secrecy.restore(cursors)
        for cursor in cursors:
            if cursor.kind == CURSOR and cursor.key in self._stays:
                self._stays[cursor.key].restore(cursor.value)
                self._mouths[cursor.key].hold()

    async def run(self) -> None:
        """Note how far we have heard, and look after silent rooms, for ever."""
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            ticks += 1
            if ticks == TICKS:
                for mouth in self._mouths.values():
                    mouth.release()
            await self._secrecy.follow()
            for stay in tuple(self._stays.values()):
                self._save(stay)
            for stay in tuple(self._stays.values()):
                await stay.watching.look()
            if ticks % TICKS == 0:
                self._look_after_silent()

    def close(self) -> None:
        """Begin nothing more."""
        for task in self._running:
            task.cancel()

    async def up(self) -> None:
        """Enter all our rooms again, a few at a time."""
        for stay in self._stays.values():
            self._go_in(stay)

    def down(self) -> None:
        """Take note that we may be in no room any more."""
        self.close()
        for stay in self._stays.values():
            stay.lost()

    def received(self, stanza: Element, sender: Jid, to: Jid) -> None:
        """Take a stanza of a MUC that we know."""
        stay = self._stays.get(sender.bare)
        if stay is None:
            self.ignored += 1
            return
        listens = to.local == BOT and to.resource == LISTENER
        if stanza.tag not in (_MESSAGE, UNREAD):
            if listens:
                stay.presence(stanza, sender.resource)
            else:
                stay.puppets.received(stanza, to.bare, sender.resource)
            return
        kind = stanza.get("type")
        if kind not in ("groupchat", "error", "headline") and sender.resource:
            self._whispered(stanza)
        elif listens:
            stay.message(stanza, sender.resource)
        elif kind == "error" and not sender.resource:
            stay.confirmations.bounced(stanza.get("id", ""), fault(stanza))

    def glance(self, arrival: Arrival) -> Message | None:
        """Make a message of what somebody said, if it is plain to see."""
        heard = unpack(Heard, arrival.raw)
        if heard is None:
            return None
        stanza = to_element(heard.stanza)
        if not self._secrecy.is_plain(heard, stanza):
            return None
        read = wording.read(heard, arrival.key, stanza, Protection.TRANSPORT)
        return read if isinstance(read, Message) else None

    async def read(self, taken: Taken, unit: Unit) -> AnyEvent | Unreadable | None:
        """Make an event of what somebody said."""
        heard = unpack(Heard, taken.arrival.raw)
        if heard is None:
            logger.error("arrival %d is in no format of ours", taken.seq)
            return None
        key, stay = taken.arrival.key, self._stays.get(heard.muc)
        stanza = to_element(heard.stanza)
        came = await self._secrecy.open(heard, stanza, key, unit, stay)
        if came is None:
            return None
        if isinstance(came, Refused):
            return wording.unreadable(heard, came)
        how = Protection.TRANSPORT if came is stanza else Protection.END_TO_END
        return wording.read(heard, key, came, how)

    def receipt(self, event: Message) -> bytes:
        """Note who is to be told how *event* fared."""
        return wording.receipt(event)

    def prepare(self, event: Message, route: Route) -> Sequence[Wire] | Refusal:
        """Write *event* as a puppet says it."""
        protected = event.protection is Protection.END_TO_END
        guard = self._secrecy.guard(route.room.address, protected=protected)
        return wording.prepare(event, route, self._means.domain, guard)

    def protection(self, portal: Portal) -> Protection:
        """Tell how well what is said to a MUC is guarded; see ``Adapter``.

        As long as nobody knows what the room is, it is promised: it will be seen on
        the way out.
        """
        stay = self._stays.get(portal.xmpp)
        about = None if stay is None else stay.hearing.about
        unfit = about is not None and about.features and not about.secret
        if unfit or not self._secrecy.works:
            return Protection.TRANSPORT
        return Protection.END_TO_END

    async def apply(self, event: State, route: Route) -> Sequence[Wire]:
        """Let a puppet leave with its person, or be called as they are."""
        muc = route.room.address
        match event:
            case Leave() if event.person.network is Network.MATRIX:
                what: Act = Exit(muc, event.person.id)
            case Rename() if event.sender.network is Network.MATRIX:
                what = NewName(muc, event.sender.id, event.name)
            case _:
                # Puppets come in when they speak; topics are the room's own affair.
                return ()
        return (Wire(f"{event.ref.id}/state", pack(MUC, what)),)

    async def send(self, parcels: Sequence[Parcel]) -> Sequence[Outcome | Later]:
        """Say what the first of *parcels* hold, as many as belong together."""
        first = act(parcels[0].wire.data)
        if first is None:
            logger.error("parcel %d is in no format of ours", parcels[0].id)
            return [Refused(Refusal.MALFORMED)]
        if not isinstance(first, Speech):
            return [await self._perform(first)]
        items: list[Item] = []
        for parcel in parcels[:TOGETHER_MAX]:
            what = act(parcel.wire.data)
            if not isinstance(what, Speech) or what.muc != first.muc:
                break
            items.append((parcel, what))
        stay = self._stay(first.muc)
        if not stay.live:
            self._go_in(stay)
        return await self._mouths[first.muc].say(items)

    def settle(self, receipt: bytes, outcome: Outcome) -> Sequence[Wire]:
        """Tell whoever spoke if their words did not cross."""
        speaker = unpack(Speaker, receipt)
        if speaker is None:
            logger.error("a receipt is in no format of ours")
            return ()
        stay = self._stays.get(speaker.muc)
        # Their nick may be somebody else's by now.
        seen = None if stay is None else stay.occupancy.holder(speaker.person)
        nick = "" if seen is None else seen.nick
        return wording.settle(speaker, nick, outcome, self._means.bot)

    def notice(self, room: Room, words: str) -> Sequence[Wire]:
        """Write words of the bridge's own to *room*."""
        means = self._means
        return wording.notice(room.address, words, means.bot, means.domain)

    async def visit(self, muc: str) -> Description | Refusal:
        """Enter a MUC to listen there; see ``XmppRooms``."""
        jid = parse(muc)
        if jid is None or not jid.local or jid.full != muc:
            return Refusal.NO_SUCH_ROOM
        if jid.domain == self._means.domain:
            return Refusal.NO_SUCH_ROOM
        known = muc in self._stays
        stay = self._stay(muc)
        stay.visitors += 1
        try:
            answer = await stay.enter()
        finally:
            stay.visitors -= 1
        if isinstance(answer, Refusal) and not known and not stay.visitors:
            self._forget(muc)
        return answer

    async def depart(self, portal: Portal) -> Sequence[Wire]:
        """Write what takes all of us out of the MUC of *portal*."""
        stay = self._stays.get(portal.xmpp)
        if stay is None:
            return ()
        leaving, token = [s.mxid for s in stay.puppets], secrets.token_hex(8)
        return tuple(
            Wire(f"{token}/{mxid}", pack(MUC, Exit(portal.xmpp, mxid)))
            for mxid in (*leaving, "")
        )

    def company(self, muc: str) -> Company:
        """Name who meets in a MUC; see ``Checking``."""
        return self._secrecy.company(self._stays.get(muc))

    async def _perform(self, what: Aside | Exit | NewName) -> Outcome | Later:
        """Do what is no speech, and wait until the server has it."""
        stream = self._means.stream
        if not stream.connected:
            return Later(1.0)
        data = b""
        stay = self._stays.get(what.muc)
        if isinstance(what, Aside):
            data = what.stanza
        elif stay is None:
            return Delivered()
        elif isinstance(what, NewName):
            await stay.puppets.rename(what.mxid, what.name)
        elif what.mxid:
            data = stay.puppets.farewell(what.mxid)
        else:
            data = stay.leave()
        if data and not (stream.write(data) and await stream.barrier()):
            return Later(1.0)
        if isinstance(what, Exit) and not what.mxid and stay is not None:
            self._means.drop(*stay.records())
            self._forget(what.muc)
        return Delivered()

    def _whispered(self, stanza: Element) -> None:
        """Answer a private message: it would reach nobody (XEP-0045 §7.5)."""
        speaks = stanza.find(_BODY) is not None
        answer = refusals.refuse(stanza, refusals.NO_WHISPER) if speaks else None
        if answer is not None:
            self._means.stream.write(serialise(answer, self._means.domain))

    def _stay(self, muc: str) -> Stay:
        stay = self._stays.get(muc)
        if stay is None:
            stay = Stay(muc, self._means, self._turns, self._go_in)
            self._stays[muc] = stay
            self._mouths[muc] = Saying(self._means, stay, self._secrecy)
        return stay

    def _forget(self, muc: str) -> None:
        self._stays.pop(muc, None)
        self._mouths.pop(muc, None)

    def _save(self, stay: Stay) -> None:
        """Note how far we have heard, once all of that is on disk."""
        mark = self._mouths[stay.address].floor or stay.hearing.mark
        if mark is not stay.saved and mark.stamp:
            stay.saved = mark
            # A cursor that outran what is written of our own words would make us,
            # after a fall, say them again.
            note = functools.partial(self._means.host.note, stay.cursor(mark))
            self._means.inbound.after(note)

    def _look_after_silent(self) -> None:
        since = asyncio.get_running_loop().time() - SILENCE_S
        for stay in self._stays.values():
            if stay.live and stay.heard_at < since:
                self._spawn(stay.check(), f"look after {stay.address}")

    def _go_in(self, stay: Stay) -> None:
        if not stay.going_in and self._means.stream.connected:
            stay.going_in = True
            self._spawn(self._keep_going_in(stay), f"enter {stay.address}")

    async def _keep_going_in(self, stay: Stay) -> None:
        """Enter a room that we want to be in, however often it takes."""
        pause = PAUSE_S
        try:
            await stay.rest()
            while self._stays.get(stay.address) is stay and not stay.live:
                answer = await stay.enter()
                if not isinstance(answer, Refusal):
                    return
                if stay.missing:
                    pause = MISSING_PAUSE_S
                elif answer is not Refusal.UNREACHABLE:
                    pause = max(pause, HOPELESS_S)
                await asyncio.sleep(pause)
                pause = min(pause * 2, PAUSE_S_MAX)
        finally:
            stay.going_in = False

    def _spawn(self, work: Coroutine[None, None, object], name: str) -> None:
        task = self._means.tasks.create_task(_logged(work), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)


async def _logged(work: Coroutine[None, None, object]) -> None:
    try:
        await work
    except Exception:
        # The end of the line: one room must not stop the others.
        logger.exception("a room cannot be looked after")
