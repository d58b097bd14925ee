"""Real servers behind proxies, once per kind of XMPP server and of database."""

import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import FunctionType
from typing import cast

import pytest

from tests.e2e.conftest import Company, need
from tests.faults import book
from tests.faults.world import PLACES, FaultyWorld, Ways, faulty_world

HERE = Path(__file__).parent
LEDGER = "ledger"
OUTCOMES: dict[str, str] = {}
ENTRIES: list[book.Entry] = []


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


@pytest.fixture(autouse=True)
def _booked(request: pytest.FixtureRequest) -> Iterator[None]:
    """Take what is compared in a test of a fault into the ledger."""
    book.OPEN.clear()
    yield
    if "world" in request.fixturenames:
        entry = book.Entry.of(_fault(request.node), book.OPEN)
        request.node.user_properties.append((LEDGER, entry.write()))


def _fault(item: pytest.Function) -> tuple[str, str, str]:
    """Tell which rows it is about, what it is called, and where it is tried."""
    fault = cast("FunctionType", item.callspec.params.get("fault", item.function))
    name = fault.__name__.removeprefix("test_").replace("_", " ")
    about = ", ".join(map(str, book.rows(fault.__doc__ or "")))
    return about, name, str(item.callspec.params["world"])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Read what the test has entered, here or in another process."""
    if report.when == "call" or report.outcome != "passed":
        OUTCOMES[report.nodeid] = report.outcome
    if report.when == "teardown":
        ENTRIES.extend(
            book.Entry(**{**entry, "result": OUTCOMES.get(report.nodeid, "skipped")})
            for name, entry in report.user_properties
            if name == LEDGER and isinstance(entry, dict)
        )


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Show the ledger, and keep it."""
    if ENTRIES and config.getoption("all_faults"):
        ledger = book.table(ENTRIES)
        file = Path(config.getoption("faults_ledger"))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(ledger, encoding="utf-8")
        terminalreporter.section(f"ledger of faults, also in {file}")
        terminalreporter.write(ledger)


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
