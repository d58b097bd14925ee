import asyncio
from typing import cast

import pytest

from bridge.core.ports import Unit
from bridge.matrix import late as late_
from bridge.matrix.feed import KeyFeed
from bridge.matrix.late import Late, Lates
from bridge.matrix.megolm.ports import News
from tests.fakes_store import FakeStore
from tests.unit.matrix.world import ALICE, BOT, HALL, MatrixWorld


def late(event: str, **more: object) -> Late:
    return Late(HALL, event, ALICE, "session", **more)  # type: ignore[arg-type]


async def test_what_waits_is_seen_to_until_nothing_does(matrix: MatrixWorld) -> None:
    lates = Lates(matrix.store, lambda _: BOT)
    await lates.start(matrix.host)
    feed = matrix.adapter._secrecy.feed
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(lates.run(feed))
        await asyncio.sleep(0)
        unit = Unit()
        lates.keep(late("$1", at=4e12), unit)
        lates.came(News(frozenset({(HALL, "session")})))
        await matrix.store.commit(unit)
        while not matrix.host.kept:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        running.cancel()

    assert [one.key for one in matrix.host.kept] == ["$1 late 1"]


async def test_keys_of_others_wake_nothing(matrix: MatrixWorld) -> None:
    lates = Lates(matrix.store, lambda _: BOT)
    await lates.start(matrix.host)
    lates.keep(late("$1", at=4e12), Unit())

    lates.came(News(frozenset({(HALL, "another")})))
    await lates._look(matrix.adapter._secrecy.feed)

    assert matrix.host.kept == []


async def test_the_notice_is_remembered_over_a_restart(matrix: MatrixWorld) -> None:
    store = FakeStore()
    lates = Lates(store, lambda _: BOT)
    await lates.start(matrix.host)
    lates.keep(late("$1", at=4e12, told=True), Unit())
    lates.said("late session", "$notice")
    lates.said("late another", "$other")
    await lates._look(matrix.adapter._secrecy.feed)

    again = Lates(store, lambda _: BOT)
    await again.start(matrix.host)

    assert again._late["$1"].notice == "$notice"


async def test_what_never_waited_is_not_told_of(matrix: MatrixWorld) -> None:
    unit = Unit()

    Lates(FakeStore(), lambda _: BOT).carried("$1", unit)

    assert unit == Unit()


class OddFeed:
    """Fails as nobody foresaw, each time it is asked."""

    asked = 0

    async def pull(self, user: str) -> None:
        self.asked += 1
        raise ValueError(user)


async def test_a_look_that_fails_oddly_is_not_the_last(
    matrix: MatrixWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_, "LOOK_S", 0.0)
    monkeypatch.setattr(late_, "PULL_S", (0.0,) * 9)
    lates, feed = Lates(matrix.store, lambda _: BOT), OddFeed()
    await lates.start(matrix.host)
    lates.keep(late("$1", at=4e12), Unit())

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(lates.run(cast("KeyFeed", feed)))
        while feed.asked < 2:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        running.cancel()
