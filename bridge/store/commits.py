"""Writes units, a group of them in one transaction, and says what became of each."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bridge.core.ports import StoreUnavailableError, Unit
from bridge.store.database import Database
from bridge.store.driver import Cursor, Faults, reason
from bridge.store.errors import RejectedError, SupersededError
from bridge.store.group import Group
from bridge.store.numbers import Numbers
from bridge.store.seal import Seal
from bridge.store.writes import Writes

logger = logging.getLogger(__name__)

ATTEMPT_PAUSES_S = (0.0, 0.05, 0.25)

Result = frozenset[int] | Exception


class Commits:
    """The only way to change an open database; used by one thread at a time.

    *unsure* are the numbers of what lies in the database though it was not said, or
    not yet, that it was written: until then nobody may read it, or who reads and is
    told would have it twice. *on_superseded* is called when somebody else has begun
    to write here.
    """

    def __init__(
        self,
        database: Database,
        seal: Seal,
        on_superseded: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._seal = seal
        self._writes = Writes(database.dialect)
        self._faults = Faults(database.dialect)
        self._reserved = database.reserved
        self._doubtful: set[int] = set()
        self._on_superseded = on_superseded
        self._hasty: set[int] = set()
        self._available = True
        self.unsure: set[int] = set()
        self.numbers = Numbers(database.reserved)

    def write(self, units: Sequence[Unit]) -> Sequence[Result]:
        """Write *units*; return for each the known seqs, or why it failed."""
        why = ""
        for pause_s in ATTEMPT_PAUSES_S:
            if pause_s:
                time.sleep(pause_s)
            try:
                results = self._attempt(units)
            except SupersededError as error:
                why = str(error)
                self._database.disconnect()
                self._on_superseded()
                break
            except self._faults.database as error:
                why = reason(error)
                self._database.disconnect()
            else:
                self._note_available()
                return results
        self._note_unavailable(why)
        return [StoreUnavailableError(why) for _ in units]

    def told(self, unit: Unit) -> None:
        """Let what *unit* holds be read: it is said that it was written."""
        for taken in unit.take:
            self.unsure.discard(taken.seq)
        for parcel in unit.parcels:
            self.unsure.discard(parcel.id)

    def _attempt(self, units: Sequence[Unit]) -> Sequence[Result]:
        try:
            group = Group(units, self._seal)
            with self._transaction(units) as cursor:
                known = self._run(cursor, units, group)
        except SupersededError:
            raise
        except Exception as error:
            if not self._faults.is_of_unit(error):
                raise
            return self._write_apart(units)
        if not known:
            return [known] * len(units)
        return [known.intersection(taken.seq for taken in u.take) for u in units]

    def _run(
        self, cursor: Cursor, units: Sequence[Unit], group: Group
    ) -> frozenset[int]:
        """Write *group*, which is *units*, but for those that are void."""
        known = self._writes.take(cursor, group)
        if known:
            group = Group([u for u in units if not u.is_void(known)], self._seal)
        self._writes.run(cursor, group)
        return known

    def _write_apart(self, units: Sequence[Unit]) -> Sequence[Result]:
        """Write what can be written, in the order in which it was handed in."""
        with self._transaction(units) as cursor:
            return [self._write_one(cursor, unit) for unit in units]

    def _write_one(self, cursor: Cursor, unit: Unit) -> Result:
        cursor.execute("SAVEPOINT unit", ())
        try:
            known = self._run(cursor, [unit], Group([unit], self._seal))
        except Exception as error:
            if not self._faults.is_of_unit(error):
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT unit", ())
            why = f"the database does not accept this: {reason(error)}"
            # Only that: the rest of the error may tell what people said.
            logger.error("a change is lost: %s", why)  # noqa: TRY400
            return RejectedError(why)
        cursor.execute("RELEASE SAVEPOINT unit", ())
        return known

    @contextmanager
    def _transaction(self, units: Sequence[Unit]) -> Iterator[Cursor]:
        connection = self._database.connected()
        try:
            cursor = connection.cursor()
            self._database.begin(cursor)
            reserved = self._prepare(cursor)
            yield cursor
        except BaseException:
            connection.rollback()
            raise
        # If the connection breaks now, nobody knows whether this was written. We will
        # say that it was not, so the arrivals must not lie there as known later on.
        seqs = [taken.seq for unit in units for taken in unit.take]
        ids = [parcel.id for unit in units for parcel in unit.parcels]
        self._doubtful.update(seqs)
        for unit in units:
            if unit.take and unit.done:
                self._hasty.update(parcel.id for parcel in unit.parcels)
        self.unsure.update(seqs, ids)
        connection.commit()
        self._doubtful.clear()
        self._hasty.clear()
        self._reserved = reserved

    def _prepare(self, cursor: Cursor) -> int:
        if self._writes.epoch(cursor) != self._database.epoch:
            raise SupersededError
        if self._doubtful:
            self._writes.forget(cursor, list(self._doubtful), list(self._hasty))
        reserved = self.numbers.to_reserve(self._reserved)
        if reserved != self._reserved:
            self._writes.reserve(cursor, reserved)
        return reserved

    def _note_available(self) -> None:
        if not self._available:
            logger.info("the database can be written again")
            self._available = True

    def _note_unavailable(self, why: str) -> None:
        if self._available:
            logger.error("nothing can be written: %s; see to the database", why)
            self._available = False
