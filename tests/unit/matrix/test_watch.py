import asyncio
from collections.abc import AsyncIterator

import pytest

from bridge.core.ports import StoreUnavailableError
from bridge.matrix.client import Homeserver, HomeserverDownError
from bridge.matrix.watch import Watch, ping
from tests.homeserver import AS_TOKEN, FakeHomeserver, Fault


class Looked(Homeserver):
    """Tells what was found whenever somebody looked."""

    def __init__(self, url: str) -> None:
        super().__init__(url, AS_TOKEN, "hs")
        self.looks: asyncio.Queue[bool] = asyncio.Queue()

    async def alive(self) -> bool:
        found = await super().alive()
        self.looks.put_nowait(found)
        return found


class Tower:
    """A watch over a fake homeserver, and what it reported."""

    def __init__(self) -> None:
        self.fake = FakeHomeserver()
        self.returns: asyncio.Queue[int] = asyncio.Queue()
        self.failures: list[Exception] = []

    async def start(self, *, every_s: float = 0.01) -> None:
        await self.fake.start()
        self.homeserver = Looked(self.fake.url)
        self.watch = Watch(self.homeserver, "xmpp", self.on_return, every_s)

    async def on_return(self) -> None:
        if self.failures:
            raise self.failures.pop()
        self.returns.put_nowait(self.fake.pings)

    async def goes_down(self) -> None:
        await self.fake.stop()
        while await self.homeserver.looks.get():
            continue


@pytest.fixture
async def tower() -> AsyncIterator[Tower]:
    tower = Tower()
    await tower.start()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(tower.watch.run())
        yield tower
        watching.cancel()
    await tower.homeserver.close()
    await tower.fake.stop()


async def test_the_start_is_a_return(tower: Tower) -> None:
    """Pinged first: what waits at the homeserver then comes at once."""
    assert await tower.returns.get() == 1
    assert tower.watch.up


async def test_a_homeserver_that_comes_back_is_asked_what_was_missed(
    tower: Tower,
) -> None:
    await tower.returns.get()

    await tower.goes_down()
    await tower.fake.start()
    await tower.watch.wait_up()

    assert await tower.returns.get() == 2


async def test_a_lost_connection_is_looked_into_at_once() -> None:
    tower = Tower()
    await tower.start(every_s=3600)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(tower.watch.run())
        await tower.returns.get()
        await tower.goes_down()
        watching.cancel()

    assert not tower.watch.up
    await tower.homeserver.close()


async def test_a_connection_that_only_closed_is_no_return(tower: Tower) -> None:
    await tower.returns.get()
    fault = Fault("versions")
    tower.fake.faults.append(fault)

    while fault.times:
        await tower.homeserver.looks.get()
    looks = [await tower.homeserver.looks.get() for _ in range(2)]

    assert looks == [True, True]
    assert tower.returns.empty()


async def test_a_ping_that_is_not_known_is_no_obstacle(tower: Tower) -> None:
    tower.fake.ping_known = False

    assert await tower.returns.get() == 0


@pytest.mark.parametrize(
    "failure", [HomeserverDownError("gone again"), StoreUnavailableError()]
)
async def test_what_could_not_be_fetched_is_fetched_later(
    tower: Tower, failure: Exception
) -> None:
    tower.failures.append(failure)

    assert await tower.returns.get() == 1
    assert tower.failures == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("ping", 200, {}), None),
        (Fault("ping", 404, "<html>"), None),
        (Fault("ping", 405, {"errcode": "M_UNRECOGNIZED"}), None),
        (Fault("ping", 403, {"errcode": "M_FORBIDDEN"}), "refuses the ping"),
        (Fault("ping", 502, {"errcode": "M_CONNECTION_FAILED"}), "cannot reach us"),
        (Fault("ping", 502, "<html>"), ""),
    ],
)
async def test_a_ping_tells_whether_we_can_be_reached(
    fault: Fault, words: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """*words* are None if we can, else what the operator is told."""
    fake = FakeHomeserver()
    await fake.start()
    homeserver = Homeserver(fake.url, AS_TOKEN, "hs")
    fake.faults.append(fault)

    reached = await ping(homeserver, "xmpp")
    await homeserver.close()
    await fake.stop()

    errors = [r.message for r in caplog.records if r.levelname == "ERROR"]
    assert reached is (words is None)
    assert [words for error in errors if words and words in error] == (
        [words] if words else []
    )
