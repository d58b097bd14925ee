"""Keeps the order within a conversation while conversations run side by side.

A lane is a queue in memory in front of one on disk: it holds a bounded number of
items, and all lanes together do, and reads the rest from disk when it has worked them
off. So a backlog of any size needs little memory.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from itertools import islice
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

DEPTH_MAX = 2000
TOTAL_MAX = 20_000
"""So many items all lanes hold together; beyond that, each only ``SHARE_MIN`` more."""
SHARE_MIN = 8
FETCH_MAX = 500
BATCH_MAX = 64
BATCH_MIN = 2
AT_WORK_MAX = 2048
"""So many items are worked on at once, lest what comes new wait behind all of them."""


class Lane(Generic[T]):
    """The queue of one conversation."""

    __slots__ = ("behind", "fetched", "last", "meanwhile", "queue")

    def __init__(self) -> None:
        self.queue: deque[T] = deque()
        self.last = 0
        self.behind = False
        self.fetched: frozenset[int] = frozenset()
        self.meanwhile: list[T] | None = None  # None but while it reads on


class Lanes(Generic[K, T]):
    """Works off the items of one key in turn, and of different keys at once.

    *work* is given the first items of a lane. It may return how many of them it is
    through with; the others stay first. *refill* reads so many items of a key that
    come after a number. *order* tells the number of an item; 0 says that it is not on
    disk, so it is never left there.

    A lane exists only while it has work, so a quiet conversation costs nothing.
    Until *begin* nothing is worked off if *held*: all stays on disk, behind what an
    earlier run had left there.
    """

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        *,
        work: Callable[[K, Sequence[T]], Awaitable[int]],
        refill: Callable[[K, int, int], Awaitable[Sequence[T]]],
        order: Callable[[T], int],
        held: bool = False,
    ) -> None:
        self._tasks = tasks
        self._work = work
        self._refill = refill
        self._order = order
        self._lanes: dict[K, Lane[T]] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self._begun = asyncio.Event()
        self._held = held
        self._closed = False
        self._depth = 0

    def begin(self) -> None:
        """Work off what there is, and what comes."""
        self._held = False
        self._begun.set()

    def put(self, key: K, item: T) -> None:
        """Queue *item*, or leave it on disk for later if its lane is full."""
        lane = self._lanes.get(key) or self._open(key)
        if lane is None:
            return
        number = self._order(item)
        if number == 0:
            lane.queue.append(item)
            self._depth += 1
        elif number in lane.fetched:
            return  # it was read from disk before we were told of it
        elif number > lane.last and self._leaves(lane):
            lane.behind = True
            if lane.meanwhile is not None:
                lane.meanwhile.append(item)
        else:
            lane.queue.append(item)
            self._depth += 1
            lane.last = max(lane.last, number)

    def wake(self, key: K) -> None:
        """Work off what lies on disk for *key*."""
        lane = self._lanes.get(key) or self._open(key)
        if lane is not None:
            lane.behind = True

    @property
    def working(self) -> bool:
        """Whether lanes are worked off: not before *begin*, not after *close*."""
        return not self._held and not self._closed

    def busy(self, key: K) -> bool:
        """Tell whether *key* has work."""
        return key in self._lanes

    def depth(self) -> int:
        """Count the items that wait in memory."""
        return self._depth

    async def wait_empty(self) -> None:
        """Wait until no lane has work left."""
        await self._empty.wait()

    def close(self) -> None:
        """Begin nothing more: what is left stays on disk."""
        self._closed = True
        self.begin()

    def _leaves(self, lane: Lane[T]) -> bool:
        """Tell whether *lane* leaves on disk what it will read on to."""
        depth_max = DEPTH_MAX if self._depth < TOTAL_MAX else SHARE_MIN
        full = lane.behind or len(lane.queue) >= depth_max
        return full or self._held

    def _share(self) -> int:
        """Tell how many items a lane may read from disk at once."""
        return max(SHARE_MIN, min(FETCH_MAX, TOTAL_MAX // len(self._lanes)))

    def _batch(self) -> int:
        """Tell how many items of a lane may be worked on at once."""
        return max(BATCH_MIN, min(BATCH_MAX, AT_WORK_MAX // len(self._lanes)))

    def _open(self, key: K) -> Lane[T] | None:
        if self._closed:
            return None
        lane = self._lanes[key] = Lane()
        self._empty.clear()
        self._tasks.create_task(self._drain(key, lane), name="lane")
        return lane

    async def _drain(self, key: K, lane: Lane[T]) -> None:
        if self._held:
            await self._begun.wait()
        while not self._closed:
            if not lane.queue and not (lane.behind and await self._fetch(key, lane)):
                break
            batch = list(islice(lane.queue, self._batch()))
            try:
                through = await self._work(key, batch)
            except Exception:
                logger.exception(
                    "lane %s: a step failed; its first item is skipped", key
                )
                through = 1
            for _ in range(through):
                lane.queue.popleft()
            self._depth -= through
            if lane.queue:
                await asyncio.sleep(0)  # one busy conversation starves nobody
        self._depth -= len(lane.queue)
        del self._lanes[key]
        if not self._lanes:
            self._empty.set()

    async def _fetch(self, key: K, lane: Lane[T]) -> bool:
        """Read on from disk; tell whether there is anything to do."""
        while lane.behind and not lane.queue:
            meanwhile = lane.meanwhile = []
            try:
                items = await self._refill(key, lane.last, self._share())
            except Exception:
                logger.exception("lane %s: reading on from disk failed", key)
                await asyncio.sleep(1)
                continue
            if items:
                self._read_on(lane, items, meanwhile)
            elif not meanwhile:
                # Nothing was committed while we looked: memory is up to date again.
                lane.behind = False
        lane.meanwhile = None
        return bool(lane.queue)

    def _read_on(self, lane: Lane[T], items: Sequence[T], meanwhile: list[T]) -> None:
        order = self._order
        lane.last = order(items[-1])
        lane.fetched = frozenset(map(order, items))
        # What was committed out of its turn, while we read, is behind us on disk.
        late = (item for item in meanwhile if order(item) <= lane.last)
        items = [*items, *(one for one in late if order(one) not in lane.fetched)]
        lane.queue.extend(items)
        self._depth += len(items)
