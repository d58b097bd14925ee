"""What the writer asks of a driver (PEP 249), and what its errors mean.

The statements of a group are run on the driver's own connection: SQLAlchemy has
compiled them, and going through it each time would cost more than running them.
"""

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import Dialect
from sqlalchemy.exc import DBAPIError

from bridge.core.ports import StoreUnavailableError

_PROGRAM_LIMIT_EXCEEDED = "54"  # e.g. a key that is too long for PostgreSQL's indexes
_INSUFFICIENT_PRIVILEGE = "42501"
_UNDEFINED_TABLE = "42P01"  # e.g. while somebody restores a backup


class Cursor(Protocol):
    """Runs statements."""

    @property
    def rowcount(self) -> int:
        """Count the rows that the last statement changed."""

    def execute(self, sql: str, values: Sequence[object], /) -> object:
        """Run a statement."""

    def fetchall(self) -> Sequence[Sequence[object]]:
        """Read what the last statement found."""


class Connection(Protocol):
    """A connection, in a transaction or not."""

    def cursor(self) -> Cursor:
        """Make a cursor."""

    def commit(self) -> None:
        """End the transaction and make it durable."""

    def rollback(self) -> None:
        """End the transaction as if it had never been."""


class Faults:
    """Tells what is wrong with a unit from what is wrong with the database."""

    def __init__(self, dialect: Dialect) -> None:
        driver = dialect.loaded_dbapi
        self.database: tuple[type[Exception], ...] = (
            driver.Error,
            DBAPIError,
            StoreUnavailableError,
        )
        self._unit = (driver.DataError, driver.IntegrityError, driver.ProgrammingError)

    def is_of_unit(self, error: Exception) -> bool:
        """Tell whether trying again would fail again, and only for one unit."""
        state = getattr(error, "sqlstate", None) or ""
        if state in (_INSUFFICIENT_PRIVILEGE, _UNDEFINED_TABLE):
            return False
        if not isinstance(error, self.database) or isinstance(error, self._unit):
            return True
        return state.startswith(_PROGRAM_LIMIT_EXCEEDED)


def reason(error: Exception) -> str:
    """Say in one line, without what people said, what is wrong."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    return lines[0]
