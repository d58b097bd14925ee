"""What came over a wire: kept whole until it is done, and known for ever."""

import heapq
from collections.abc import Sequence
from operator import attrgetter

from sqlalchemy import (
    Connection,
    Dialect,
    bindparam,
    delete,
    func,
    null,
    select,
    update,
)

from bridge.model.delivery import Arrival, Taken
from bridge.model.places import Network, Room
from bridge.store.bulk import Bulk, among, insert
from bridge.store.schema import WORDS, inbox, is_waiting
from bridge.store.seal import Seal

LABEL = b"inbox.raw"
NAMES = ("seq", "network", "key", "room", "raw")

_WAITING = (
    select(inbox.c.seq, inbox.c.key, inbox.c.raw)
    .where(
        is_waiting,
        inbox.c.network == bindparam("network"),
        inbox.c.room == bindparam("room"),
        inbox.c.seq > bindparam("after"),
    )
    .order_by(inbox.c.seq)
    .limit(bindparam("limit"))
)
_ROOMS = select(inbox.c.network, inbox.c.room).where(is_waiting).distinct()
_COUNT = select(func.count()).select_from(inbox).where(is_waiting)


class InboxWrites:
    """The statements that change the inbox."""

    def __init__(self, dialect: Dialect) -> None:
        # Taking an arrival twice is no fault, neither here nor by the sender.
        self.take = Bulk(
            dialect,
            len(NAMES),
            lambda rows: insert(dialect, inbox, NAMES, rows).on_conflict_do_nothing(),
        )
        self.present = Bulk(
            dialect,
            1,
            lambda rows: select(inbox.c.seq).where(among(inbox.c.seq, rows)),
        )
        self.done = Bulk(
            dialect,
            1,
            lambda rows: (
                update(inbox).values(raw=null()).where(among(inbox.c.seq, rows))
            ),
        )
        self.forget = Bulk(
            dialect,
            1,
            lambda rows: delete(inbox).where(among(inbox.c.seq, rows)),
        )


def values(taken: Taken, seal: Seal | None) -> tuple[object, ...]:
    """Write the row of *taken*, in the order of ``NAMES``; without *seal*, as done."""
    arrival = taken.arrival
    room = arrival.room
    raw = None if seal is None else seal.close(LABEL, arrival.raw)
    return (taken.seq, WORDS[room.network], arrival.key, room.address, raw)


def rooms_waiting(connection: Connection) -> Sequence[Room]:
    """List the rooms that have arrivals which are not done."""
    return [Room(Network(row[0]), row[1]) for row in connection.execute(_ROOMS)]


def waiting(
    connection: Connection, seal: Seal, rooms: Sequence[Room], after: int, limit: int
) -> Sequence[Taken]:
    """Read arrivals of *rooms* that are not done, in order of seq."""
    # A query for each room: one for all of them would sort the whole backlog.
    found = [_of_room(connection, seal, room, after, limit) for room in rooms]
    return list(heapq.merge(*found, key=attrgetter("seq")))[:limit]


def count(connection: Connection) -> int:
    """Count the arrivals that are not done."""
    return connection.execute(_COUNT).scalar_one()


def _of_room(
    connection: Connection, seal: Seal, room: Room, after: int, limit: int
) -> list[Taken]:
    asked = {
        "network": room.network.value,
        "room": room.address,
        "after": after,
        "limit": limit,
    }
    return [
        Taken(row.seq, Arrival(room, row.key, seal.open(LABEL, row.raw)))
        for row in connection.execute(_WAITING, asked)
    ]
