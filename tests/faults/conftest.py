"""Real servers behind proxies, once per kind of XMPP server and of database."""

import secrets
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

from deploy.lab.world import place_for
from tests import postgres
from tests.e2e.conftest import Company, need
from tests.faults.world import FaultyWorld, Ways

HERE = Path(__file__).parent
PLACES = ("prosody-sqlite", "ejabberd-postgresql")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and "world" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session", params=PLACES)
def world(request: pytest.FixtureRequest) -> Iterator[FaultyWorld]:
    """Servers from nothing; the bridge comes with ``ways``."""
    place: str = request.param
    kind, _, database = place.partition("-")
    need(kind, asked=False)
    # Asked to end, we end what we have started, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as ends:
        folder = ends.enter_context(place_for(f"faults-{place}"))
        url = ""
        if database == "postgresql":
            url = postgres.database(
                ends.enter_context(postgres.cluster(fsync=True)), "faults"
            )
        world = FaultyWorld(kind, Path(sys.executable), folder, url)
        try:
            world.start()
            yield world
        finally:
            world.stop()


@pytest.fixture
async def ways(world: FaultyWorld) -> AsyncIterator[Ways]:
    """The bridge runs, and all its ways lead through proxies."""
    async with world.bridged() as made:
        yield made


@pytest.fixture
async def company(world: FaultyWorld, ways: Ways) -> AsyncIterator[Company]:
    """Whoever a test brings in goes home at its end."""
    assert ways.component.connections
    async with AsyncExitStack() as ends:
        yield Company(world, ends)


@pytest.fixture
def word() -> str:
    """A word for addresses that no other test uses."""
    return f"r{secrets.token_hex(4)}"
