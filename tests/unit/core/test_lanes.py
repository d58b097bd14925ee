import asyncio
from collections.abc import Sequence

import pytest

from bridge.core import lanes as lanes_module
from bridge.core.lanes import BATCH_MAX, DEPTH_MAX, FETCH_MAX, SHARE_MIN, Lanes

Numbers = Lanes[str, int]


async def nothing(key: str, after: int, limit: int) -> Sequence[int]:
    return ()


def lanes_of(tasks: asyncio.TaskGroup, done: list[int], gate: asyncio.Event) -> Numbers:
    async def work(key: str, items: Sequence[int]) -> int:
        if key == "slow":
            await gate.wait()
        done.extend(items)
        return len(items)

    return Lanes(tasks, work=work, refill=nothing, order=lambda item: item)


async def test_the_items_of_one_key_are_worked_off_in_turn() -> None:
    done: list[int] = []
    gate = asyncio.Event()
    gate.set()

    async with asyncio.TaskGroup() as tasks:
        lanes = lanes_of(tasks, done, gate)
        for number in range(1, 300):
            lanes.put("room", number)

    assert done == list(range(1, 300))


async def test_one_conversation_does_not_wait_for_another() -> None:
    done: list[int] = []
    gate = asyncio.Event()

    async with asyncio.TaskGroup() as tasks:
        lanes = lanes_of(tasks, done, gate)
        lanes.put("slow", 1)
        lanes.put("quick", 2)
        for _ in range(10):
            await asyncio.sleep(0)
        gate.set()

    assert done == [2, 1]


async def test_what_a_full_lane_leaves_on_disk_is_read_again_in_order() -> None:
    disk: list[int] = []
    done: list[int] = []
    gate = asyncio.Event()

    async def work(key: str, items: Sequence[int]) -> int:
        await gate.wait()
        done.extend(items)
        return len(items)

    async def refill(key: str, after: int, limit: int) -> Sequence[int]:
        await asyncio.sleep(0)
        return [item for item in disk if item > after][:500]

    async with asyncio.TaskGroup() as tasks:
        lanes: Numbers = Lanes(tasks, work=work, refill=refill, order=lambda n: n)
        for number in range(1, DEPTH_MAX + 1500):
            disk.append(number)
            lanes.put("room", number)
        gate.set()
        for number in range(DEPTH_MAX + 1500, DEPTH_MAX + 1600):
            await asyncio.sleep(0)
            disk.append(number)
            lanes.put("room", number)

    assert done == disk


async def test_what_lay_on_disk_is_worked_off_after_a_restart() -> None:
    disk = [3, 5, 8]
    done: list[int] = []

    async def work(key: str, items: Sequence[int]) -> int:
        done.extend(items)
        return len(items)

    async def refill(key: str, after: int, limit: int) -> Sequence[int]:
        return [item for item in disk if item > after]

    async with asyncio.TaskGroup() as tasks:
        lanes: Numbers = Lanes(tasks, work=work, refill=refill, order=lambda n: n)
        lanes.wake("room")
        await lanes.wait_empty()

    assert done == disk


async def test_what_is_not_through_stays_first() -> None:
    tries: list[Sequence[int]] = []

    async def work(key: str, items: Sequence[int]) -> int:
        tries.append(tuple(items))
        return 0 if len(tries) == 1 else 1

    async with asyncio.TaskGroup() as tasks:
        lanes: Numbers = Lanes(tasks, work=work, refill=nothing, order=lambda n: n)
        lanes.put("room", 1)
        lanes.put("room", 2)

    assert tries == [(1, 2), (1, 2), (2,)]


async def test_a_step_that_fails_does_not_stop_its_lane() -> None:
    done: list[int] = []

    async def work(key: str, items: Sequence[int]) -> int:
        if items[0] == 1:
            raise ValueError("poison")
        done.extend(items)
        return len(items)

    async with asyncio.TaskGroup() as tasks:
        lanes: Numbers = Lanes(tasks, work=work, refill=nothing, order=lambda n: n)
        lanes.put("room", 1)
        lanes.put("room", 2)

    assert done == [2]


async def test_a_lane_exists_only_while_it_has_work() -> None:
    done: list[int] = []
    gate = asyncio.Event()

    async with asyncio.TaskGroup() as tasks:
        lanes = lanes_of(tasks, done, gate)
        lanes.put("slow", 1)
        assert lanes.busy("slow")
        assert lanes.depth() == 1
        gate.set()
        await lanes.wait_empty()
        assert not lanes.busy("slow")


async def test_a_closed_lane_begins_nothing_more() -> None:
    done: list[int] = []
    gate = asyncio.Event()
    gate.set()

    async with asyncio.TaskGroup() as tasks:
        lanes = lanes_of(tasks, done, gate)
        lanes.close()
        lanes.put("room", 1)

    assert done == []


async def test_what_comes_when_all_has_ended_stays_on_disk() -> None:
    done: list[int] = []
    async with asyncio.TaskGroup() as tasks:
        lanes = lanes_of(tasks, done, asyncio.Event())
        lanes.close()

    lanes.put("room", 1)
    lanes.wake("room")

    assert done == []
    assert not lanes.busy("room")


class Disk:
    """Numbers on disk, and what was worked off."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)
        self.done: list[int] = []

    async def work(self, key: str, items: Sequence[int]) -> int:
        await asyncio.sleep(0)
        self.done.extend(items)
        return len(items)

    async def refill(self, key: str, after: int, limit: int) -> Sequence[int]:
        return [number for number in self.numbers if number > after]

    def lanes(self, tasks: asyncio.TaskGroup, *, held: bool = False) -> Numbers:
        return Lanes(
            tasks, work=self.work, refill=self.refill, order=lambda n: n, held=held
        )


async def test_what_comes_before_the_beginning_queues_behind_what_lay_on_disk() -> None:
    disk = Disk(3, 5, 9)

    async with asyncio.TaskGroup() as tasks:
        lanes = disk.lanes(tasks, held=True)
        lanes.put("room", 9)
        await asyncio.sleep(0)
        assert disk.done == []
        lanes.wake("room")
        lanes.begin()

    assert disk.done == [3, 5, 9]


async def test_what_is_closed_before_the_beginning_ends() -> None:
    disk = Disk(3)

    async with asyncio.TaskGroup() as tasks:
        lanes = disk.lanes(tasks, held=True)
        lanes.put("room", 3)
        lanes.close()

    assert disk.done == []


async def test_what_comes_out_of_turn_is_not_left_behind() -> None:
    """Whoever took a number may take their time until they use it."""
    disk = Disk(3, 7)

    async with asyncio.TaskGroup() as tasks:
        lanes = disk.lanes(tasks)
        lanes.wake("room")
        await asyncio.sleep(0)
        disk.numbers.append(5)
        lanes.put("room", 5)

    assert disk.done == [3, 7, 5]


async def test_what_comes_out_of_turn_has_nothing_read_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lanes_module, "DEPTH_MAX", 2)
    disk = Disk(3, 7, 8)

    async with asyncio.TaskGroup() as tasks:
        lanes = disk.lanes(tasks)
        for number in (7, 3, 8):
            lanes.put("room", number)

    assert disk.done == [7, 3, 8]


async def test_what_is_committed_out_of_turn_while_a_lane_reads_on_is_not_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A commit that failed is tried again when later numbers are on disk already."""
    monkeypatch.setattr(lanes_module, "DEPTH_MAX", 1)
    done: list[int] = []
    pages = [[4], []]

    async with asyncio.TaskGroup() as tasks:

        async def work(_: str, items: Sequence[int]) -> int:
            done.extend(items)
            return len(items)

        async def refill(key: str, after: int, limit: int) -> Sequence[int]:
            page = pages.pop(0)
            if page:
                lanes.put(key, 3)  # it was not there yet when the page was read
                lanes.put(key, 4)
            return page

        lanes = Lanes(tasks, work=work, refill=refill, order=lambda item: item)
        lanes.put("room", 1)
        lanes.put("room", 2)
        lanes.wake("room")

    assert sorted(done) == [1, 3, 4]


async def test_what_was_read_before_its_commit_was_told_is_done_once() -> None:
    disk = Disk(3, 5)

    async with asyncio.TaskGroup() as tasks:
        lanes = disk.lanes(tasks)
        lanes.wake("room")
        await asyncio.sleep(0)
        lanes.put("room", 3)
        lanes.put("room", 5)
        disk.numbers.clear()

    assert disk.done == [3, 5]


class Backlog:
    """Lanes over a disk, with what is measured while they are worked off."""

    def __init__(self, tasks: asyncio.TaskGroup, *sizes: int) -> None:
        self.disk = {
            f"room {room}": list(range(1, size + 1)) for room, size in enumerate(sizes)
        }
        self.done: dict[str, list[int]] = {key: [] for key in self.disk}
        self.depth_max = 0
        self.lanes: Numbers = Lanes(
            tasks, work=self.work, refill=self.refill, order=lambda n: n, held=True
        )
        for key in self.disk:
            self.lanes.wake(key)

    async def work(self, key: str, items: Sequence[int]) -> int:
        self.depth_max = max(self.depth_max, self.lanes.depth())
        await asyncio.sleep(0)
        self.done[key].extend(items)
        return len(items)

    async def refill(self, key: str, after: int, limit: int) -> Sequence[int]:
        await asyncio.sleep(0)
        return self.disk[key][after : after + limit]


async def test_a_backlog_of_any_size_needs_little_memory() -> None:
    """Row 36; ``python -m tests.bench.backlog`` takes a million."""
    async with asyncio.TaskGroup() as tasks:
        backlog = Backlog(tasks, 100_000)
        backlog.lanes.begin()

    assert backlog.done == backlog.disk
    assert backlog.depth_max <= FETCH_MAX
    assert backlog.lanes.depth() == 0


async def test_many_lanes_share_the_memory_of_one() -> None:
    async with asyncio.TaskGroup() as tasks:
        backlog = Backlog(tasks, *([30] * 4000))
        backlog.lanes.begin()

    assert backlog.done == backlog.disk
    assert backlog.depth_max <= 4000 * SHARE_MIN


async def test_lanes_that_together_hold_much_leave_the_rest_on_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.core.lanes.TOTAL_MAX", 100)
    async with asyncio.TaskGroup() as tasks:
        backlog = Backlog(tasks, 0, 0)
        backlog.lanes.begin()
        await backlog.lanes.wait_empty()
        for number in range(1, 301):
            for key in backlog.disk:
                backlog.disk[key].append(number)
                backlog.lanes.put(key, number)

        assert backlog.lanes.depth() == 100

    assert backlog.done == backlog.disk


async def test_a_hot_room_starves_nobody() -> None:
    async with asyncio.TaskGroup() as tasks:
        backlog = Backlog(tasks, 100_000, 64)
        backlog.lanes.begin()
        while not backlog.done["room 1"]:  # noqa: ASYNC110 - turns are counted here
            await asyncio.sleep(0)
        ahead = len(backlog.done["room 0"])

    assert ahead <= 3 * BATCH_MAX
