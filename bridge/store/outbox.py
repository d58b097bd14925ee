"""What is to be sent, and the newest of what was sent and is history."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import (
    Connection,
    Delete,
    Dialect,
    Row,
    Select,
    bindparam,
    delete,
    func,
    literal_column,
    null,
    select,
    true,
    update,
)

from bridge.core.ports import NEWEST
from bridge.model.delivery import Parcel, Wire
from bridge.model.places import Network, PortalId
from bridge.store.bulk import Bulk, among, insert
from bridge.store.driver import Cursor
from bridge.store.schema import WORDS, is_kept, is_pending, outbox
from bridge.store.seal import Seal

if TYPE_CHECKING:
    from bridge.store.bulk import Insert

KEPT_MAX = 1000
"""So many of a lane's archived parcels are kept: about a kilobyte each."""
PRUNE_EVERY = 64

DATA = b"outbox.data"
RECEIPT = b"outbox.receipt"
NAMES = (
    "id",
    "network",
    "lane",
    "key",
    "data",
    "receipt",
    "last",
    "seq",
    "portal",
    "archived",
)

_of_lane = (
    outbox.c.network == bindparam("network"),
    outbox.c.lane == bindparam("lane"),
)
_LANES = select(outbox.c.network, outbox.c.lane).where(is_pending).distinct()
_COUNT = select(func.count()).select_from(outbox).where(is_pending)
_PENDING = (
    select(outbox)
    .where(is_pending, *_of_lane, outbox.c.id > bindparam("after"))
    .order_by(outbox.c.id)
    .limit(bindparam("limit"))
)
_ARCHIVE = (
    select(outbox)
    .where(is_kept, *_of_lane, outbox.c.id < bindparam("before"))
    .order_by(outbox.c.id.desc())
    .limit(bindparam("limit"))
)
# By its ids, which are the table itself: the lane only makes sure.
_KEPT = (
    select(outbox)
    .where(
        outbox.c.id.in_(bindparam("ids", expanding=True)),
        outbox.c.archived == true(),
        *_of_lane,
    )
    .order_by(outbox.c.id)
)


class OutboxWrites:
    """The statements that change the outbox."""

    def __init__(self, dialect: Dialect) -> None:
        # Committing a unit again does no harm: an id is never given twice.
        self.send = Bulk(
            dialect,
            len(NAMES),
            lambda rows: insert(dialect, outbox, NAMES, rows).on_conflict_do_nothing(),
        )
        self.sent = Bulk(
            dialect, 1, lambda rows: delete(outbox).where(among(outbox.c.id, rows))
        )
        self.keep = Bulk(
            dialect,
            1,
            lambda rows: (
                update(outbox)
                .values(kept=true(), receipt=null())
                .where(among(outbox.c.id, rows))
            ),
        )
        self.final = Bulk(dialect, len(NAMES), lambda rows: _final(dialect, rows))
        self.forget = Bulk(dialect, 2, lambda _: _forget())
        self._prune = Bulk(dialect, 4, lambda _: _prune())
        self._since_prune: dict[tuple[str, str], int] = {}

    def prune(self, cursor: Cursor, lane: tuple[str, str]) -> None:
        """Note that a lane has kept one more; now and then, delete its oldest."""
        kept = self._since_prune.get(lane, PRUNE_EVERY) + 1
        if kept > PRUNE_EVERY:
            self._prune.run(cursor, (*lane, *lane))
            kept = 0
        self._since_prune[lane] = kept


def _final(dialect: Dialect, rows: int) -> "Insert":
    """Replace the bytes of parcels."""
    statement = insert(dialect, outbox, NAMES, rows)
    return statement.on_conflict_do_update(
        index_elements=("id",), set_={"data": statement.excluded["data"]}
    )


def _forget() -> Delete:
    """Delete what a lane keeps."""
    return delete(outbox).where(is_kept, *_of_lane)


def _prune() -> Delete:
    """Delete what a lane keeps beyond ``KEPT_MAX``; its name is asked for twice."""
    newest = (
        select(outbox.c.id)
        .where(is_kept, *_of_lane)
        .order_by(outbox.c.id.desc())
        .limit(literal_column("1"))
        .offset(literal_column(str(KEPT_MAX)))
    )
    return delete(outbox).where(
        is_kept, *_of_lane, outbox.c.id <= newest.scalar_subquery()
    )


def values(parcel: Parcel, seal: Seal) -> tuple[object, ...]:
    """Write the row of *parcel*, in the order of ``NAMES``."""
    wire = parcel.wire
    receipt = parcel.receipt
    return (
        parcel.id,
        WORDS[parcel.network],
        parcel.lane,
        wire.key,
        seal.close(DATA, wire.data),
        seal.close(RECEIPT, receipt) if receipt else None,
        parcel.last,
        parcel.seq,
        parcel.portal,
        wire.archived,
    )


def lanes_pending(connection: Connection) -> Sequence[tuple[Network, str]]:
    """List the lanes that have parcels which are not sent."""
    return [(Network(row[0]), row[1]) for row in connection.execute(_LANES)]


def pending(
    connection: Connection,
    seal: Seal,
    lane: tuple[Network, str],
    after: int,
    limit: int,
) -> Sequence[Parcel]:
    """Read the parcels of a lane that are not sent, in order of id."""
    return _read(connection, seal, _PENDING, lane, {"after": after, "limit": limit})


def archive(
    connection: Connection,
    seal: Seal,
    lane: tuple[Network, str],
    limit: int,
    before: int = NEWEST,
) -> Sequence[Parcel]:
    """Read the newest *limit* archived parcels of a lane, oldest first."""
    bounds = {"limit": limit, "before": before}
    return _read(connection, seal, _ARCHIVE, lane, bounds)[::-1]


def kept(
    connection: Connection, seal: Seal, lane: tuple[Network, str], ids: Sequence[int]
) -> Sequence[Parcel]:
    """Read the archived parcels of a lane that have those *ids*, in order of id."""
    return _read(connection, seal, _KEPT, lane, {"ids": ids})


def count(connection: Connection) -> int:
    """Count the parcels that are not sent."""
    return connection.execute(_COUNT).scalar_one()


def _read(
    connection: Connection,
    seal: Seal,
    query: Select[tuple[object, ...]],
    lane: tuple[Network, str],
    bounds: Mapping[str, int | Sequence[int]],
) -> list[Parcel]:
    network, name = lane
    asked = {"network": network.value, "lane": name, **bounds}
    return [_parcel(row, seal) for row in connection.execute(query, asked)]


def _parcel(row: Row[tuple[object, ...]], seal: Seal) -> Parcel:
    return Parcel(
        row.id,
        Network(row.network),
        row.lane,
        Wire(row.key, seal.open(DATA, row.data), row.archived),
        seal.open(RECEIPT, row.receipt) if row.receipt else b"",
        row.last,
        row.seq,
        PortalId(row.portal),
    )
