"""Databases that are locked, full or gone; the rows of the fault matrix are named."""

import asyncio
import resource
from collections.abc import Awaitable, Callable

import psycopg
import pytest

from tests import postgres
from tests.e2e.conftest import Company
from tests.faults.disks import fill
from tests.faults.proxy import Proxy
from tests.faults.town import open_town
from tests.faults.world import FaultyWorld, Locked, Ways

Fault = Callable[[FaultyWorld, Ways], Awaitable[None]]

WARM = 6
DURING = 8
PAUSES_S = (1.0, 2.0, 0.0)
LOCKED_S = 9.0
"""Longer than a database is waited for, and than XMPP is read without one."""
FILLED_S = 12.0
"""Longer than that, as what there is of free room is used up first."""

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"


async def locked(world: FaultyWorld, _: Ways) -> None:
    """Have somebody else lock the whole database (row 20)."""
    if world.database:
        await _lock_tables(world.database)
        return
    file = Locked(world.sqlite)
    file.hold()
    await asyncio.sleep(LOCKED_S)
    file.release()


async def _lock_tables(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url) as other:
        tables = await (await other.execute(TABLES)).fetchall()
        names = ", ".join(name for (name,) in tables)
        await other.execute(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE".encode())
        await asyncio.sleep(LOCKED_S)
        await other.rollback()


async def full(world: FaultyWorld, _: Ways) -> None:
    """Let the bridge write nothing more to any file, its log included (row 21)."""
    pid, (soft, hard) = world.bridge.pid, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    await asyncio.sleep(LOCKED_S)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


async def disk_full(world: FaultyWorld, _: Ways) -> None:
    """Fill the disk on which the database lies (row 21)."""
    if world.disk is None:
        pytest.skip("a small disk cannot be mounted here")
    filler = world.disk / "filler"
    await asyncio.to_thread(fill, filler)
    await asyncio.sleep(FILLED_S)
    filler.unlink()


async def restarted(world: FaultyWorld, _: Ways) -> None:
    """Restart PostgreSQL as after a failure, twice (row 22)."""
    assert world.cluster is not None
    for _round in range(2):
        await asyncio.to_thread(postgres.restart, world.cluster)
        await asyncio.sleep(2)


async def cut_off(_: FaultyWorld, ways: Ways) -> None:
    """Cut the way to PostgreSQL, also in the middle of what is said (row 22)."""
    assert isinstance(ways.database, Proxy)
    for after in (0, 100, 5000):
        if after:
            ways.database.back.cut_after = after
            await asyncio.sleep(1)
            ways.database.back.cut_after = None
        await ways.database.black_out(1)
        await asyncio.sleep(1)


FAULTS: list[Fault] = [locked, full, disk_full, restarted, cut_off]
ONLY: dict[Fault, str] = {
    full: "sqlite",
    restarted: "postgresql",
    cut_off: "postgresql",
}
SHUTS: list[Fault] = [locked, disk_full]
"""What lasts so long that nobody may write to us meanwhile."""

STAGES = (
    "cannot be kept now",
    "XMPP is closed until it can",
    "XMPP is opened",
)


@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_is_lost_doubled_or_out_of_order(
    world: FaultyWorld, ways: Ways, company: Company, word: str, fault: Fault
) -> None:
    town = await open_town(world, company, word)
    await town.speak(WARM)
    before = len(world.bridge_log())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_run(fault, world, ways))
        for pause_s in PAUSES_S:
            await town.speak(DURING)
            await asyncio.sleep(pause_s)
    # What cannot be kept is not read: the stream may have been closed meanwhile.
    town.stream_fell()
    await town.come_back()
    await town.speak(WARM)

    assert await town.wrong() == []
    if fault in SHUTS:
        log = world.bridge_log()[before:]
        assert [words for words in STAGES if words not in log] == []


async def _run(fault: Fault, world: FaultyWorld, ways: Ways) -> None:
    await fault(world, ways)
