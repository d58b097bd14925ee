"""The simulated bridge's stay in a MUC: heard, held, caught up, and said.

What is said, and how it is made sure that it came, is the real ``Saying`` with the
real ``Confirmations``; the joining and listening around it is small (see
bridge/xmpp/stay.py and hearing.py).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from bridge.core.ports import Host, Store
from bridge.model.delivery import Arrival, Later, Outcome, Parcel, Refused
from bridge.model.places import Network, Room
from bridge.model.records import Cursor
from bridge.xmpp.codec.fault import Fault
from bridge.xmpp.confirm import Confirmations
from bridge.xmpp.hearing import Mark
from bridge.xmpp.inbound import Inbound
from bridge.xmpp.packing import Speech
from bridge.xmpp.saying import Item, Saying
from tests.simulation.jabber import JabberServer
from tests.simulation.line import Line
from tests.simulation.stanza import Stanza, read, write

MUC_DOMAIN = "@muc"
CURSOR = "muc"
SAVE_EVERY_S = 1.0
HOLD_TICKS = 30
READY_S = 10.0
JOIN_S = 30.0


@dataclass
class Seat:
    """A puppet's place in the room."""

    mxid: str
    within: bool = False


class Hearing:
    """How far we have heard."""

    mark = Mark()


class Mouth(Saying):
    """The real one, but for the questions that only real servers understand."""

    stay: "Stay"

    async def _look_for(self, items: Sequence[Item]) -> bool:
        await self.stay.check()
        return True


class Puppets:
    """Who of ours is in the room."""

    def __init__(self, join: Callable[[str], Awaitable[bool]]) -> None:
        self._join = join
        self._seats: dict[str, Seat] = {}

    async def ensure(self, mxid: str, _: str) -> Later | None:
        """Have the puppet of *mxid* in the room."""
        seat = self._seats.setdefault(mxid, Seat(mxid))
        if not seat.within:
            seat.within = await self._join(f"{mxid}@b")
        return None if seat.within else Later(1.0)

    def seat(self, mxid: str) -> Seat | None:
        """Find the seat of a puppet."""
        return self._seats.get(mxid)

    def lost(self, seat: Seat) -> None:
        """Take note that a puppet is out."""
        seat.within = False

    def doubt(self) -> None:
        """Take note that all may be out."""
        for seat in self._seats.values():
            seat.within = False


class Stay:
    """One MUC and all that is ours in it."""

    def __init__(
        self,
        address: str,
        line: Line,
        inbound: Inbound,
        host: Host,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.address = address
        self.live = False
        self.heard_at = 0.0
        self.hearing = Hearing()
        self.confirmations = Confirmations()
        self.puppets = Puppets(self.join)
        self._line = line
        self._inbound = inbound
        self._host = host
        self._tasks = tasks
        self._joining: dict[str, asyncio.Event] = {}
        self._held: list[Stanza] = []
        self._entering = False
        self._turn = asyncio.Lock()
        self._is_live = asyncio.Event()
        self._saved = self.hearing.mark
        self._mouth = Mouth(cast("Any", _Means(line, host)), cast("Any", self))
        self._mouth.stay = self

    async def start(self, store: Store) -> None:
        """Remember how far an earlier run had heard."""
        cursor = await store.find(Cursor, CURSOR, self.address)
        if cursor is not None:
            self.hearing.mark = Mark.read(cursor.value)
            self._mouth.hold()

    async def run(self) -> None:
        """Note how far we have heard, and look after a silent room."""
        ticks = 0
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            mark = self._mouth.floor or self.hearing.mark
            if mark is not self._saved and mark.stamp:
                self._saved = mark
                note = partial(self._host.note, self._cursor(mark))
                self._inbound.after(note)
            ticks += 1
            if ticks == HOLD_TICKS:
                self._mouth.release()
            if ticks % 20 == 0:
                await self.check()

    def up(self) -> None:
        """Go in."""
        self._tasks.create_task(self._keep_going_in(), name="go in")

    def lost(self) -> None:
        """Take note that the stream is lost."""
        self._fall_out()
        self.puppets.doubt()
        for joining in self._joining.values():
            joining.set()
        self.confirmations.interrupt()

    def received(self, stanza: Stanza) -> None:
        """Take what the MUC sends."""
        listens = stanza.to in (self.address, JabberServer.listener)
        match stanza.kind:
            case "presence" if (joining := self._joining.get(stanza.to)) is not None:
                joining.set()
            case "unavailable" if listens:
                self._fall_out()
                self.up()
            case "unavailable":
                seat = self.puppets.seat(stanza.to.removesuffix("@b"))
                if seat is not None:
                    self.puppets.lost(seat)
            case "error":
                kind = "cancel" if stanza.text == "forbidden" else "modify"
                self.confirmations.bounced(stanza.id, Fault(stanza.text, kind))
            case "groupchat" if self.live:
                self._hear(stanza)
            case "groupchat" if self._entering:
                self._held.append(stanza)

    async def say(self, parcels: Sequence[Parcel]) -> Sequence[Outcome | Later]:
        """Say what *parcels* hold."""
        items: list[Item] = []
        for parcel in parcels:
            (stanza,) = read(parcel.wire.data)
            if stanza.to != self.address:
                break
            mxid = stanza.sender.removesuffix("@b")
            items.append((parcel, Speech(self.address, mxid, mxid, parcel.wire.data)))
        return await self._mouth.say(items)

    async def ready(self) -> Refused | Later | None:
        """Wait a while until we hear what is said."""
        if self.live:
            return None
        if not self._line.connected:
            return Later(1.0)
        try:
            async with asyncio.timeout(READY_S):
                await self._is_live.wait()
        except TimeoutError:
            return Later(2.0)
        return None

    async def check(self) -> None:
        """Find out whether we are still in, by going in again."""
        if self.live:
            await self.join(JabberServer.listener)
        self.puppets.doubt()

    async def _keep_going_in(self) -> None:
        while self._line.connected and not self.live:
            async with self._turn:
                self._entering = not self.live
                if self._entering and await self._enter() and self._entering:
                    self._release()
            if self.live:
                return
            self._held.clear()
            await asyncio.sleep(1.0)

    async def _enter(self) -> bool:
        if not await self.join(JabberServer.listener):
            return False
        mark = self.hearing.mark
        query = Stanza("query", JabberServer.listener, self.address)
        if not mark.stamp:
            page = await self._line.ask(_asking(query, "newest"))
            if page is None:
                return False
            self.hearing.mark = Mark(page.items[0].name if page.items else "", "1")
            self._host.note(self._cursor(self.hearing.mark))
            return True
        place, complete = mark.stanza_id, False
        while not complete:
            page = await self._line.ask(_asking(query, place))
            if page is None or not self._entering:
                return False
            for stanza in page.items:
                self._hear(stanza)
            place = page.items[-1].name if page.items else place
            complete = page.complete
        return True

    async def join(self, jid: str) -> bool:
        """Let somebody of ours in."""
        joining = self._joining[jid] = asyncio.Event()
        try:
            if not self._line.write(write(Stanza("presence", jid, self.address))):
                return False
            async with asyncio.timeout(JOIN_S):
                await joining.wait()
        except TimeoutError:
            return False
        return self._line.connected

    def _hear(self, stanza: Stanza) -> None:
        """Take note of a message: our own is confirmed, another's is kept."""
        self.hearing.mark = Mark(stanza.name, "1")
        if stanza.sender.endswith("@b"):
            self.confirmations.shown(stanza.id, stanza.name)
            return
        room = Room(Network.XMPP, self.address)
        key = f"{self.address}#{stanza.name}"
        self._inbound.add(Arrival(room, key, write(stanza)))

    def _release(self) -> None:
        self._entering, self.live = False, True
        held, self._held = self._held, []
        for stanza in held:
            self._hear(stanza)
        self._is_live.set()

    def _fall_out(self) -> None:
        self.live = self._entering = False
        self._held.clear()
        self._is_live.clear()

    def _cursor(self, mark: Mark) -> Cursor:
        return Cursor(CURSOR, self.address, mark.write())


class _Means:
    """What ``Saying`` asks of its means."""

    def __init__(self, line: Line, host: Host) -> None:
        self.stream = line
        self.host = host


def _asking(query: Stanza, place: str) -> Stanza:
    return Stanza(query.kind, query.sender, query.to, "", place)
