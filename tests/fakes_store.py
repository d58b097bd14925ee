"""The port ``Store`` in dictionaries; the contract suite holds it to the real ones."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from bridge.core.ports import Unit
from bridge.model.delivery import Parcel, Taken
from bridge.model.places import Network, Room
from bridge.model.records import Record

R = TypeVar("R", bound=Record)


class FakeStore:
    """Remembers as long as the test runs."""

    def __init__(self) -> None:
        self._numbers = itertools.count(100)
        self._known: set[tuple[Network, str]] = set()
        self._inbox: dict[int, Taken] = {}
        self._outbox: dict[int, Parcel] = {}
        self._kept: dict[int, Parcel] = {}
        self._records: dict[tuple[object, ...], Record] = {}

    def number(self) -> int:
        return next(self._numbers)

    def commit(self, unit: Unit) -> "asyncio.Future[frozenset[int]]":
        known = frozenset(taken.seq for taken in unit.take if not self._take(taken))
        for seq in unit.done:
            self._inbox.pop(seq, None)
        for parcel in unit.parcels:
            self._outbox[parcel.id] = parcel
        for parcel in unit.sent:
            self._outbox.pop(parcel.id, None)
            if parcel.wire.archived:
                self._kept[parcel.id] = replace(parcel)
        for record in unit.put:
            self._records[_key(record)] = record
        for record in unit.drop:
            self._records.pop(_key(record), None)
        future: asyncio.Future[frozenset[int]] = (
            asyncio.get_running_loop().create_future()
        )
        future.set_result(known)
        return future

    def _take(self, taken: Taken) -> bool:
        key = (taken.arrival.room.network, taken.arrival.key)
        if key in self._known:
            return False
        self._known.add(key)
        self._inbox[taken.seq] = taken
        return True

    async def load(self, kind: type[R]) -> Sequence[R]:
        return [record for record in self._records.values() if isinstance(record, kind)]

    async def find(self, kind: type[R], *key: object) -> R | None:
        record = self._records.get((kind, *key))
        return record if isinstance(record, kind) else None

    async def rooms_waiting(self) -> Sequence[Room]:
        return list({taken.arrival.room: None for taken in self._inbox.values()})

    async def waiting(
        self, rooms: Sequence[Room], after: int, limit: int
    ) -> Sequence[Taken]:
        return [
            taken
            for seq, taken in sorted(self._inbox.items())
            if seq > after and taken.arrival.room in rooms
        ][:limit]

    async def lanes_pending(self) -> Sequence[tuple[Network, str]]:
        return list({(p.network, p.lane): None for p in self._outbox.values()})

    async def pending(
        self, network: Network, lane: str, after: int, limit: int
    ) -> Sequence[Parcel]:
        return [
            parcel
            for number, parcel in sorted(self._outbox.items())
            if number > after and (parcel.network, parcel.lane) == (network, lane)
        ][:limit]

    async def archive(
        self, network: Network, lane: str, limit: int
    ) -> Sequence[Parcel]:
        return [
            parcel
            for _, parcel in sorted(self._kept.items())
            if (parcel.network, parcel.lane) == (network, lane)
        ][-limit:]


def _key(record: Record) -> tuple[object, ...]:
    return (type(record), *(getattr(record, name) for name in record.KEY))
