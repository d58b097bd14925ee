import asyncio
import threading
from collections.abc import Sequence

import pytest

from bridge.core.ports import StoreUnavailableError, Unit
from bridge.store import writer as writing
from bridge.store.commits import Result
from bridge.store.writer import BURST, ENOUGH_ROWS, GROUP_MAX, PACE_S, Pace, Writer


class Slow:
    """Writes nothing, a group at a time, each when it is let."""

    def __init__(self) -> None:
        self.groups: list[Sequence[Unit]] = []
        self.noted: list[Unit] = []
        self.go = threading.Semaphore(0)
        self.busy = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def note(self, unit: Unit, _: frozenset[int]) -> None:
        self.noted.append(unit)

    def __call__(self, units: Sequence[Unit]) -> Sequence[Result]:
        self._loop.call_soon_threadsafe(self.busy.set)
        self.go.acquire()
        self.groups.append(units)
        return [ValueError("bad") if u.done == [-1] else frozenset() for u in units]


async def test_what_comes_during_a_commit_shares_the_next() -> None:
    slow = Slow()
    writer = Writer(slow, slow.note)
    first = writer.commit(Unit(done=[1]))
    await slow.busy.wait()
    others = [writer.commit(Unit(done=[n])) for n in range(2, 40)]
    slow.go.release(9)

    await asyncio.gather(first, *others)

    assert [len(group) for group in slow.groups] == [1, 38]
    await writer.close()


async def test_a_group_does_not_grow_for_ever() -> None:
    slow = Slow()
    writer = Writer(slow, slow.note)
    answers = [writer.commit(Unit(done=[0]))]
    await slow.busy.wait()
    for turn in range(12):
        answers += [writer.commit(Unit(done=[turn, n])) for n in range(100)]
        await asyncio.sleep(0)
    slow.go.release(9)

    await writer.close()

    assert [len(group) for group in slow.groups] == [1, GROUP_MAX, GROUP_MAX, 200]
    assert all(answer.result() == frozenset() for answer in answers)


async def test_only_what_was_written_is_noted() -> None:
    slow = Slow()
    slow.go.release(9)
    writer = Writer(slow, slow.note)
    good, bad = writer.commit(Unit(done=[1])), writer.commit(Unit(done=[-1]))

    assert await good == frozenset()
    with pytest.raises(ValueError, match="bad"):
        await bad
    assert slow.noted == [Unit(done=[1])]
    await writer.close()


async def test_who_no_longer_waits_spoils_nothing() -> None:
    slow = Slow()
    slow.go.release(9)
    writer = Writer(slow, slow.note)
    impatient, patient = writer.commit(Unit(done=[1])), writer.commit(Unit(done=[2]))

    impatient.cancel()

    assert await patient == frozenset()
    assert len(slow.noted) == 2
    await writer.close()


async def test_a_write_that_breaks_down_fails_its_group_only() -> None:
    def write(units: Sequence[Unit]) -> Sequence[Result]:
        if units[0].done == [-1]:
            raise RuntimeError("a fault of our own")
        return [frozenset()] * len(units)

    writer = Writer(write, lambda *_: None)

    with pytest.raises(StoreUnavailableError, match="RuntimeError"):
        await writer.commit(Unit(done=[-1]))
    assert await writer.commit(Unit(done=[1])) == frozenset()
    await writer.close()


async def test_a_closed_writer_takes_nothing_more() -> None:
    writer = Writer(lambda units: [frozenset()] * len(units), lambda *_: None)
    last = writer.commit(Unit(done=[1]))

    await writer.close()

    assert last.result() == frozenset()
    with pytest.raises(StoreUnavailableError, match="closed"):
        await writer.commit(Unit(done=[2]))


async def test_nothing_overtakes_what_could_not_be_written() -> None:
    """Whoever hands in one unit after another learns too late that the first failed."""
    slow = Slow()

    def write(units: Sequence[Unit]) -> Sequence[Result]:
        first = not slow.groups
        written = slow(units)
        return [StoreUnavailableError("away")] if first else written

    writer = Writer(write, slow.note)
    first = writer.commit(Unit(done=[1]))
    await slow.busy.wait()
    second = writer.commit(Unit(done=[2]))
    slow.go.release(9)
    failed = await asyncio.gather(first, second, return_exceptions=True)

    assert [type(one) for one in failed] == [StoreUnavailableError] * 2
    for number in (1, 2):
        assert await writer.commit(Unit(done=[number])) == frozenset()
    assert slow.noted == [Unit(done=[1]), Unit(done=[2])]
    await writer.close()


async def test_what_nobody_waits_for_goes_along_with_what_follows() -> None:
    slow = Slow()
    slow.go.release(9)
    writer = Writer(slow, slow.note)

    alone = writer.commit_along(Unit(done=[1]))
    await asyncio.sleep(0)
    await writer.commit(Unit(done=[2]))

    assert alone.done()
    assert slow.groups == [[Unit(done=[1]), Unit(done=[2])]]
    await writer.close()


async def test_what_nobody_waits_for_goes_alone_if_nothing_follows() -> None:
    slow = Slow()
    slow.go.release(9)
    writer = Writer(slow, slow.note)

    assert await writer.commit_along(Unit(done=[1])) == frozenset()
    await writer.close()


async def test_a_closing_writer_writes_what_nobody_waits_for() -> None:
    slow = Slow()
    slow.go.release(9)
    writer = Writer(slow, slow.note)
    alone = writer.commit_along(Unit(done=[1]))

    await writer.close()

    assert alone.result() == frozenset()


def test_a_quiet_store_commits_at_once() -> None:
    pace = Pace()

    assert [pace.wait_s(1) for _ in range(int(BURST))] == [0.0] * int(BURST)


def test_commits_without_a_rest_are_spaced_out() -> None:
    pace = Pace()
    waits = [pace.wait_s(1) for _ in range(50)]

    assert 0 < waits[-1] <= PACE_S


def test_what_holds_enough_waits_for_nothing_more() -> None:
    pace = Pace()
    for _ in range(50):
        pace.wait_s(1)

    assert pace.wait_s(ENOUGH_ROWS) == 0.0


async def test_what_holds_much_does_not_wait_behind_what_waits_for_company(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writing, "PACE_S", 60.0)
    slow = Slow()
    slow.go.release(99)
    writer = Writer(slow, slow.note)
    for number in range(int(BURST)):
        await writer.commit(Unit(done=[number]))

    alone = writer.commit(Unit(done=[7]))
    await asyncio.sleep(0)
    many = [writer.commit(Unit(done=[n])) for n in range(10, 10 + ENOUGH_ROWS)]
    async with asyncio.timeout(10):
        await asyncio.gather(alone, *many)

    assert len(slow.groups[-1]) == 1 + ENOUGH_ROWS
    await writer.close()
