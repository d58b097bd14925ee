"""Encrypted messages whose key has not come: kept a day, and never in silence."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

import msgspec

from bridge.core.ports import Host, Store, StoreUnavailableError, Unit
from bridge.matrix.feed import KeyFeed
from bridge.matrix.ghosts import remember
from bridge.matrix.megolm.ports import News
from bridge.matrix.wires import Says, content, wire
from bridge.model.delivery import Arrival, Wire
from bridge.model.places import Network, Room
from bridge.model.records import Secret

logger = logging.getLogger(__name__)

OWNER = "late"
ABOUT = "late "
NOTICE_S = 10.0
KEPT_S = 24 * 3600.0
LOOK_S = 1.0
PULL_S = (5.0, 10.0, 20.0, 60.0)
PULL_LAST_S = 300.0

UNDECIPHERABLE = (
    "Not delivered: your client has not sent the bridge the key of this message. It"
    " will be delivered if the key comes within a day; if in doubt, send it again."
)
WITHHELD = "Not delivered: {words}"
CARRIED = "The key has come: the message was delivered, late."


class Late(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message whose key is missing, and what was said of it.

    *turn* counts how often it was tried. *notice* is the event that told of it; *words*
    say why the key is kept from us, if its sender's device said so.
    """

    room: str
    event: str
    sender: str
    session: str
    raw: msgspec.Raw = msgspec.Raw(b"{}")
    at: float = 0.0
    turn: int = 1
    told: bool = False
    notice: str = ""
    words: str = ""

    @property
    def name(self) -> str:
        """Name the record."""
        return self.event


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Late).decode


class Lates:
    """What waits for its key.

    *agent* tells who of ours is in a room, speaks there and is sent its keys.
    """

    def __init__(self, store: Store, agent: Callable[[str], str]) -> None:
        self._store = store
        self._agent = agent
        self._host: Host | None = None
        self._late: dict[str, Late] = {}
        self._again: set[str] = set()
        self._any = asyncio.Event()
        self._noted: set[str] = set()
        self._pulled: dict[str, tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._late)

    async def start(self, host: Host) -> None:
        """Remember what an earlier run could not open; perhaps its key has come."""
        self._host = host
        for secret in await self._store.secrets(OWNER):
            late = _decode(secret.value)
            self._late[late.event] = late
        self._again.update(self._late)
        self._wake()

    def keep(self, late: Late, unit: Unit) -> None:
        """Keep *late*, with *unit*."""
        known = self._late.get(late.event)
        if known is not None:
            late = msgspec.structs.replace(
                known, turn=known.turn + 1, words=late.words or known.words
            )
        self._late[late.event] = late
        unit.put.append(_record(late))
        self._wake()

    def carried(self, event: str, unit: Unit) -> None:
        """Forget *event*, with *unit*, as it can be read, and say so."""
        late = self._late.pop(event, None)
        if late is None:
            return
        unit.drop.append(_record(late))
        alone = not any(o.notice == late.notice for o in self._late.values())
        if late.notice and alone:
            self._say(late.room, _edit(self._agent(late.room), late))

    def came(self, news: News) -> None:
        """Take note of keys that have come."""
        for late in self._late.values():
            if (late.room, late.session) in news.keys:
                self._again.add(late.event)
        self._wake()

    def said(self, about: str, event: str) -> None:
        """Take note that a notice of ours has become *event*."""
        session = about.removeprefix(ABOUT)
        for late in tuple(self._late.values()):
            if session == late.session and late.told and not late.notice:
                self._late[late.event] = msgspec.structs.replace(late, notice=event)
                self._noted.add(late.event)

    async def run(self, feed: KeyFeed) -> None:
        """See to what waits, until cancelled."""
        while True:
            await self._any.wait()
            if not self._late:
                self._any.clear()
                self._pulled.clear()
                continue
            try:
                await self._look(feed)
            except StoreUnavailableError:
                logger.warning("late messages wait: nothing can be written")
            except Exception:
                # The end of the line for this look: there is another one soon.
                logger.exception("late messages wait")
            await asyncio.sleep(LOOK_S)

    def _wake(self) -> None:
        if self._late:
            self._any.set()

    async def _look(self, feed: KeyFeed) -> None:
        again = [self._late[name] for name in self._again if name in self._late]
        self._again.clear()
        if again and self._host is not None:
            await self._host.keep([_arrival(late) for late in again])
        if noted := [self._late[n] for n in self._noted if n in self._late]:
            await remember(self._store, [_record(late) for late in noted])
        self._noted.clear()
        now = time.time()
        for late in tuple(self._late.values()):
            if now - late.at > KEPT_S:
                del self._late[late.event]
                await remember(self._store, drop=[_record(late)])
            elif not late.told and (late.words or now - late.at > NOTICE_S):
                await self._tell(late)
        for room in {late.room for late in self._late.values()}:
            await self._pull(feed, self._agent(room))

    async def _tell(self, late: Late) -> None:
        """Say that *late* waits, once for all that waits for the same key."""
        alike = [o for o in self._late.values() if o.session == late.session]
        told = any(one.told for one in alike)
        for one in alike:
            if not one.told:
                changed = msgspec.structs.replace(one, told=True)
                self._late[one.event] = changed
                await remember(self._store, [_record(changed)])
        if not told:
            self._say(late.room, _notice(self._agent(late.room), late))

    def _say(self, room: str, wires: Sequence[Wire]) -> None:
        if self._host is not None:
            self._host.later(Room(Network.MATRIX, room), wires)

    async def _pull(self, feed: KeyFeed, reader: str) -> None:
        """Fetch keys, ever more seldom."""
        turn, at = self._pulled.get(reader, (0, 0.0))
        pause_s = PULL_S[turn] if turn < len(PULL_S) else PULL_LAST_S
        if time.monotonic() - at >= pause_s:
            self._pulled[reader] = (turn + 1, time.monotonic())
            await feed.pull(reader)


def _record(late: Late) -> Secret:
    return Secret(OWNER, late.name, _encode(late))


def _arrival(late: Late) -> Arrival:
    """Let *late* arrive again: each turn once, whatever crashes between."""
    room = Room(Network.MATRIX, late.room)
    return Arrival(room, f"{late.event} late {late.turn}", bytes(late.raw))


def _notice(agent: str, late: Late) -> Sequence[Wire]:
    words = WITHHELD.format(words=late.words) if late.words else UNDECIPHERABLE
    said = {
        "msgtype": "m.notice",
        "body": words,
        "m.mentions": {},
        "m.relates_to": {"m.in_reply_to": {"event_id": late.event}},
    }
    about = f"{ABOUT}{late.session}"
    return [wire(Says(agent, late.room, content(said), own=True, about=about))]


def _edit(agent: str, late: Late) -> Sequence[Wire]:
    said = {"msgtype": "m.notice", "body": CARRIED, "m.mentions": {}}
    edit = {
        **said,
        "body": f"* {CARRIED}",
        "m.new_content": said,
        "m.relates_to": {"rel_type": "m.replace", "event_id": late.notice},
    }
    return [wire(Says(agent, late.room, content(edit), own=True))]
