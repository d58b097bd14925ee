import asyncio
from collections.abc import Sequence

from bridge.core.lanes import DEPTH_MAX, Lanes

Numbers = Lanes[str, int]


async def nothing(key: str, after: int) -> Sequence[int]:
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

    async def refill(key: str, after: int) -> Sequence[int]:
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

    async def refill(key: str, after: int) -> Sequence[int]:
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
