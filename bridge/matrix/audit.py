"""Finds what the homeserver should have pushed and did not.

Synapse forgets events on their way to an appservice when it restarts
(synapse#11637). So each bridged room has a mark, an event up to which all is known
to have come, and from time to time we read on from there. What came already is kept
once only, so reading too much does no harm; reading forward keeps the order.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import (
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Set as AbstractSet,
)
from typing import Any

import msgspec

from bridge.core.ports import Store, StoreUnavailableError, Unit
from bridge.matrix.client import Homeserver, HomeserverDownError, MatrixError, join
from bridge.matrix.codec.envelope import RawEvent, raw_event
from bridge.model.records import Cursor

logger = logging.getLogger(__name__)

CURSOR = "audit"
AGAIN_AFTER_S = (5.0, 25.0)
ROOMS_AT_ONCE = 8
GLANCE_EVENTS = 20
PAGE_EVENTS = 250
PAGES_MAX = 40
RESCUED_MAX = 1_000
SEEN_MAX = 10_000
SAVE_EVERY_S = 60.0
ROUND_EVERY = 10
"""Every so many saves, the rooms that had traffic are read."""
CLOCK_SLACK_MS = 60_000

_Chunk = Sequence[Mapping[str, Any]]


class Audit:
    """Reads bridged rooms again; what is missing goes to *keep* like any push.

    *on_rescued* is told how many events were missing.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        store: Store,
        keep: Callable[[Sequence[RawEvent]], Awaitable[None]],
    ) -> None:
        self._homeserver = homeserver
        self._store = store
        self._keep = keep
        self._marks: dict[str, Cursor] = {}
        self._unsaved: set[str] = set()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._due: set[str] = set()
        self._loaded = False
        self._lock = asyncio.Lock()
        self.on_rescued: Callable[[int], None] = lambda _: None

    def note(self, events: Sequence[RawEvent]) -> None:
        """Learn that *events* were pushed and are safe."""
        seen = self._seen
        for event in events:
            seen[event.event_id] = None
            self._due.add(event.room_id)
            if event.room_id not in self._marks:
                self._mark(event.room_id, event.event_id)
                self._save_first(event.room_id)
        while len(seen) > SEEN_MAX:
            seen.popitem(last=False)

    async def run(
        self,
        rooms: Callable[[], Iterable[tuple[str, str]]],
        save_every_s: float = SAVE_EVERY_S,
    ) -> None:
        """Read the rooms that had traffic, now and then, until cancelled.

        *rooms* lists the bridged rooms, each with a user of ours who is in it.
        """
        turn = 0
        while True:
            await asyncio.sleep(save_every_s)
            await self._save()
            turn = (turn + 1) % ROUND_EVERY
            if turn == 0:
                await self._round(list(rooms()))

    async def _round(self, rooms: Sequence[tuple[str, str]]) -> None:
        due, self._due = self._due, set()
        try:
            await self.audit(pair for pair in rooms if pair[0] in due)
            await self._prune({room for room, _ in rooms})
        except StoreUnavailableError:
            self._due |= due

    async def _prune(self, bridged: AbstractSet[str]) -> None:
        """Forget the marks of rooms that nobody reads again."""
        gone = [mark for room, mark in self._marks.items() if room not in bridged]
        for mark in gone:
            del self._marks[mark.key]
            self._unsaved.discard(mark.key)
        await self._store.commit(Unit(drop=list(gone)))

    async def audit(self, rooms: Iterable[tuple[str, str]]) -> None:
        """Read on in *rooms*, several at once; a room that fails is due again."""
        async with self._lock:
            await self._load()
            todo = iter(rooms)
            async with asyncio.TaskGroup() as tasks:
                for _ in range(ROOMS_AT_ONCE):
                    tasks.create_task(self._work(todo), name="audit")
            await self._save()

    async def look_again(self, rooms: Callable[[], Iterable[tuple[str, str]]]) -> None:
        """Read on again, shortly after the homeserver or we have come back.

        What it was about to push just then can be stuck with it.
        """
        for pause_s in AGAIN_AFTER_S:
            await asyncio.sleep(pause_s)
            try:
                await self.audit(rooms())
            except StoreUnavailableError:
                logger.warning("what was missed cannot be kept now")

    async def catch_up(self, rooms: Iterable[tuple[str, str]]) -> None:
        """Read on in a few *rooms* at once, whatever else is being read."""
        await self._load()
        await self._work(iter(rooms))

    async def _work(self, todo: Iterator[tuple[str, str]]) -> None:
        for room, agent in todo:
            try:
                await self._room(room, agent)
            except (HomeserverDownError, StoreUnavailableError) as error:
                self._due.add(room)
                logger.warning("room %s cannot be audited now: %s", room, error)
            except MatrixError as error:
                if error.retry_after_s:
                    self._due.add(room)
                logger.warning("room %s cannot be audited: %s", room, error)
            except Exception:
                # The end of the line for one room: the others are read all the same.
                logger.exception("room %s cannot be audited", room)

    async def _room(self, room: str, agent: str) -> None:
        glance = await self._messages(room, agent, dir="b", limit=str(GLANCE_EVENTS))
        chunk = _chunk(glance)
        if not chunk:
            return
        mark = self._marks.get(room)
        newest = str(chunk[0].get("event_id", ""))
        if mark is None:
            # Seen for the first time: what was said before was not said to us.
            self._mark(room, newest)
            return
        marked = mark.value.rpartition(" ")[0]
        ids = [event.get("event_id") for event in chunk]
        if marked not in ids:
            await self._read_on(room, agent, mark, chunk)
            return
        missing = chunk[: ids.index(marked)]
        await self._rescue(room, missing[::-1])
        self._mark(room, newest)

    async def _read_on(
        self, room: str, agent: str, mark: Cursor, glance: _Chunk
    ) -> None:
        """Read forward from *mark*, page by page."""
        marked, _, at_ms = mark.value.rpartition(" ")
        try:
            token = await self._token(room, agent, marked)
        except MatrixError as error:
            logger.warning("room %s: the mark is gone (%s)", room, error.errcode)
            since_ms = int(at_ms) - CLOCK_SLACK_MS
            recent = [event for event in glance if _sent_at_ms(event) >= since_ms]
            await self._rescue(room, recent[::-1])
            self._mark(room, str(glance[0].get("event_id", "")))
            return
        rescued = 0
        for _ in range(PAGES_MAX):
            page = await self._messages(
                room, agent, dir="f", limit=str(PAGE_EVENTS), **{"from": token}
            )
            chunk = _chunk(page)
            if not chunk:
                return
            rescued += await self._rescue(room, chunk)
            self._mark(room, str(chunk[-1].get("event_id", "")))
            if rescued >= RESCUED_MAX:
                break
            token = page.get("end", "")
            if not isinstance(token, str) or not token:
                return
        self._due.add(room)

    async def _rescue(self, room: str, chunk: _Chunk) -> int:
        """Keep what of *chunk*, in its order, was not seen; return how many."""
        read = [raw_event(msgspec.json.encode(event)) for event in chunk]
        missing = [
            event
            for event in read
            if isinstance(event, RawEvent)
            and event.room_id == room
            and event.event_id not in self._seen
        ]
        if missing:
            await self._keep(missing)
            for event in missing:
                self._seen[event.event_id] = None
            logger.info("room %s: %d events read again", room, len(missing))
            self.on_rescued(len(missing))
        return len(missing)

    async def _messages(self, room: str, agent: str, **query: str) -> dict[str, Any]:
        path = join("rooms", room, "messages")
        return await self._homeserver.request("GET", path, user=agent, query=query)

    async def _token(self, room: str, agent: str, event_id: str) -> str:
        """Find the place right behind an event."""
        path = join("rooms", room, "context", event_id)
        context = await self._homeserver.request(
            "GET", path, user=agent, query={"limit": "0"}
        )
        token = context.get("end")
        if not isinstance(token, str):
            raise HomeserverDownError("a place without a token")
        return token

    def _mark(self, room: str, event_id: str) -> None:
        at_ms = time.time_ns() // 1_000_000
        self._marks[room] = Cursor(CURSOR, room, f"{event_id} {at_ms}")
        self._unsaved.add(room)

    async def _load(self) -> None:
        if self._loaded:
            return
        for cursor in await self._store.load(Cursor):
            if cursor.kind == CURSOR:
                self._marks[cursor.key] = cursor
        self._loaded = True

    def _save_first(self, room: str) -> None:
        """Put the first mark of *room* on disk at once.

        Without one nobody could tell, after a crash, what the room has missed. Before
        the marks of earlier runs are known, it must not take the place of one.
        """
        if self._loaded:
            self._store.commit(Unit(put=[self._marks[room]])).add_done_callback(_look)

    async def _save(self) -> None:
        """Put the marks on disk; an old one costs only some reading."""
        if not self._unsaved:
            return
        try:
            # A mark of this run must not hide how far an earlier one had come.
            await self._load()
        except StoreUnavailableError:
            return
        saved, self._unsaved = self._unsaved, set()
        try:
            await self._store.commit(Unit(put=[self._marks[room] for room in saved]))
        except StoreUnavailableError:
            self._unsaved |= saved


def _look(done: "asyncio.Future[frozenset[int]]") -> None:
    if not done.cancelled() and isinstance(done.exception(), StoreUnavailableError):
        logger.warning("a mark cannot be written at present, will be retried")


def _chunk(page: Mapping[str, Any]) -> _Chunk:
    chunk = page.get("chunk")
    if not isinstance(chunk, list):
        return ()
    return [event for event in chunk if isinstance(event, dict)]


def _sent_at_ms(event: Mapping[str, Any]) -> int:
    sent_at = event.get("origin_server_ts")
    return sent_at if isinstance(sent_at, int) else 0
