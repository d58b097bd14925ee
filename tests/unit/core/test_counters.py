import asyncio
import logging

import pytest

from bridge.core.counters import Counters


def test_what_is_counted_is_told() -> None:
    counters = Counters()

    counters.add("refused", "REJECTED")
    counters.add("refused", "REJECTED")
    counters.add("rescued", by=3)

    assert counters.counts() == {"refused REJECTED": 2, "rescued": 3}


async def test_a_line_is_logged_only_when_something_has_changed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    counters = Counters()
    counters.add("poison")

    counters.tell()
    counters.tell()
    counters.add("dead", "REJECTED")
    counters.tell()

    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "since the start: poison 1",
        "since the start: dead REJECTED 1, poison 1",
    ]


async def test_it_tells_until_it_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    counters = Counters()
    counters.add("poison")

    async with asyncio.TaskGroup() as tasks:
        telling = tasks.create_task(counters.run(every_s=0.001))
        while not caplog.records:  # noqa: ASYNC110 - no event comes of a line
            await asyncio.sleep(0.001)
        telling.cancel()

    assert "poison 1" in caplog.text
