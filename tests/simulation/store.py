"""A database whose commits take time, fail, are doubtful, or are cut by a crash.

It is the fake store, with a writer in front that keeps to what the real one does
(bridge/store/writer.py): groups in order, one after another; once a group fails, all
fail that were handed in before this was known. The disk outlives every process.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TypeVar

from bridge.core.hub import WAITING_MAX
from bridge.core.ports import StoreUnavailableError, Unit
from bridge.model.delivery import Parcel, Taken
from bridge.model.places import Network, Room
from bridge.model.records import Record
from bridge.store.paging import read_sure
from tests.fakes_store import Disk, FakeStore
from tests.simulation.dice import Dice
from tests.simulation.loop import Process, SimLoop

R = TypeVar("R", bound=Record)

Answer = asyncio.Future[frozenset[int]]

GROUP_MAX = 50


@dataclass
class Weather:
    """How the database fares: *away* while nothing can be written or read.

    The bridge may be killed at a commit (*cuts*), or soon after one failed (*falls*).
    """

    commit_s: float = 0.003
    answer_s: float = 0.001
    fails: float = 0.0
    doubts: float = 0.0
    cuts: float = 0.0
    falls: float = 0.0
    page_max: int = 500
    away: bool = False


class SimStore(FakeStore):
    """The port ``Store``, for one process; opening it begins a new epoch."""

    def __init__(
        self,
        disk: Disk,
        loop: SimLoop,
        dice: Dice,
        weather: Weather,
        process: Process,
    ) -> None:
        super().__init__(disk)
        self._last = disk.number
        self._sim = loop
        self._dice = dice
        self._weather = weather
        self._process = process
        self._queue: deque[tuple[Unit, Answer]] = deque()
        self._doubtful: list[tuple[Taken, Unit]] = []
        self._unsure: set[int] = set()
        self._busy = False
        self._answered_at = 0.0

    def number(self) -> int:
        self._last += 1
        return self._last

    def commit(self, unit: Unit) -> Answer:
        answer: Answer = self._sim.create_future()
        if unit == Unit():
            answer.set_result(frozenset())
            return answer
        late = [record for make in unit.late for record in make()]
        whole = replace(unit, put=[*unit.put, *late], late=[])
        self._queue.append((whole, answer))
        if not self._busy:
            self._busy = True
            self._soon()
        return answer

    def _soon(self) -> None:
        pause_s = self._dice.delay(self._weather.commit_s)
        self._sim.call_later(pause_s, self._write, context=self._process.context)

    def _write(self) -> None:
        """Write what is handed in, and perhaps die just before or just after."""
        if self._dice.chance(self._weather.cuts):
            self._process.kill()
            return
        if self._weather.away or self._dice.chance(self._weather.fails):
            self._later(self._fail)
            return
        count = min(len(self._queue), GROUP_MAX)
        group = [self._queue.popleft() for _ in range(count)]
        doubtful = self._dice.chance(self._weather.doubts)
        numbers = {one.seq for unit, _ in group for one in unit.take}
        numbers.update(parcel.id for unit, _ in group for parcel in unit.parcels)
        self._unsure |= numbers
        results = self._apply(group)
        if doubtful:
            self._doubtful += _newly_taken(group, results)
            self._queue.extendleft(reversed(group))
            self._later(self._fail)
            return
        self._doubtful = []
        if self._dice.chance(self._weather.cuts):
            self._process.kill()
            return
        answers = [answer for _, answer in group]
        self._later(lambda: self._answer(answers, results, numbers))
        if self._queue:
            self._soon()
        else:
            self._busy = False

    def _apply(self, group: Sequence[tuple[Unit, Answer]]) -> list[Answer]:
        for taken, unit in self._doubtful if self.epoch == self.disk.epoch else ():
            # Their senders were told that they were not taken; see store/commits.py.
            self.disk.inbox.pop(taken.seq, None)
            self.disk.known.discard((taken.arrival.room.network, taken.arrival.key))
            for parcel in unit.parcels:
                self.disk.outbox.pop(parcel.id, None)
        results: list[Answer] = []
        for unit, _ in group:
            result: Answer = self._sim.create_future()
            self.disk.number = max(self.disk.number, self._last)
            self._commit(unit, result)
            results.append(result)
        return results

    def _answer(
        self, answers: Sequence[Answer], results: Sequence[Answer], numbers: set[int]
    ) -> None:
        self._unsure -= numbers
        for answer, result in zip(answers, results, strict=True):
            if answer.done():
                continue
            if (error := result.exception()) is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result.result())

    def _fail(self) -> None:
        """Fail all that was handed in without knowing."""
        if self._dice.chance(self._weather.falls):
            pause_s = self._dice.span(0.0, 1.5)
            self._sim.call_later(pause_s, self._process.kill)
        group, self._queue = list(self._queue), deque()
        self._busy = False
        for _, answer in group:
            if not answer.done():
                answer.set_exception(StoreUnavailableError("the disk is full"))

    def _later(self, call: object) -> None:
        """Call after a moment, but never before what was to be called before."""
        at = self._sim.time() + self._dice.delay(self._weather.answer_s)
        self._answered_at = at = max(at, self._answered_at)
        self._sim.call_at(at, call, context=self._process.context)  # type: ignore[arg-type]

    async def _read(self) -> None:
        await asyncio.sleep(self._dice.delay(0.002))
        if self._weather.away:
            raise StoreUnavailableError("the database is gone")

    async def load(self, kind: type[R]) -> Sequence[R]:
        await self._read()
        return await super().load(kind)

    async def find(self, kind: type[R], *key: object) -> R | None:
        await self._read()
        return await super().find(kind, *key)

    async def rooms_waiting(self) -> Sequence[Room]:
        await self._read()
        rooms = (taken.arrival.room for taken in self.disk.inbox.values())
        return list(dict.fromkeys(rooms))

    async def waiting(
        self, rooms: Sequence[Room], after: int, limit: int
    ) -> Sequence[Taken]:
        await self._read()

        async def page(last: int) -> Sequence[Taken]:
            found = await FakeStore.waiting(self, rooms, last, self._page(limit))
            await asyncio.sleep(self._dice.delay(0.002))
            return found

        return await read_sure(page, after, attrgetter("seq"), self._unsure)

    async def lanes_pending(self) -> Sequence[tuple[Network, str]]:
        await self._read()
        lanes = ((one.network, one.lane) for one in self.disk.outbox.values())
        return list(dict.fromkeys(lanes))

    async def pending(
        self, network: Network, lane: str, after: int, limit: int
    ) -> Sequence[Parcel]:
        await self._read()

        async def page(last: int) -> Sequence[Parcel]:
            limited = self._page(limit)
            found = await FakeStore.pending(self, network, lane, last, limited)
            await asyncio.sleep(self._dice.delay(0.002))
            return found

        return await read_sure(page, after, attrgetter("id"), self._unsure)

    def _page(self, limit: int) -> int:
        """Give lanes that read on less than they asked for: they come back."""
        return min(limit, self._weather.page_max) if limit < WAITING_MAX else limit


def _newly_taken(
    group: Sequence[tuple[Unit, Answer]], results: Sequence[Answer]
) -> list[tuple[Taken, Unit]]:
    """List what *group* took that was not known, with its unit."""
    return [
        (taken, unit)
        for (unit, _), result in zip(group, results, strict=True)
        if result.exception() is None
        for taken in unit.take
        if taken.seq not in result.result()
    ]
