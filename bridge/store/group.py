"""Merges units that are committed together: one statement for the rows of all."""

from collections.abc import Sequence
from itertools import chain

from bridge.core.ports import Unit
from bridge.model.places import Network
from bridge.model.records import Portal, Record
from bridge.store import inbox, outbox
from bridge.store.records import SHELVES
from bridge.store.schema import WORDS
from bridge.store.seal import Seal

Row = tuple[object, ...]


class Group:
    """What units change, by statement; the values of the rows stand one after another.

    For a record the last word counts: a put row, or None if it is dropped. Within one
    unit what is dropped is dropped after what is put.
    """

    def __init__(self, units: Sequence[Unit], seal: Seal) -> None:
        self.take: list[object] = []
        self.seqs: list[int] = []
        self.done: list[int] = []
        self.send: list[object] = []
        self.sent: list[int] = []
        self.final: list[object] = []
        self.keep: list[int] = []
        self.kept_lanes: list[tuple[str, str]] = []
        self.records: dict[type[Record], dict[Row, Row | None]] = {}
        self.closed_lanes: list[tuple[str, str]] = []
        for unit in units:
            self._add(unit, seal)

    def _add(self, unit: Unit, seal: Seal) -> None:
        if unit.take:
            self._take(unit, seal)
        else:
            self.done += unit.done
        for parcel in unit.parcels:
            self.send += outbox.values(parcel, seal)
        for parcel in unit.sent:
            if parcel.wire.archived:
                self.keep.append(parcel.id)
                self.kept_lanes.append((WORDS[parcel.network], parcel.lane))
            else:
                self.sent.append(parcel.id)
        for parcel in unit.final:
            self.final += outbox.values(parcel, seal)
        for record in unit.put:
            shelf = SHELVES[type(record)]
            self._changes(type(record))[shelf.key(record)] = shelf.row(record, seal)
        if unit.drop:
            self._drop(unit.drop)

    def _take(self, unit: Unit, seal: Seal) -> None:
        """Add what is taken; of what was carried already only the name is kept."""
        carried = frozenset(unit.done)
        for taken in unit.take:
            self.seqs.append(taken.seq)
            done = taken.seq in carried
            self.take += inbox.values(taken, None if done else seal)
        self.done += carried.difference(self.seqs)

    def _drop(self, records: Sequence[Record]) -> None:
        for record in records:
            self._changes(type(record))[SHELVES[type(record)].key(record)] = None
            if isinstance(record, Portal):
                # Nobody can come into this room any more and read its history.
                for network in Network:
                    self.closed_lanes.append((network.value, str(record.id)))

    def put(self, kind: type[Record]) -> list[object]:
        """Return the rows that are put."""
        rows = self.records[kind].values()
        return list(chain.from_iterable(row for row in rows if row is not None))

    def drop(self, kind: type[Record]) -> list[object]:
        """Return the keys that are dropped."""
        changes = self.records[kind].items()
        return list(chain.from_iterable(key for key, row in changes if row is None))

    def _changes(self, kind: type[Record]) -> dict[Row, Row | None]:
        changes = self.records.get(kind)
        if changes is None:
            changes = self.records[kind] = {}
        return changes
