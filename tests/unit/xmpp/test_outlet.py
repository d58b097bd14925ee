import asyncio
from pathlib import Path

import pytest
from typing_extensions import override

from bridge.xmpp.outlet import Outlet
from bridge.xmpp.written import Written


class Pipe(asyncio.Transport):
    """A transport whose kernel takes only what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.left = 0
        self.closing = False

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    @override
    def get_write_buffer_size(self) -> int:
        return self.left

    @override
    def is_closing(self) -> bool:
        return self.closing


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path / "ring", "db", boot="1")


def marked(tmp_path: Path) -> frozenset[int]:
    return Written(tmp_path / "ring", "db", boot="1").earlier


async def test_a_turn_of_the_loop_is_one_write(written: Written) -> None:
    pipe = Pipe()
    outlet = Outlet(pipe, written)

    outlet.put(b"a")
    outlet.put(b"b")
    await asyncio.sleep(0)
    outlet.put(b"c")
    await asyncio.sleep(0)

    assert pipe.writes == [b"ab", b"c"]
    assert outlet.empty()


async def test_a_parcel_is_marked_when_the_kernel_has_it(
    written: Written, tmp_path: Path
) -> None:
    pipe = Pipe()
    outlet = Outlet(pipe, written)
    pipe.left = 2

    outlet.put(b"aa", [1])
    outlet.put(b"bb", [2])
    outlet.flush()
    outlet.put(b"cc", [3])
    outlet.flush()

    assert marked(tmp_path) == {1, 2}
    pipe.left = 0
    outlet.put(b"dd")
    outlet.flush()
    assert marked(tmp_path) == {1, 2}
    outlet._look_again()
    assert marked(tmp_path) == {1, 2, 3}
    outlet.close()


async def test_what_was_never_written_is_never_marked(
    written: Written, tmp_path: Path
) -> None:
    pipe = Pipe()
    outlet = Outlet(pipe, written)

    pipe.closing = True
    outlet.put(b"a", [1])
    outlet.flush()
    outlet.close()
    pipe.closing = False
    outlet.flush()

    assert pipe.writes == []
    assert marked(tmp_path) == set()


async def test_a_stream_that_dies_leaves_its_last_parcels_unmarked(
    written: Written, tmp_path: Path
) -> None:
    pipe = Pipe()
    outlet = Outlet(pipe, written)
    pipe.left = 1

    outlet.put(b"a", [1])
    outlet.flush()
    outlet.close()

    assert marked(tmp_path) == set()
    assert outlet.suspects() == [1]


async def test_only_what_was_written_lately_is_suspect(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    outlet = Outlet(Pipe(), written)
    monkeypatch.setattr("bridge.xmpp.outlet.SUSPECT_S", 0.0)

    outlet.put(b"a", [1])
    outlet.flush()
    outlet.put(b"b", [2])
    outlet.flush()

    assert 1 not in outlet.suspects()


async def test_a_writer_waits_while_the_transport_is_full(written: Written) -> None:
    outlet = Outlet(Pipe(), written)
    await outlet.drained()

    outlet.pause()
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(outlet.drained()) for _ in range(2)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        waiting[0].cancel()
        outlet.resume()


async def test_nobody_waits_for_a_lost_stream(written: Written) -> None:
    outlet = Outlet(Pipe(), written)

    outlet.pause()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(outlet.drained())
        await asyncio.sleep(0)
        outlet.close()


async def test_what_leaves_at_the_end_of_a_turn_is_marked_in_the_next(
    written: Written, tmp_path: Path
) -> None:
    pipe = Pipe()
    outlet = Outlet(pipe, written)
    pipe.left = 2

    outlet.put(b"aa", [1])
    outlet.flush()
    pipe.left = 0
    await asyncio.sleep(0)

    assert marked(tmp_path) == {1}
    outlet.close()


async def test_of_a_stream_that_is_lost_all_is_doubted_that_was_written(
    written: Written, tmp_path: Path
) -> None:
    pipe = Pipe()
    outlet = Outlet(pipe, written)
    pipe.left = 2
    outlet.put(b"aa", [1])
    outlet.put(b"bb", [2])
    outlet.flush()
    outlet.put(b"cc", [3])
    outlet.flush()
    outlet.put(b"dd", [4])

    outlet.doubt()

    assert [one in written.doubted for one in range(1, 5)] == [True, True, True, False]
    assert marked(tmp_path) == set()
    outlet.close()
