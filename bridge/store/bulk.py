"""Runs one statement for many rows, compiled once for each number of rows.

One call of the driver per row would give the interpreter away, and wait to get it
back, once per row. So a statement names up to ``ROWS_MAX`` rows, in sizes that are
powers of two: few enough for the driver to keep each of them prepared.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, Dialect, Table, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.expression import ColumnElement, Executable

ROWS_MAX = 64

Insert = sqlite.Insert | postgresql.Insert


class Bulk:
    """A statement about *width* values of each row.

    *make* writes it for a number of rows, with the values in their order.
    """

    def __init__(
        self, dialect: Dialect, width: int, make: Callable[[int], Executable]
    ) -> None:
        self._dialect = dialect
        self._width = width
        self._make = make
        self._sql: dict[int, str] = {}

    def run(self, connection: Connection, values: Sequence[object]) -> int:
        """Run it for the rows whose *values* stand one after another.

        Return how many rows it changed.
        """
        changed = 0
        start = 0
        size = ROWS_MAX
        rows = len(values) // self._width
        while rows:
            while size > rows:
                size //= 2
            end = start + size * self._width
            changed += connection.exec_driver_sql(
                self._compiled(size), tuple(values[start:end])
            ).rowcount
            start = end
            rows -= size
        return changed

    def read(self, connection: Connection, values: Sequence[object]) -> set[object]:
        """Run it, a query of one column, and return all it finds."""
        found: set[object] = set()
        step = ROWS_MAX * self._width
        for start in range(0, len(values), step):
            part = tuple(values[start : start + step])
            sql = self._compiled(len(part) // self._width)
            found.update(connection.exec_driver_sql(sql, part).scalars())
        return found

    def _compiled(self, rows: int) -> str:
        sql = self._sql.get(rows)
        if sql is None:
            compiled = self._make(rows).compile(dialect=self._dialect)  # type: ignore[attr-defined]
            sql = self._sql[rows] = str(compiled)
        return sql


def insert(dialect: Dialect, table: Table, names: Sequence[str], rows: int) -> Insert:
    """Write an insert of *rows* rows that can be told what to do about a conflict."""
    make = postgresql.insert if dialect.name == "postgresql" else sqlite.insert
    return make(table).values(
        [
            {
                name: bindparam(f"{name}_{row}", type_=table.c[name].type)
                for name in names
            }
            for row in range(rows)
        ]
    )


def among(column: ColumnElement[object], rows: int) -> ColumnElement[bool]:
    """Write a condition that *column* has one of *rows* values."""
    return column.in_(
        [bindparam(f"{column.key}_{row}", type_=column.type) for row in range(rows)]
    )
