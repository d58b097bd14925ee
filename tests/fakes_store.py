"""A store that lives in a dict; *disk* is what survives when it is opened again."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

from bridge.core.ports import NEWEST, StoreUnavailableError, Unit
from bridge.model.delivery import Parcel, Taken
from bridge.model.places import Network, Room
from bridge.model.records import DeadLetter, Record, Secret

R = TypeVar("R", bound=Record)


@dataclass
class Disk:
    """What was committed."""

    number: int = 0
    epoch: int = 0
    known: set[tuple[Network, str]] = field(default_factory=set)
    inbox: dict[int, Taken] = field(default_factory=dict)
    outbox: dict[int, Parcel] = field(default_factory=dict)
    kept: dict[int, Parcel] = field(default_factory=dict)
    records: dict[tuple[object, ...], Record] = field(default_factory=dict)


class FakeStore:
    """The port ``Store`` in memory; *broken* makes it fail as if the disk were full."""

    def __init__(self, disk: Disk | None = None) -> None:
        self.disk = disk or Disk()
        self.disk.epoch += 1
        self.epoch = self.disk.epoch
        self.broken = False
        self.unfit = ""
        self.units: list[Unit] = []

    def number(self) -> int:
        self.disk.number += 1
        return self.disk.number

    def skip(self, number: int) -> None:
        self.disk.number = max(self.disk.number, number)

    def commit(self, unit: Unit) -> "asyncio.Future[frozenset[int]]":
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[frozenset[int]] = loop.create_future()
        if unit == Unit():
            answer.set_result(frozenset())
        else:
            late = [record for make in unit.late for record in make()]
            unit = replace(unit, put=[*unit.put, *late], late=[])
            loop.call_soon(self._commit, unit, answer)
        return answer

    async def load(self, kind: type[R]) -> Sequence[R]:
        return [one for one in self.disk.records.values() if isinstance(one, kind)]

    async def find(self, kind: type[R], *key: object) -> R | None:
        return cast("R | None", self.disk.records.get((kind, *key)))

    async def secrets(self, owner: str) -> Sequence[Secret]:
        return [one for one in await self.load(Secret) if one.owner == owner]

    async def rooms_waiting(self) -> Sequence[Room]:
        return list({taken.arrival.room for taken in self.disk.inbox.values()})

    async def waiting(
        self, rooms: Sequence[Room], after: int, limit: int
    ) -> Sequence[Taken]:
        self._see_that_it_is_ours()
        inbox = self.disk.inbox
        seqs = (
            s for s in sorted(inbox) if s > after and inbox[s].arrival.room in rooms
        )
        return [inbox[seq] for seq in seqs][:limit]

    async def lanes_pending(self) -> Sequence[tuple[Network, str]]:
        return list({(one.network, one.lane) for one in self.disk.outbox.values()})

    async def pending(
        self, network: Network, lane: str, after: int, limit: int
    ) -> Sequence[Parcel]:
        self._see_that_it_is_ours()
        found = _of_lane(self.disk.outbox, network, lane)
        return [parcel for parcel in found if parcel.id > after][:limit]

    async def archive(
        self, network: Network, lane: str, limit: int, before: int = NEWEST
    ) -> Sequence[Parcel]:
        found = _of_lane(self.disk.kept, network, lane)
        return [one for one in found if one.id < before][-limit:]

    async def kept(
        self, network: Network, lane: str, ids: Sequence[int]
    ) -> Sequence[Parcel]:
        everything = {**self.disk.outbox, **self.disk.kept}
        found = _of_lane(everything, network, lane)
        return [one for one in found if one.id in ids and one.wire.archived]

    async def letters(self, lane: str, after: int, limit: int) -> Sequence[DeadLetter]:
        found = sorted(await self.load(DeadLetter), key=lambda letter: letter.id)
        return [
            letter
            for letter in found
            if letter.id > after and lane in ("", letter.lane)
        ][:limit]

    async def counts(self) -> dict[str, int]:
        return {"waiting": len(self.disk.inbox), "pending": len(self.disk.outbox)}

    def break_down(self) -> None:
        """Fail from now on."""
        self.broken = True

    async def close(self) -> None:
        self.broken = True

    def _commit(self, unit: Unit, answer: "asyncio.Future[frozenset[int]]") -> None:
        error = self._fault(unit)
        if error is not None:
            answer.set_exception(error)
            return
        self.units.append(unit)
        known = frozenset(t.seq for t in unit.take if not self._take(t))
        answer.set_result(known)
        if unit.is_void(known):
            return
        self._move(unit)
        for record in unit.put:
            self.disk.records[_key(record)] = record
        for record in unit.drop:
            self.disk.records.pop(_key(record), None)

    def _see_that_it_is_ours(self) -> None:
        if self.epoch != self.disk.epoch:
            raise StoreUnavailableError("another bridge has started")

    def _fault(self, unit: Unit) -> Exception | None:
        """Say why *unit* cannot be written."""
        if self.broken:
            return StoreUnavailableError("the disk is full")
        if self.epoch != self.disk.epoch:
            return StoreUnavailableError("another bridge has started")
        words = [one.wire.data.decode(errors="replace") for one in unit.parcels]
        if self.unfit and self.unfit in words:
            return ValueError("this can never be written")
        try:
            for taken in unit.take:
                taken.arrival.key.encode()
        except UnicodeEncodeError as error:
            return error
        return None

    def _take(self, taken: Taken) -> bool:
        key = (taken.arrival.room.network, taken.arrival.key)
        new = key not in self.disk.known
        if new:
            self.disk.known.add(key)
            self.disk.inbox[taken.seq] = taken
        return new

    def _move(self, unit: Unit) -> None:
        for seq in unit.done:
            self.disk.inbox.pop(seq, None)
        for parcel in unit.parcels:
            self.disk.outbox[parcel.id] = parcel
        for parcel in unit.final:
            self.disk.outbox[parcel.id] = parcel
        for parcel in unit.sent:
            row = self.disk.outbox.pop(parcel.id, None)
            if row is not None and parcel.wire.archived:
                self.disk.kept[parcel.id] = row


class SlowStore(FakeStore):
    """A store that answers who reads first only when it is told to."""

    def __init__(self, disk: Disk | None = None) -> None:
        super().__init__(disk)
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def load(self, kind: type[R]) -> Sequence[R]:
        found = await super().load(kind)
        if not self.asked.is_set():
            self.asked.set()
            await self.may_answer.wait()
        return found


def _key(record: Record) -> tuple[object, ...]:
    return (type(record), *(getattr(record, name) for name in record.KEY))


def _of_lane(box: dict[int, Parcel], network: Network, lane: str) -> list[Parcel]:
    found = (box[number] for number in sorted(box))
    return [one for one in found if (one.network, one.lane) == (network, lane)]
