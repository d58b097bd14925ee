"""The statements of a group, in the order in which they are run."""

from collections.abc import Sequence

from sqlalchemy import Dialect, and_, bindparam, delete, or_, select, update
from sqlalchemy.sql.expression import ClauseElement, ColumnElement

from bridge.model.records import Record
from bridge.store.bulk import Bulk, insert
from bridge.store.driver import Cursor
from bridge.store.group import Group
from bridge.store.inbox import InboxWrites
from bridge.store.outbox import OutboxWrites
from bridge.store.records import SHELVES, Shelf
from bridge.store.schema import instance


class Writes:
    """All statements that change what the bridge remembers, for one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._inbox = InboxWrites(dialect)
        self._outbox = OutboxWrites(dialect)
        mine = select(instance.c.epoch).with_for_update(read=True)
        self._epoch = str(mine.compile(dialect=dialect))
        self._reserve = Bulk(
            dialect,
            1,
            lambda _: update(instance).values(reserved=bindparam("reserved")),
        )
        self._put = {kind: _put(dialect, shelf) for kind, shelf in SHELVES.items()}
        self._drop = {kind: _drop(dialect, shelf) for kind, shelf in SHELVES.items()}

    def take(self, cursor: Cursor, group: Group) -> frozenset[int]:
        """Take the arrivals of *group*; return the seqs of what was known already."""
        if not group.take:
            return frozenset()
        taken = self._inbox.take.run(cursor, group.take)
        if taken == len(group.seqs):
            return frozenset()
        present = self._inbox.present.read(cursor, group.seqs)
        return frozenset(seq for seq in group.seqs if seq not in present)

    def run(self, cursor: Cursor, group: Group) -> None:
        """Write all the rest of *group*."""
        if group.done:
            self._inbox.done.run(cursor, group.done)
        self._run_outbox(cursor, group)
        for kind in group.records:
            self._run_records(cursor, group, kind)

    def epoch(self, cursor: Cursor) -> object:
        """Return the epoch, which nobody can begin anew until this is committed."""
        cursor.execute(self._epoch, ())
        return cursor.fetchall()[0][0]

    def forget(self, cursor: Cursor, seqs: Sequence[int], ids: Sequence[int]) -> None:
        """Delete arrivals whose senders were told that they are not taken.

        *ids* are the parcels of those that were carried already.
        """
        self._inbox.forget.run(cursor, seqs)
        self._outbox.sent.run(cursor, ids)

    def reserve(self, cursor: Cursor, reserved: int) -> None:
        """Note that all numbers up to *reserved* may be in use."""
        self._reserve.run(cursor, (reserved,))

    def _run_outbox(self, cursor: Cursor, group: Group) -> None:
        if group.send:
            self._outbox.send.run(cursor, group.send)
        if group.final:
            self._outbox.final.run(cursor, group.final)
        if group.sent:
            self._outbox.sent.run(cursor, group.sent)
        if group.keep:
            self._outbox.keep.run(cursor, group.keep)
            for lane in group.kept_lanes:
                self._outbox.prune(cursor, lane)
        for lane in group.closed_lanes:
            self._outbox.forget.run(cursor, lane)

    def _run_records(self, cursor: Cursor, group: Group, kind: type[Record]) -> None:
        if rows := group.put(kind):
            self._put[kind].run(cursor, rows)
        if keys := group.drop(kind):
            self._drop[kind].run(cursor, keys)


def _put(dialect: Dialect, shelf: Shelf[Record]) -> Bulk:
    key = shelf.kind.KEY
    rest = [name for name in shelf.names if name not in key]

    def make(rows: int) -> ClauseElement:
        statement = insert(dialect, shelf.table, shelf.names, rows)
        return statement.on_conflict_do_update(
            index_elements=key,
            set_={name: statement.excluded[name] for name in rest},
        )

    return Bulk(dialect, len(shelf.names), make)


def _drop(dialect: Dialect, shelf: Shelf[Record]) -> Bulk:
    columns = shelf.key_columns()

    def is_one(row: int) -> ColumnElement[bool]:
        return and_(*(column == bindparam(f"{column.key}_{row}") for column in columns))

    return Bulk(
        dialect,
        len(columns),
        lambda rows: delete(shelf.table).where(
            or_(*(is_one(row) for row in range(rows)))
        ),
    )
