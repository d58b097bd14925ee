"""Commits units in a thread of its own, many at a time.

The first unit is committed at once; what is handed in meanwhile goes together into
the next commit. Commits that follow each other without a rest are spaced out, so a
quiet bridge is quick, and a busy one shares its fsyncs among many. What nobody waits
for goes along with what comes after it.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from bridge.core.ports import StoreUnavailableError, Unit
from bridge.store.commits import Result

logger = logging.getLogger(__name__)

GROUP_MAX = 500

PACE_S = 0.004
"""How far apart commits are, on average, when there is always something to commit."""
BURST = 4.0
"""How many may follow each other at once after a rest: what a message or two need."""

ENOUGH_ROWS = 16
"""What holds so much goes at once: those who make many rows wait for all of them."""

ALONG_S = 0.02
"""How long what nobody waits for may wait for something to go along with."""

Answer = asyncio.Future[frozenset[int]]
Batch = list[tuple[Unit, Answer]]


class Pace:
    """Spaces out commits: each costs an fsync, however little it holds."""

    def __init__(self) -> None:
        self._credit = BURST
        self._then = time.monotonic()

    def wait_s(self, rows: int) -> float:
        """Return how long a commit of *rows* has to wait for others to join it."""
        now = time.monotonic()
        earned = min(BURST, self._credit + (now - self._then) / PACE_S)
        self._then = now
        self._credit = max(-1.0, earned - 1)
        return 0.0 if rows >= ENOUGH_ROWS else max(0.0, -self._credit * PACE_S)


class Writer:
    """A queue in front of *write*, which is called in the writer's thread only.

    *note* is told of each unit that was written, and of what in it was known, before
    whoever waits for it.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Unit]], Sequence[Result]],
        note: Callable[[Unit, frozenset[int]], None],
    ) -> None:
        self._write = write
        self._note = note
        self._loop = asyncio.get_running_loop()
        self._batch: Batch = []
        self._leaving = False
        self._timer: asyncio.TimerHandle | None = None
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        self._closed = False
        self._away = False
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    def commit(self, unit: Unit) -> Answer:
        """Queue *unit*."""
        answer = self._add(unit)
        if not self._leaving:
            # What this turn of the loop hands in goes over in one piece.
            self._leaving = True
            self._loop.call_soon(self._hand_over)
        return answer

    def commit_along(self, unit: Unit) -> Answer:
        """Queue *unit* to go with what follows, or alone if nothing does."""
        answer = self._add(unit)
        if self._timer is None and not self._leaving:
            self._timer = self._loop.call_later(ALONG_S, self._hand_over)
        return answer

    async def close(self) -> None:
        """Commit what is queued, and end."""
        self._closed = True
        self._hand_over()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _add(self, unit: Unit) -> Answer:
        answer: Answer = self._loop.create_future()
        if self._closed:
            answer.set_exception(StoreUnavailableError("the store is closed"))
        else:
            self._batch.append((unit, answer))
        return answer

    def _hand_over(self) -> None:
        self._leaving = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._batch:
            self._queue.put(self._batch)
            self._batch = []

    def _run(self) -> None:
        going = True
        pace = Pace()
        while going:
            group, going = self._join(self._gather(pace))
            if self._away:
                self._fail(group)
            elif group:
                self._commit(group)

    def _gather(self, pace: Pace) -> list[Batch | None]:
        """Wait for a batch, and as *pace* says for others, until there is enough."""
        batches = [self._queue.get()]
        rows = _rows(batches[0]) if batches[0] else ENOUGH_ROWS
        until = time.monotonic() + (pace.wait_s(rows) if batches[0] else 0.0)
        while rows < ENOUGH_ROWS and (left_s := until - time.monotonic()) > 0:
            try:
                batch = self._queue.get(timeout=left_s)
            except Empty:
                break
            batches.append(batch)
            rows += _rows(batch) if batch else ENOUGH_ROWS
        return batches

    def _join(self, batches: list[Batch | None]) -> tuple[Batch, bool]:
        """Join *batches* and those behind them; also tell whether more may come."""
        group: Batch = []
        while batches:
            batch = batches.pop(0)
            if batch is None:
                return group, False
            if not batch:
                # Whoever hands in what follows knows what has failed.
                self._fail(group)
                group, self._away = [], False
            group += batch
            if not batches and len(group) < GROUP_MAX and not self._queue.empty():
                batches.append(self._queue.get())
        return group, True

    def _fail(self, group: Batch) -> None:
        """Fail what was handed in before it was known that nothing can be written."""
        results = [StoreUnavailableError("what came before failed")] * len(group)
        self._loop.call_soon_threadsafe(self._answer, group, results)

    def _commit(self, group: Batch) -> None:
        try:
            results = self._write([unit for unit, _ in group])
        except Exception as error:
            # The end of the line for one group: the thread must go on.
            logger.exception("a group of %d units failed", len(group))
            results = [StoreUnavailableError(type(error).__name__)] * len(group)
        self._away = any(isinstance(one, StoreUnavailableError) for one in results)
        answer = self._answer_failed if self._away else self._answer
        self._loop.call_soon_threadsafe(answer, group, results)

    def _answer_failed(self, group: Batch, results: Sequence[Result]) -> None:
        """Answer, and mark where what was handed in unknowing ends."""
        self._hand_over()
        self._queue.put([])
        self._answer(group, results)

    def _answer(self, group: Batch, results: Sequence[Result]) -> None:
        for (unit, answer), result in zip(group, results, strict=True):
            if not isinstance(result, Exception):
                self._note(unit, result)
            if answer.done():
                continue  # nobody waits any more
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)


def _rows(batch: Batch) -> int:
    return sum(max(1, len(unit.take)) for unit, _ in batch)
