import asyncio

import pytest

from bridge.core.ports import StoreUnavailableError, Unit
from bridge.matrix.client import HomeserverDownError, MatrixError
from bridge.matrix.ghosts import DEVICE, remember
from bridge.model.delivery import Delivered
from bridge.model.records import Ghost
from tests.fakes_store import FakeStore
from tests.homeserver import Fault
from tests.unit.matrix.world import GHOST, JULIET, MatrixWorld


async def test_a_ghost_is_registered_with_a_device_once(matrix: MatrixWorld) -> None:
    """facts F4: only for a device the homeserver knows a txnId beyond a restart."""
    known = matrix.adapter._ghosts

    async with asyncio.TaskGroup() as tasks:
        for _ in range(5):
            tasks.create_task(known.ensure(GHOST, JULIET.id, "Juliet"))

    assert (GHOST, DEVICE) in matrix.server.devices
    assert len(matrix.server.asked("register")) == 2  # the bot, and she
    assert matrix.server.profiles[GHOST] == {"displayname": "Juliet"}


async def test_a_restart_asks_nothing_again(matrix: MatrixWorld) -> None:
    await matrix.adapter._ghosts.ensure(GHOST, JULIET.id)
    matrix.server.requests.clear()

    await matrix.restarts()
    await matrix.adapter._ghosts.ensure(GHOST, JULIET.id)

    assert matrix.server.requests == []
    assert await matrix.adapter._ghosts.find(GHOST) == Ghost(GHOST, JULIET.id)


async def test_a_ghost_that_exists_already_is_no_error(matrix: MatrixWorld) -> None:
    matrix.server.users.add(GHOST)

    await matrix.adapter._ghosts.ensure(GHOST, JULIET.id)

    assert await matrix.adapter._ghosts.find(GHOST)


async def test_a_ghost_that_cannot_be_registered_is_tried_again(
    matrix: MatrixWorld,
) -> None:
    known = matrix.adapter._ghosts
    matrix.server.faults += [
        Fault("register", 400, {"errcode": "M_EXCLUSIVE"}),
        Fault("devices", 502, "bad gateway"),
    ]

    with pytest.raises(MatrixError):
        await known.ensure(GHOST)
    with pytest.raises(HomeserverDownError):
        await known.ensure(GHOST)
    await known.ensure(GHOST)

    assert (GHOST, DEVICE) in matrix.server.devices


async def test_where_nobody_of_ours_may_have_a_device_a_ghost_goes_without(
    matrix: MatrixWorld,
) -> None:
    """Homeservers without MSC4190: rooms that are not encrypted need none."""
    nowhere = {"errcode": "M_NOT_FOUND", "error": "Device not found"}
    matrix.server.faults.append(Fault("/devices/", 404, nowhere, times=100))
    matrix.room()

    (outcome,) = await matrix.says("hello", matrix.link())

    assert isinstance(outcome, Delivered)
    assert matrix.server.profiles[GHOST] == {"displayname": "Juliet"}


async def test_a_forgotten_ghost_is_registered_again(matrix: MatrixWorld) -> None:
    known = matrix.adapter._ghosts
    await known.ensure(GHOST)
    await known.forget(GHOST)
    await known.forget(GHOST)

    assert await known.find(GHOST) is None


async def test_records_are_written_however_long_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    store = Unwilling(3)

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("asyncio.sleep", pause)
    await remember(store, [Ghost(GHOST, JULIET.id)])

    assert len(pauses) == 3
    assert await store.find(Ghost, GHOST)


class Unwilling(FakeStore):
    """Cannot write, *times* times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def commit(self, unit: Unit) -> "asyncio.Future[frozenset[int]]":
        if not self.times:
            return super().commit(unit)
        self.times -= 1
        failed: asyncio.Future[frozenset[int]]
        failed = asyncio.get_running_loop().create_future()
        failed.set_exception(StoreUnavailableError())
        return failed
