"""Opens the database for this bridge alone, and keeps the connection that writes."""

import logging
import time
from typing import cast

from sqlalchemy import URL, Connection, insert, select, update
from sqlalchemy.exc import DBAPIError

from bridge.core.ports import StoreUnavailableError
from bridge.store import driver
from bridge.store.engine import file_of, make_private, writer_engine
from bridge.store.errors import AlreadyRunningError, SupersededError
from bridge.store.headroom import lengthen
from bridge.store.lock import FileLock, try_lock
from bridge.store.migrations import migrate
from bridge.store.schema import instance, meta
from bridge.store.seal import Seal

logger = logging.getLogger(__name__)

FREE_S = 1.0
"""How long PostgreSQL may take to notice that the run before has ended."""

_SEAL = "seal"
_LABEL = b"meta.value"


class Database:
    """The database, once ``open`` has returned.

    In PostgreSQL the connection that writes holds the lock, so that a bridge which
    has lost it writes nothing more; in SQLite a locked file lasts as long as we do.
    Should a lock fail, *epoch* still tells: a later start has begun another.
    """

    def __init__(self, url: URL, seal: Seal) -> None:
        self._seal = seal
        self._engine = writer_engine(url)
        self._path = file_of(url)
        self._file_lock = None if self._path is None else FileLock(self._path)
        self._connection: Connection | None = None
        self._raw: driver.Connection | None = None
        self.dialect = self._engine.dialect
        self.epoch = 0
        self.reserved = 0

    def open(self) -> None:
        """Take the lock, bring the schema up to date and begin a new epoch."""
        try:
            self._open()
        except DBAPIError as error:
            self.close()
            raise StoreUnavailableError(
                f"the database cannot be opened: {driver.reason(error)}; see whether"
                " it is running and whether the bridge is allowed to use it"
            ) from error
        except Exception:
            self.close()
            raise

    def make_headroom(self) -> None:
        """Spare commits what would make the first ones slow; see ``headroom``."""
        if self._path is not None:
            lengthen(self.connected(), self._path)

    def close(self) -> None:
        """Let go of the database."""
        self.disconnect()
        self._engine.dispose()
        if self._file_lock is not None:
            self._file_lock.release()

    def connected(self) -> driver.Connection:
        """Return the driver's connection, made anew if it was lost."""
        if self._raw is None:
            self._raw = _raw(self._connect())
        return self._raw

    def disconnect(self) -> None:
        """Give the connection up: something is wrong with it."""
        connection, self._connection, self._raw = self._connection, None, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    def begin(self, cursor: driver.Cursor) -> None:
        """Begin a transaction; PostgreSQL's driver does so by itself."""
        if self._path is not None:
            cursor.execute("BEGIN IMMEDIATE", ())

    def _open(self) -> None:
        if self._path is not None and self._file_lock is not None:
            make_private(self._path)
            self._file_lock.acquire()
        connection = self._connect()
        migrate(connection)
        with connection.begin():
            self._check_seal(connection)
            connection.execute(update(instance).values(epoch=instance.c.epoch + 1))
            row = connection.execute(select(instance)).one()
        self.epoch = row.epoch
        self.reserved = row.reserved
        logger.info("database open, epoch %d", self.epoch)

    def _check_seal(self, connection: Connection) -> None:
        box = connection.scalar(select(meta.c.value).where(meta.c.name == _SEAL))
        if box is None:
            box = self._seal.close(_LABEL, b"")
            connection.execute(insert(meta).values(name=_SEAL, value=box))
        self._seal.open(_LABEL, box)

    def _connect(self) -> Connection:
        if self._connection is None:
            connection = self._engine.connect()
            try:
                if self._file_lock is None:
                    self._take_lock(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _take_lock(self, connection: Connection) -> None:
        again = self.epoch > 0
        with connection.begin():
            locked = try_lock(connection) or (not again and _comes_free(connection))
            epoch = connection.scalar(select(instance.c.epoch)) if again else 0
        if epoch != self.epoch:
            raise SupersededError
        if not locked and again:
            raise StoreUnavailableError(
                "the database has not noticed yet that the old connection is gone"
            )
        if not locked:
            raise AlreadyRunningError(
                "another bridge is using this database: stop it, or give this one a"
                " database of its own"
            )


def _comes_free(connection: Connection) -> bool:
    """Wait a moment for the lock: a run that has just ended may not be noticed yet."""
    deadline = time.monotonic() + FREE_S
    while time.monotonic() < deadline:
        time.sleep(FREE_S / 20)
        if try_lock(connection):
            return True
    return False


def _raw(connection: Connection) -> driver.Connection:
    return cast("driver.Connection", connection.connection.dbapi_connection)


def epoch(connection: Connection) -> int:
    """Read which epoch it is."""
    found: int = connection.execute(select(instance.c.epoch)).scalar_one()
    return found
