"""Real servers, once per kind of XMPP server, and people on both networks."""

import os
import secrets
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deploy.lab import backports, venvs
from deploy.lab.matrix_people import MatrixPerson
from deploy.lab.proving import REQUIRED
from deploy.lab.words import LabError, tail
from deploy.lab.world import NEWER, STABLE, World, place_for
from deploy.lab.xmpp_people import Cast, XmppPerson

HERE = Path(__file__).parent
PROGRAMS = {
    "prosody": "prosody",
    "ejabberd": "ejabberdctl",
    "prosody13": "prosody",
    "ejabberd24": "ejabberdctl",
}
LOG_LINES = 60


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    left_out = []
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            if item.get_closest_marker("all_clients"):
                left_out.append(item)
    if not config.getoption("all_clients"):
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    world = getattr(item, "funcargs", {}).get("world")
    if report.failed and isinstance(world, World):
        said = tail(world.gateway.log, LOG_LINES)
        report.sections.append(("the bridge's log", said))
    return report


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "world" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("servers")
        usual = NEWER if metafunc.module.__name__.endswith("newer_servers") else STABLE
        kinds = chosen.split(",") if chosen else usual
        metafunc.parametrize("world", kinds, indirect=True, scope="session")


@pytest.fixture(scope="session")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Synapse, an XMPP server and the bridge, from nothing."""
    kind: str = request.param
    need(kind, asked=bool(request.config.getoption("servers")))
    # Asked to end, we end what we have started, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with place_for(kind) as folder:
        world = World(kind, Path(sys.executable), folder)
        try:
            world.start()
            yield world
        finally:
            world.stop()


def need(kind: str, *, asked: bool) -> None:
    """Skip, and say why, what needs servers that are not there."""
    required = os.environ.get(REQUIRED)
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    there = shutil.which(PROGRAMS[kind], path=path)
    if not (there and (venvs.VENVS / "synapse" / "made-of.stamp").exists()):
        if required:
            pytest.fail(f"{kind} or Synapse is missing")
        pytest.skip("tests/run sets up the servers that this needs")
    if kind in STABLE or backports.are_unpacked():
        return
    if not required:
        pytest.skip("tests/run unpacks the newer servers")
    try:
        backports.unpacked()
    except LabError as error:
        if asked:
            raise
        pytest.skip(str(error))


class Company:
    """Brings in people that nobody has met before."""

    def __init__(self, world: World, ends: AsyncExitStack) -> None:
        self._world = world
        self._ends = ends
        self._cast: Cast | None = None

    async def on_matrix(self, name: str) -> MatrixPerson:
        """Return somebody of Matrix, who is called *name*."""
        word = "".join(c for c in name.lower() if c.isascii() and c.isalnum())
        localpart = f"{word or 'x'}-{secrets.token_hex(3)}"
        person = MatrixPerson(self._world.synapse, name, localpart)
        await self._ends.enter_async_context(person)
        await person.log_in()
        return person

    async def on_xmpp(
        self, name: str, *, same_as: XmppPerson | None = None
    ) -> XmppPerson:
        """Return somebody of XMPP, or one more device of theirs."""
        if self._cast is None:
            cast = Cast(self._world.python, self._world.xmpp)
            self._cast = await self._ends.enter_async_context(cast)
        if same_as is None:
            return await self._cast.person(name)
        device = f"phone-{secrets.token_hex(3)}"
        return await self._cast.person(name, jid=same_as.jid, device=device)


@pytest.fixture
async def company(world: World) -> AsyncIterator[Company]:
    """Whoever a test brings in goes home at its end."""
    async with AsyncExitStack() as ends:
        yield Company(world, ends)


@pytest.fixture
def word() -> str:
    """A word for addresses that no other test uses."""
    return f"r{secrets.token_hex(4)}"
