import asyncio
import logging
from collections.abc import Callable

import pytest

from bridge.matrix.feed import KeyFeed
from bridge.matrix.megolm.machine import Machine
from bridge.matrix.megolm.ports import News, SealedRoom
from bridge.matrix.megolm.server import HomeserverKeys
from bridge.model.records import Cursor
from tests.homeserver import Fault
from tests.unit.matrix.megolm.party import Party, is_ours
from tests.unit.matrix.world import ALICE, BOT, GHOST, HALL, MatrixWorld


class World:
    """A machine of the bot's and of a ghost's, and Alice, who sends them keys."""

    def __init__(self, matrix: MatrixWorld) -> None:
        matrix.server.users |= {BOT, GHOST}
        self.server = matrix.server
        self.store = matrix.store
        self.matrix = matrix
        self.told: list[News] = []
        self.machine = self._machine()
        self.feed = self._feed()

    def _machine(self) -> Machine:
        keys = HomeserverKeys(self.matrix.homeserver, BOT)
        return Machine(keys, self.store, is_ours)

    def _feed(self) -> KeyFeed:
        return KeyFeed(
            self.matrix.homeserver, self.store, self.machine, BOT, self.told.append
        )

    async def start(self) -> "World":
        self.alice = await Party(self.server.keys).start()
        await self.alice.joins(ALICE)
        await self.machine.start()
        return self

    async def says(self, *to: str) -> str:
        """Let Alice encrypt something for *to*; return its session."""
        room = SealedRoom(HALL, frozenset(to))
        event = await self.alice.says(ALICE, room, "hi")
        return str(event["content"]["session_id"])


async def until(there: Callable[[], bool]) -> None:
    """Let others work until it is so."""
    while not there():  # noqa: ASYNC110 - what is waited for tells nobody
        await asyncio.sleep(0)


@pytest.fixture
async def world(matrix: MatrixWorld) -> World:
    return await World(matrix).start()


async def test_the_bot_hears_of_keys_as_they_come(world: World) -> None:
    """Row 12: whatever becomes of the transactions."""
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(world.feed.run())
        await until(lambda: world.feed.connected)
        session = await world.says(BOT)
        await world.machine.key(HALL, session)
        await until(lambda: bool(world.told))
        running.cancel()

    assert world.told == [News(frozenset({(HALL, session)}))]


async def test_a_ghost_is_asked_for_when_somebody_wants_it(world: World) -> None:
    await world.feed.pull(GHOST)
    session = await world.says(GHOST)

    await world.feed.pull(GHOST)

    assert world.told == [News(frozenset({(HALL, session)}))]


async def test_how_far_was_read_is_written_with_what_was_read(world: World) -> None:
    await world.feed.pull(GHOST)
    session = await world.says(GHOST)
    world.store.broken = True

    await world.feed.pull(GHOST)

    assert world.told == []
    world.store.broken = False
    world.feed = world._feed()
    await world.feed.pull(GHOST)
    assert world.told == [News(frozenset({(HALL, session)}))]
    cursors = await world.store.load(Cursor)
    assert [one.kind for one in cursors] == ["keys"]


async def test_what_an_earlier_run_was_told_of_devices_is_asked_again(
    world: World,
) -> None:
    """It may have fallen before it wrote that down, and nobody says it again."""
    await world.feed._turn(BOT, 0.0)
    await world.machine._devices.of([ALICE])
    world.machine = world._machine()
    world.feed = world._feed()
    await world.machine._devices.of([ALICE])
    asked = world.server.keys.asked["query_keys"]

    for _ in "12":
        await world.feed._turn(BOT, 0.0)
        await world.machine._devices.of([ALICE])

    assert world.server.keys.asked["query_keys"] == asked + 1


async def test_a_position_that_is_too_old_begins_anew(world: World) -> None:
    """Row 13."""
    await world.feed.pull(GHOST)
    session = await world.says(GHOST)
    world.server.expired = True
    await world.feed.pull(GHOST)

    assert world.told == [News(frozenset({(HALL, session)}))]


async def test_a_device_that_was_removed_is_replaced(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 13."""
    await world.feed.pull(GHOST)
    (device,) = world.server.keys.device_keys[GHOST]
    await world.server.keys.delete_device(GHOST, device)
    world.server.lost.add(device)

    with caplog.at_level(logging.ERROR):
        await world.feed.pull(GHOST)

    (new,) = world.server.keys.device_keys[GHOST]
    assert new != device
    assert "has lost its device" in caplog.text


async def test_a_homeserver_that_is_away_is_asked_again(
    world: World,
) -> None:
    world.server.faults.append(Fault("simplified", 502, "bad gateway"))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(world.feed.run())
        await until(lambda: bool(world.server.asked("simplified")))
        await world.feed.pull(BOT)  # somebody cannot wait
        await until(lambda: world.feed.connected)
        running.cancel()

    assert len(world.server.asked("simplified")) >= 2


async def test_an_objection_that_nothing_mends_is_not_repeated(world: World) -> None:
    await world.feed.pull(GHOST)
    error = {"errcode": "M_FORBIDDEN"}
    world.server.faults.append(Fault("simplified", 403, error, times=9))

    await world.feed.pull(GHOST)

    assert len(world.server.asked("simplified")) == 2


async def test_a_homeserver_that_never_brings_keys_is_complained_of_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    error = {"errcode": "M_FORBIDDEN", "error": "no devices"}
    world.server.faults.append(Fault("devices/", 403, error, times=9))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(world.feed.run())
        for number in range(1, 4):
            await until(lambda n=number: len(world.server.asked("devices/X")) >= n)  # type: ignore[misc]
            await world.feed.pull(BOT)
        running.cancel()

    warned = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert len([one for one in warned if "keys cannot be" in one.message]) == 1


async def test_a_homeserver_that_never_waits_does_not_keep_us_busy(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.matrix.feed.TURN_S_MIN", 3600.0)
    monkeypatch.setattr("bridge.matrix.feed.WAIT_S", 0.0)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(world.feed.run())
        await until(lambda: world.feed.connected)
        for _ in range(1000):
            await asyncio.sleep(0)
        before = world.feed.pulls
        await world.feed.pull(BOT)
        await until(lambda: world.feed.pulls > before)
        running.cancel()

    assert before == 1
