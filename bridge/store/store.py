"""Remembers everything in one database; see the port ``Store``."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import TypeVar, cast

from sqlalchemy import Connection

from bridge.core.ports import NEWEST, StoreUnavailableError, Unit
from bridge.model.delivery import Parcel, Taken
from bridge.model.places import Network, Room
from bridge.model.records import Alias, DeadLetter, Record, Secret
from bridge.store import inbox, letters, outbox
from bridge.store.commits import Commits
from bridge.store.database import Database, epoch
from bridge.store.engine import file_of, parse
from bridge.store.errors import SupersededError
from bridge.store.fence import Fence
from bridge.store.paging import read_sure
from bridge.store.reader import Reader
from bridge.store.recent import Recent
from bridge.store.records import shelf
from bridge.store.seal import Seal
from bridge.store.space import Floor, Space, spare_bytes
from bridge.store.writer import Answer, Writer

R = TypeVar("R", bound=Record)
T = TypeVar("T")

FLOOR = Floor()


class SqlStore:
    """The port ``Store`` on SQLite or PostgreSQL."""

    def __init__(
        self, database: Database, reader: Reader, seal: Seal, space: Space
    ) -> None:
        """Use ``open``; *database* is open already."""
        self._space = space
        self._database = database
        self._reader = reader
        self._seal = seal
        self._recent = Recent()
        self._fence = Fence(database.epoch, lambda: reader.read(epoch))
        self._commits = commits = Commits(database, seal, self._fence.fall)
        self._writer = Writer(commits.write, self._note)
        self.number = commits.numbers.take
        self.skip = commits.numbers.skip
        self._unsure = commits.unsure

    @classmethod
    async def open(cls, url: str, key: bytes, floor: Floor = FLOOR) -> "SqlStore":
        """Open the database at *url*, sealed with *key*, and make it if need be.

        When less than *floor* is free on its disk, it takes no more arrivals.
        Raises ``StoreError`` if it cannot be used until somebody sees to it, and
        ``StoreUnavailableError`` if it cannot be reached.
        """
        where, seal = parse(url), Seal(key)
        database = Database(where, seal)
        await asyncio.to_thread(database.open)
        file = file_of(where)
        space = Space(file and file.resolve(), floor, spare=spare_bytes)
        return cls(database, Reader(where), seal, space)

    def _note(self, unit: Unit, known: frozenset[int]) -> None:
        if not (known and unit.is_void(known)):
            self._recent.note(unit)
        self._commits.told(unit)

    async def make_headroom(self) -> None:
        """Get ready for many commits, before the first."""
        await asyncio.to_thread(self._database.make_headroom)

    async def close(self) -> None:
        """Commit what was handed in, and let go of the database."""
        await self._writer.close()
        await self._reader.close()
        await asyncio.to_thread(self._database.close)

    async def superseded(self) -> None:
        """Wait until another bridge has begun to use the database."""
        await self._fence.fallen()

    def commit(self, unit: Unit) -> Answer:
        """Make *unit* durable; see ``Store``."""
        if _is_empty(unit):
            answer: Answer = asyncio.get_running_loop().create_future()
            answer.set_result(frozenset())
            return answer
        if unit.take and self._space.low():
            full: Answer = asyncio.get_running_loop().create_future()
            full.set_exception(StoreUnavailableError("the disk is nearly full"))
            return full
        if unit.late:
            late = (record for make in unit.late for record in make())
            unit = replace(unit, put=[*unit.put, *late])
        if _only_sent(unit):
            # If that is lost in a crash, the same bytes are sent once more.
            return self._writer.commit_along(unit)
        return self._writer.commit(unit)

    async def load(self, kind: type[R]) -> Sequence[R]:
        """Read all records of a kind."""
        return await self._reader.read(lambda c: shelf(kind).load(c, self._seal))

    async def find(self, kind: type[R], *key: object) -> R | None:
        """Read the record of that key."""
        if kind is Alias and (alias := self._recent.find(key)):
            return cast("R", alias)
        return await self._reader.read(lambda c: shelf(kind).find(c, self._seal, key))

    async def secrets(self, owner: str) -> Sequence[Secret]:
        """Read all secrets of *owner*."""
        return await self._reader.read(
            lambda c: shelf(Secret).under(c, self._seal, owner)
        )

    async def rooms_waiting(self) -> Sequence[Room]:
        """List the rooms that have arrivals which are not done."""
        return await self._reader.read(inbox.rooms_waiting)

    async def waiting(
        self, rooms: Sequence[Room], after: int, limit: int
    ) -> Sequence[Taken]:
        """Read arrivals of *rooms* that are not done, in order of seq."""

        def page(last: int) -> Awaitable[Sequence[Taken]]:
            return self._read_ours(
                lambda c: inbox.waiting(c, self._seal, rooms, last, limit)
            )

        return await read_sure(page, after, attrgetter("seq"), self._unsure)

    async def lanes_pending(self) -> Sequence[tuple[Network, str]]:
        """List the lanes that have parcels which are not sent."""
        return await self._reader.read(outbox.lanes_pending)

    async def pending(
        self, network: Network, lane: str, after: int, limit: int
    ) -> Sequence[Parcel]:
        """Read the parcels of a lane that are not sent, in order of id."""

        def page(last: int) -> Awaitable[Sequence[Parcel]]:
            return self._read_ours(
                lambda c: outbox.pending(c, self._seal, (network, lane), last, limit)
            )

        return await read_sure(page, after, attrgetter("id"), self._unsure)

    async def archive(
        self, network: Network, lane: str, limit: int, before: int = NEWEST
    ) -> Sequence[Parcel]:
        """Read the newest *limit* archived parcels of a lane, oldest first.

        Of those before the id *before*, if it is given.
        """
        return await self._reader.read(
            lambda c: outbox.archive(c, self._seal, (network, lane), limit, before)
        )

    async def kept(
        self, network: Network, lane: str, ids: Sequence[int]
    ) -> Sequence[Parcel]:
        """Read the archived parcels of a lane that have those *ids*, in order of id."""
        return await self._reader.read(
            lambda c: outbox.kept(c, self._seal, (network, lane), ids)
        )

    async def letters(self, lane: str, after: int, limit: int) -> Sequence[DeadLetter]:
        """Read the dead letters of a lane, of all lanes if it is empty, by id."""
        return await self._reader.read(
            lambda c: letters.page(c, self._seal, lane, after, limit)
        )

    async def _read_ours(self, query: Callable[[Connection], T]) -> T:
        """Read what is to be done, unless another bridge does it by now."""

        def read(connection: Connection) -> T:
            if epoch(connection) != self._database.epoch:
                self._fence.fall()
                raise StoreUnavailableError(str(SupersededError()))
            return query(connection)

        return await self._reader.read(read)

    async def counts(self) -> dict[str, int]:
        """Count what waits on either way."""
        return await self._reader.read(
            lambda c: {"waiting": inbox.count(c), "pending": outbox.count(c)}
        )


def _is_empty(unit: Unit) -> bool:
    return not (
        unit.take
        or unit.done
        or unit.parcels
        or unit.sent
        or unit.put
        or unit.drop
        or unit.final
        or unit.late
    )


def _only_sent(unit: Unit) -> bool:
    return not (
        unit.take or unit.done or unit.parcels or unit.put or unit.drop or unit.final
    )
