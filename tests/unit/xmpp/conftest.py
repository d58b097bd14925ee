import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import uvloop

from bridge.xmpp import component
from tests.component_server import ComponentServer
from tests.unit.xmpp.party import Party, gathered
from tests.unit.xmpp.streams import Bridge

Loops = Mapping[str, Callable[[], asyncio.AbstractEventLoop]]

STREAM = ("test_component.py", "test_session.py")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Loops:
    """Try the stream on both loops: their transports are not the same."""
    plain: Loops = {"asyncio": asyncio.new_event_loop}
    return (
        {**plain, "uvloop": uvloop.new_event_loop}
        if item.path.name in STREAM
        else plain
    )


@pytest.fixture
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(component, "PAUSE_S_MIN", 0.01)
    monkeypatch.setattr("bridge.xmpp.session.PROBE_S", 0.2)


@pytest.fixture
async def server(haste: None) -> AsyncIterator[ComponentServer]:
    async with ComponentServer() as server:
        yield server


@pytest.fixture
def bridge(tmp_path: Path, server: ComponentServer) -> Bridge:
    return Bridge(tmp_path, server)


@pytest.fixture
async def party() -> AsyncIterator[Party]:
    async with gathered() as party:
        yield party
