"""The connection that writes: opens it, keeps it, and says what became of each unit."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import URL, Connection, insert, select, update
from sqlalchemy.exc import DBAPIError

from bridge.core.ports import StoreUnavailableError, Unit
from bridge.store.engine import file_of, make_private, writer_engine
from bridge.store.errors import AlreadyRunningError, RejectedError
from bridge.store.faults import is_fault_of_unit, reason
from bridge.store.group import Group
from bridge.store.lock import FileLock, try_lock
from bridge.store.migrations import migrate
from bridge.store.numbers import Numbers
from bridge.store.schema import instance, meta
from bridge.store.seal import Seal
from bridge.store.writes import Writes

logger = logging.getLogger(__name__)

ATTEMPT_PAUSES_S = (0.0, 0.05, 0.25)

Result = frozenset[int] | Exception

_SEAL = "seal"
_LABEL = b"meta.value"


class Database:
    """Writes units, a group of them in one transaction; used by one thread at a time.

    In PostgreSQL the connection that writes holds the lock, so that a bridge which
    has lost it writes nothing more; in SQLite a locked file lasts as long as we do.
    """

    def __init__(self, url: URL, seal: Seal) -> None:
        self._seal = seal
        self._engine = writer_engine(url)
        self._writes = Writes(self._engine.dialect)
        self._path = file_of(url)
        self._file_lock = None if self._path is None else FileLock(self._path)
        self._connection: Connection | None = None
        self._epoch = 0
        self._reserved = 0
        self._doubtful: set[int] = set()
        self._available = True
        self.numbers = Numbers(0)

    def open(self) -> None:
        """Take the lock, bring the schema up to date and begin a new epoch."""
        try:
            self._open()
        except DBAPIError as error:
            self.close()
            raise StoreUnavailableError(
                f"the database cannot be opened: {reason(error)}; see whether it is"
                " running and whether the bridge is allowed to use it"
            ) from error
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the database."""
        self._disconnect()
        self._engine.dispose()
        if self._file_lock is not None:
            self._file_lock.release()

    def write(self, units: Sequence[Unit]) -> Sequence[Result]:
        """Write *units*; return for each the known seqs, or why it failed."""
        why = ""
        for pause_s in ATTEMPT_PAUSES_S:
            time.sleep(pause_s)
            try:
                results = self._attempt(units)
            except (DBAPIError, StoreUnavailableError) as error:
                why = reason(error)
                self._disconnect()
            else:
                if not self._available:
                    logger.info("the database can be written again")
                self._available = True
                return results
        if self._available:
            logger.error("nothing can be written: %s; see to the database", why)
        self._available = False
        return [StoreUnavailableError(why) for _ in units]

    def _attempt(self, units: Sequence[Unit]) -> Sequence[Result]:
        try:
            group = Group(units, self._seal)
            with self._transaction(group.seqs) as connection:
                known = self._writes.run(connection, group)
        except Exception as error:
            if not is_fault_of_unit(error):
                raise
            return self._write_apart(units)
        if not known:
            return [known] * len(units)
        return [known.intersection(taken.seq for taken in u.take) for u in units]

    def _write_apart(self, units: Sequence[Unit]) -> Sequence[Result]:
        """Write what can be written, in the order in which it was handed in."""
        results: list[Result] = []
        seqs = [taken.seq for unit in units for taken in unit.take]
        with self._transaction(seqs) as connection:
            for unit in units:
                try:
                    with connection.begin_nested():
                        group = Group([unit], self._seal)
                        results.append(self._writes.run(connection, group))
                except Exception as error:
                    if not is_fault_of_unit(error):
                        raise
                    results.append(RejectedError(f"cannot be stored: {reason(error)}"))
        return results

    @contextmanager
    def _transaction(self, seqs: Sequence[int]) -> Iterator[Connection]:
        connection = self._connected()
        transaction = connection.begin()
        try:
            self._prepare(connection)
            reserved = self._reserve(connection)
            yield connection
        except BaseException:
            transaction.rollback()
            raise
        # If the connection breaks now, nobody knows whether this was written. We will
        # say that it was not, so the arrivals must not lie there as known later on.
        self._doubtful.update(seqs)
        transaction.commit()
        self._doubtful.clear()
        self._reserved = reserved

    def _prepare(self, connection: Connection) -> None:
        if self._doubtful:
            self._writes.forget(connection, list(self._doubtful))

    def _reserve(self, connection: Connection) -> int:
        reserved = self.numbers.to_reserve(self._reserved)
        if reserved != self._reserved:
            connection.execute(update(instance).values(reserved=reserved))
        return reserved

    def _open(self) -> None:
        if self._path is not None and self._file_lock is not None:
            make_private(self._path)
            self._file_lock.acquire()
        connection = self._connected()
        migrate(connection)
        with connection.begin():
            self._check_seal(connection)
            connection.execute(update(instance).values(epoch=instance.c.epoch + 1))
            row = connection.execute(select(instance)).one()
        self._epoch = row.epoch
        self._reserved = row.reserved
        self.numbers = Numbers(row.reserved)
        logger.info("database open, epoch %d", self._epoch)

    def _check_seal(self, connection: Connection) -> None:
        box = connection.scalar(select(meta.c.value).where(meta.c.name == _SEAL))
        if box is None:
            box = self._seal.close(_LABEL, b"")
            connection.execute(insert(meta).values(name=_SEAL, value=box))
        self._seal.open(_LABEL, box)

    def _connected(self) -> Connection:
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
        with connection.begin():
            locked = try_lock(connection)
            again = self._epoch > 0
            epoch = connection.scalar(select(instance.c.epoch)) if again else 0
        if epoch != self._epoch:
            raise StoreUnavailableError(
                "another bridge has used the database meanwhile: stop one of the two"
            )
        if not locked and again:
            raise StoreUnavailableError(
                "the database has not noticed yet that the old connection is gone"
            )
        if not locked:
            raise AlreadyRunningError(
                "another bridge is using this database: stop it, or give this one a"
                " database of its own"
            )

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()
