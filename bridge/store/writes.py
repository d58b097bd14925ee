"""The statements of a group, in the order in which they are run."""

from collections.abc import Sequence

from sqlalchemy import Connection, Dialect, and_, bindparam, delete, or_
from sqlalchemy.sql.expression import ColumnElement, Executable

from bridge.model.records import Record
from bridge.store.bulk import Bulk, insert
from bridge.store.group import Group
from bridge.store.inbox import InboxWrites
from bridge.store.outbox import OutboxWrites
from bridge.store.records import SHELVES, Shelf


class Writes:
    """All statements that change what the bridge remembers, for one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._inbox = InboxWrites(dialect)
        self._outbox = OutboxWrites(dialect)
        self._put = {kind: _put(dialect, shelf) for kind, shelf in SHELVES.items()}
        self._drop = {kind: _drop(dialect, shelf) for kind, shelf in SHELVES.items()}

    def run(self, connection: Connection, group: Group) -> frozenset[int]:
        """Write *group*; return the seqs of arrivals that were known already."""
        known = self._run_inbox(connection, group)
        self._run_outbox(connection, group)
        for kind in group.records:
            self._run_records(connection, group, kind)
        return known

    def forget(self, connection: Connection, seqs: Sequence[int]) -> None:
        """Delete arrivals whose senders were told that they are not taken."""
        self._inbox.forget.run(connection, seqs)

    def _run_inbox(self, connection: Connection, group: Group) -> frozenset[int]:
        known: frozenset[int] = frozenset()
        if group.take:
            taken = self._inbox.take.run(connection, group.take)
            if taken != len(group.seqs):
                present = self._inbox.present.read(connection, group.seqs)
                known = frozenset(seq for seq in group.seqs if seq not in present)
        if group.done:
            self._inbox.done.run(connection, group.done)
        return known

    def _run_outbox(self, connection: Connection, group: Group) -> None:
        if group.send:
            self._outbox.send.run(connection, group.send)
        if group.sent:
            self._outbox.sent.run(connection, group.sent)
        if group.keep:
            self._outbox.keep.run(connection, group.keep)
            for network, lane in group.kept_lanes:
                self._outbox.prune(connection, network, lane)
        if group.closed_lanes:
            self._outbox.forget.run(connection, group.closed_lanes)

    def _run_records(
        self, connection: Connection, group: Group, kind: type[Record]
    ) -> None:
        if rows := group.put(kind):
            self._put[kind].run(connection, rows)
        if keys := group.drop(kind):
            self._drop[kind].run(connection, keys)


def _put(dialect: Dialect, shelf: Shelf[Record]) -> Bulk:
    key = shelf.kind.KEY
    rest = [name for name in shelf.names if name not in key]

    def make(rows: int) -> Executable:
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
