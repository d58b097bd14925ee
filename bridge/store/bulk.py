"""Runs one statement for many rows, compiled once for each number of rows.

One call of the driver per row would give the interpreter away, and wait to get it
back, once per row. So a statement names up to ``ROWS_MAX`` rows, in sizes that are
powers of two: few enough for the driver to keep each of them prepared.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Dialect, Table, bindparam
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.expression import ClauseElement, ColumnElement

from bridge.store.driver import Cursor

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

    Insert = sqlite.Insert | postgresql.Insert

ROWS_MAX = 64


class Bulk:
    """A statement about *width* values of each row.

    *make* writes it for a number of rows, with the values in their order.
    """

    def __init__(
        self, dialect: Dialect, width: int, make: Callable[[int], ClauseElement]
    ) -> None:
        self._dialect = dialect
        self._width = width
        self._make = make
        self._sql: dict[int, str] = {}

    def run(self, cursor: Cursor, values: Sequence[object]) -> int:
        """Run it for the rows whose *values* stand one after another.

        Return how many rows it changed.
        """
        changed = 0
        for sql, part in self._parts(values):
            cursor.execute(sql, part)
            changed += cursor.rowcount
        return changed

    def read(self, cursor: Cursor, values: Sequence[object]) -> set[object]:
        """Run it, a query of one column, and return all it finds."""
        found: set[object] = set()
        for sql, part in self._parts(values):
            cursor.execute(sql, part)
            found.update(row[0] for row in cursor.fetchall())
        return found

    def _parts(
        self, values: Sequence[object]
    ) -> Iterator[tuple[str, Sequence[object]]]:
        size = ROWS_MAX
        start = 0
        while start < len(values):
            while start + size * self._width > len(values):
                size //= 2
            end = start + size * self._width
            yield self._sql.get(size) or self._compile(size), values[start:end]
            start = end

    def _compile(self, rows: int) -> str:
        compiled = self._make(rows).compile(
            dialect=self._dialect, compile_kwargs={"render_postcompile": True}
        )
        sql = self._sql[rows] = str(compiled)
        return sql


def insert(dialect: Dialect, table: Table, names: Sequence[str], rows: int) -> "Insert":
    """Write an insert of *rows* rows that can be told what to do about a conflict."""
    return _insert(dialect, table).values(
        [
            {
                name: bindparam(f"{name}_{row}", type_=table.c[name].type)
                for name in names
            }
            for row in range(rows)
        ]
    )


def _insert(dialect: Dialect, table: Table) -> "Insert":
    if dialect.name != "postgresql":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - 2 MB for most in vain

    return postgresql.insert(table)


def among(column: ColumnElement[object], rows: int) -> ColumnElement[bool]:
    """Write a condition that *column* has one of *rows* values."""
    return column.in_(
        [bindparam(f"{column.key}_{row}", type_=column.type) for row in range(rows)]
    )
