"""Sees to it that one bridge at a time works with a database."""

import fcntl
import os
from pathlib import Path

from sqlalchemy import Connection, func, select

from bridge.store.errors import AlreadyRunningError

# Any number will do, as long as nobody else in the same database takes it.
_PURPOSE = 0x584D5042


class FileLock:
    """The lock of an SQLite database: a locked file beside it.

    The kernel lets go of it when the process ends, however it ends.
    """

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}.lock")
        self._file = -1

    def acquire(self) -> None:
        """Take the lock."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            raise AlreadyRunningError(
                f"another bridge is using this database (it holds {self._path}):"
                " stop it, or give this one a database of its own"
            ) from None
        self._file = file

    def release(self) -> None:
        """Let go of the lock."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def try_lock(connection: Connection) -> bool:
    """Take the lock of a PostgreSQL database, for as long as *connection* lives.

    It is the connection that writes: whoever loses the lock can no longer write.
    """
    place = func.hashtext(func.current_schema())
    return bool(connection.scalar(select(func.pg_try_advisory_lock(_PURPOSE, place))))
