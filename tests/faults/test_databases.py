"""Databases that are locked, full or gone; the rows of the fault matrix are named."""

import asyncio
import resource
import sqlite3
from collections.abc import Awaitable, Callable

import psycopg
import pytest

from tests import postgres
from tests.e2e.conftest import Company
from tests.faults.town import open_town
from tests.faults.world import FaultyWorld, Ways

Fault = Callable[[FaultyWorld], Awaitable[None]]

WARM = 6
DURING = 16
LOCKED_S = 9.0
"""Longer than SQLite waits for a lock, and than XMPP is read without a database."""

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"


async def locked(world: FaultyWorld) -> None:
    """Have somebody else lock the whole database (row 20)."""
    if world.database:
        await _lock_postgresql(world.database)
        return
    with sqlite3.connect(world.sqlite, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        await asyncio.sleep(LOCKED_S)
        other.execute("ROLLBACK")
    other.close()


async def _lock_postgresql(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url) as other:
        tables = await (await other.execute(TABLES)).fetchall()
        names = ", ".join(name for (name,) in tables)
        await other.execute(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE".encode())
        await asyncio.sleep(LOCKED_S)
        await other.rollback()


async def full(world: FaultyWorld) -> None:
    """Let the bridge write nothing more to any file (row 21)."""
    pid, (soft, hard) = world.bridge.pid, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    await asyncio.sleep(LOCKED_S)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


async def restarted(world: FaultyWorld) -> None:
    """Restart PostgreSQL as after a failure, twice (row 22)."""
    assert world.cluster is not None
    for _ in range(2):
        await asyncio.to_thread(postgres.restart, world.cluster)
        await asyncio.sleep(2)


FAULTS: list[Fault] = [locked, full, restarted]
ONLY: dict[Fault, str] = {full: "sqlite", restarted: "postgresql"}


@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_is_lost_doubled_or_out_of_order(
    world: FaultyWorld, ways: Ways, company: Company, word: str, fault: Fault
) -> None:
    assert ways.component.connections
    town = await open_town(world, company, word)
    await town.speak(WARM)
    await town.during(_run(fault, world), DURING)
    # What cannot be kept is not read: the stream may have been closed meanwhile.
    town.stream_fell()
    await town.come_back()
    await town.speak(WARM)

    assert await town.wrong() == []


async def _run(fault: Fault, world: FaultyWorld) -> None:
    await fault(world)
