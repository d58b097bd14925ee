"""Real servers behind proxies, once per kind of XMPP server and of database."""

import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import Company, need
from tests.faults.world import PLACES, FaultyWorld, Ways, faulty_world

HERE = Path(__file__).parent


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out what cannot be, and by default every fault at one of the places."""
    everything = config.getoption("all_faults")
    left_out = []
    for item in items:
        if HERE not in item.path.parents or not isinstance(item, pytest.Function):
            continue
        if "world" in item.fixturenames:
            item.add_marker(pytest.mark.e2e)
        if not _belongs(item, everything=everything):
            left_out.append(item)
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def _belongs(item: pytest.Function, *, everything: bool) -> bool:
    if "world" not in item.fixturenames:
        return True
    place = str(item.callspec.params["world"])
    fault = item.callspec.params.get("fault")
    if fault is None:
        return everything or place in getattr(item.module, "USUAL", PLACES)
    only = getattr(item.module, "ONLY", {}).get(fault)
    if only is not None:
        return only in place
    turn = item.module.FAULTS.index(fault) % len(PLACES)
    return everything or PLACES.index(place) == turn


@pytest.fixture(scope="session", params=PLACES)
def world(request: pytest.FixtureRequest) -> Iterator[FaultyWorld]:
    """Servers from nothing; the bridge comes with ``ways``."""
    place: str = request.param
    need(place.partition("-")[0], asked=False)
    # Asked to end, we end what we have started, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with faulty_world(place) as made:
        yield made


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
