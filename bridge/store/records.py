"""Maps each class of records to a table, field by field."""

import enum
from collections.abc import Callable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, Generic, TypeVar, cast, get_args, get_type_hints

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Row,
    Table,
    Text,
    bindparam,
    select,
)
from sqlalchemy.types import TypeEngine

from bridge.model.records import Record
from bridge.store.schema import Number, metadata

R = TypeVar("R", bound=Record)

_COLUMN_TYPES: dict[type, TypeEngine[Any]] = {str: Text(), int: Number, bool: Boolean()}


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
        paths = {
            name: f"{name}.value" if issubclass(types[name], enum.Enum) else name
            for name in self.names
        }
        self.row = _getter([paths[name] for name in self.names])
        self.key = _getter([paths[name] for name in kind.KEY])
        self._all = select(self.table)
        self._one = select(self.table).where(
            *(self.table.c[name] == bindparam(f"key_{name}") for name in kind.KEY)
        )

    def load(self, connection: Connection) -> Sequence[R]:
        """Read all records."""
        return [self._record(row) for row in connection.execute(self._all)]

    def find(self, connection: Connection, key: Sequence[object]) -> R | None:
        """Read the record of *key*."""
        values = {
            f"key_{name}": value.value if isinstance(value, enum.Enum) else value
            for name, value in zip(self.kind.KEY, key, strict=True)
        }
        row = connection.execute(self._one, values).one_or_none()
        return None if row is None else self._record(row)

    def key_columns(self) -> Sequence[ColumnElement[object]]:
        """Name the columns of the key."""
        return [self.table.c[name] for name in self.kind.KEY]

    def _record(self, row: Row[tuple[object, ...]]) -> R:
        values = list(row)
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
