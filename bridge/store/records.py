"""Maps each class of records to a table, field by field."""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, Generic, TypeVar, cast, get_args, get_type_hints

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    LargeBinary,
    Row,
    Select,
    Table,
    Text,
    bindparam,
    select,
)
from sqlalchemy.types import TypeEngine

from bridge.model.records import Record
from bridge.store.schema import Number, metadata
from bridge.store.seal import Seal

R = TypeVar("R", bound=Record)

_COLUMN_TYPES: dict[type, TypeEngine[Any]] = {str: Text(), int: Number, bool: Boolean()}
_COLUMN_TYPES[bytes] = LargeBinary()


class Shelf(Generic[R]):
    """The table of one class of records."""

    def __init__(self, kind: type[R]) -> None:
        self.kind = kind
        self.names = tuple(field.name for field in fields(kind))
        hints = get_type_hints(kind)
        types = {name: _plain_type(hints[name]) for name in self.names}
        self._enums = tuple(
            (place, types[name])
            for place, name in enumerate(self.names)
            if issubclass(types[name], enum.Enum)
        )
        self.table = Table(
            kind.__name__.lower(),
            metadata,
            *(_column(name, types[name], kind.KEY) for name in self.names),
            # A table whose key is text is best kept in that key's own order.
            sqlite_with_rowid=types[kind.KEY[0]] is int,
        )
        # An enum's ``value`` is a property, which takes ten times as long.
        paths = {
            name: f"{name}._value_" if issubclass(types[name], enum.Enum) else name
            for name in self.names
        }
        self._values = _getter([paths[name] for name in self.names])
        self.key = _getter([paths[name] for name in kind.KEY])
        # Bytes are nobody's business but ours.
        self._sealed = tuple(
            place for place, name in enumerate(self.names) if types[name] is bytes
        )
        self._key_places = tuple(self.names.index(name) for name in kind.KEY)
        self._all = select(self.table)
        first = self.table.c[kind.KEY[0]]
        self._under = select(self.table).where(first == bindparam("first"))
        self._one = select(self.table).where(
            *(self.table.c[name] == bindparam(f"key_{name}") for name in kind.KEY)
        )

    def row(self, record: Record, seal: Seal) -> tuple[object, ...]:
        """Write the row of *record*."""
        values = self._values(record)
        return self._closed(values, seal) if self._sealed else values

    def load(self, connection: Connection, seal: Seal) -> Sequence[R]:
        """Read all records."""
        return self.read(connection, seal, self._all, {})

    def read(
        self,
        connection: Connection,
        seal: Seal,
        query: Select[Any],
        values: Mapping[str, object],
    ) -> Sequence[R]:
        """Read the records that *query* finds among all."""
        return [self._record(row, seal) for row in connection.execute(query, values)]

    def under(self, connection: Connection, seal: Seal, first: str) -> Sequence[R]:
        """Read all records whose key begins with *first*."""
        return self.read(connection, seal, self._under, {"first": first})

    def find(
        self, connection: Connection, seal: Seal, key: Sequence[object]
    ) -> R | None:
        """Read the record of *key*."""
        values = {
            f"key_{name}": value.value if isinstance(value, enum.Enum) else value
            for name, value in zip(self.kind.KEY, key, strict=True)
        }
        row = connection.execute(self._one, values).one_or_none()
        return None if row is None else self._record(row, seal)

    def key_columns(self) -> Sequence[ColumnElement[object]]:
        """Name the columns of the key."""
        return [self.table.c[name] for name in self.kind.KEY]

    def _closed(self, values: Sequence[object], seal: Seal) -> tuple[object, ...]:
        row: list[object] = list(values)
        for place in self._sealed:
            row[place] = seal.close(self._label(row), cast("bytes", row[place]))
        return tuple(row)

    def _label(self, row: Sequence[object]) -> bytes:
        """Say where a box belongs: nobody can put it into another row."""
        key = (str(row[place]) for place in self._key_places)
        return "\0".join((self.table.name, *key)).encode()

    def _record(self, row: Row[tuple[object, ...]], seal: Seal) -> R:
        values: list[object] = list(row)
        for place in self._sealed:
            values[place] = seal.open(self._label(values), cast("bytes", values[place]))
        for place, type_ in self._enums:
            values[place] = type_(values[place])
        return cast("Callable[..., R]", self.kind)(*values)


def _plain_type(hint: object) -> type:
    """Look through ``NewType``."""
    return cast("type", getattr(hint, "__supertype__", hint))


def _column(name: str, type_: type, key: Sequence[str]) -> Column[object]:
    column_type = _COLUMN_TYPES[str if issubclass(type_, enum.Enum) else type_]
    return Column(
        name,
        column_type,
        primary_key=name in key,
        autoincrement=False,
        nullable=False,
    )


def _getter(paths: Sequence[str]) -> "Callable[[Record], tuple[object, ...]]":
    """Return what reads *paths* of a record: the quickest way there is."""
    get = attrgetter(*paths)
    return get if len(paths) > 1 else lambda record: (get(record),)


SHELVES: dict[type[Record], Shelf[Record]] = {
    kind: Shelf(kind) for kind in get_args(Record)
}


def shelf(kind: type[R]) -> Shelf[R]:
    """Return the shelf of *kind*."""
    return cast("Shelf[R]", SHELVES[cast("type[Record]", kind)])
