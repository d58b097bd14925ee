import asyncio
import logging

import pytest

from bridge.core.ports import StoreUnavailableError
from bridge.core.progress import BACKLOG_MIN, Progress


class Waiting:
    """What waits, and a clock."""

    def __init__(self, *, on_disk: int = 0, in_memory: int = 0) -> None:
        self.on_disk, self.in_memory = on_disk, in_memory
        self.now = 0.0
        self.broken = False
        self.counted = 0
        self.progress = Progress(self.count, lambda: self.in_memory, lambda: self.now)

    async def count(self) -> dict[str, int]:
        self.counted += 1
        if self.broken:
            raise StoreUnavailableError
        return {"waiting": self.on_disk, "pending": 0}

    async def after(self, seconds: float, on_disk: int) -> None:
        self.now += seconds
        self.on_disk = on_disk
        await self.progress.look()


async def test_a_backlog_is_told_with_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    here = Waiting(on_disk=1_000_000)

    await here.progress.look()
    await here.after(30, 970_000)
    await here.after(30, 973_000)
    await here.after(30, 10)
    await here.after(30, 10)

    assert [record.getMessage() for record in caplog.records] == [
        "1000000 messages wait",
        "970000 messages wait, 1000/s fewer, worked off in 0:16:10",
        "973000 messages wait, 100/s more than leave",
        "the backlog is worked off",
    ]


async def test_nobody_counts_while_little_waits() -> None:
    here = Waiting()
    for _ in range(10):
        await here.progress.look()

    assert here.counted == 1

    here.in_memory = BACKLOG_MIN
    await here.progress.look()
    assert here.counted == 2


async def test_a_disk_that_cannot_be_read_is_looked_at_again() -> None:
    here = Waiting(on_disk=BACKLOG_MIN)
    here.broken = True
    await here.progress.look()
    here.broken = False

    await here.progress.look()

    assert here.progress.waiting == BACKLOG_MIN


async def test_it_looks_until_it_is_cancelled() -> None:
    here = Waiting(on_disk=BACKLOG_MIN)

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(here.progress.run(every_s=0))
        while here.counted < 3:  # noqa: ASYNC110 - no event comes of a count
            await asyncio.sleep(0)
        running.cancel()

    assert here.counted >= 3
