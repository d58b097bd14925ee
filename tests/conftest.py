import asyncio
import io
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from bridge.core.directory import Directory
from bridge.core.dispatch import Dispatch
from bridge.core.hub import Hub
from bridge.core.ports import Adapter, Unit
from bridge.logs import write_to
from bridge.model.delivery import Arrival
from bridge.model.events import AnyEvent, Message, Text
from bridge.model.places import Network, Person, Ref, Room
from bridge.model.text import RichText
from tests.core import join_core
from tests.fakes import TEA, FakeMatrixRooms, FakeNetwork, FakeXmppRooms
from tests.fakes_store import FakeStore


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--servers",
        default="",
        help="the XMPP servers of tests/e2e, of prosody,ejabberd,prosody13,ejabberd24",
    )
    parser.addoption(
        "--all-faults",
        action="store_true",
        help="every fault of tests/faults with both kinds of servers and databases",
    )
    parser.addoption(
        "--faults-ledger",
        default=".state/faults.md",
        help="where --all-faults writes what each fault has cost",
    )
    parser.addoption(
        "--all-clients",
        action="store_true",
        help="what tests/e2e does with other clients in full, and not only its basics",
    )
    parser.addoption(
        "--soak-minutes",
        type=float,
        default=5.0,
        help="for how long tests/faults breaks everything at random",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests that share real servers run in one process of several."""
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            world = item.callspec.params.get("world")
            if isinstance(world, str):
                item.add_marker(pytest.mark.xdist_group(world))


@dataclass
class World:
    """A bridge between two networks that live in this process."""

    matrix: FakeNetwork
    xmpp: FakeNetwork
    matrix_rooms: FakeMatrixRooms
    xmpp_rooms: FakeXmppRooms
    store: FakeStore
    directory: Directory
    dispatch: Dispatch
    hub: Hub

    async def happens(self, event: AnyEvent, key: str = "") -> None:
        """Let *event* come over its wire, and wait until all is done."""
        await self.comes(event, key)
        await self.settles()

    async def comes(self, event: AnyEvent, key: str = "") -> None:
        """Let *event* come over its wire."""
        near = self.matrix if event.room.network is Network.MATRIX else self.xmpp
        name = key or event.ref.id
        near.script[name] = event
        await self.hub.keep([Arrival(event.room, name, b"raw")])

    async def settles(self) -> None:
        """Wait until everything has been carried and has arrived."""
        for _ in range(3):
            await asyncio.sleep(0)  # commits release what they hold a turn later
            await self.hub.wait_empty()
            await self.dispatch.wait_empty()


def said(
    room: Room, words: str, *, sender: str = "somebody", number: int = 1
) -> Message:
    """Make a message."""
    return Message(
        ref=Ref(room.network, f"{sender}-{number}"),
        room=room,
        sender=Person(room.network, sender),
        sent_at=datetime.now(UTC),
        name=sender.capitalize(),
        content=Text(RichText(words)),
    )


@pytest.fixture
async def world() -> AsyncIterator[World]:
    matrix, xmpp = FakeNetwork(Network.MATRIX), FakeNetwork(Network.XMPP)
    adapters: dict[Network, Adapter] = {Network.MATRIX: matrix, Network.XMPP: xmpp}
    store, directory = FakeStore(), Directory([TEA])
    await store.commit(Unit(put=[TEA]))
    matrix_rooms, xmpp_rooms = FakeMatrixRooms(), FakeXmppRooms()
    async with asyncio.TaskGroup() as tasks:
        hub, dispatch = join_core(
            tasks,
            adapters=adapters,
            store=store,
            directory=directory,
            matrix=matrix_rooms,
            xmpp=xmpp_rooms,
        )
        await hub.start()
        await dispatch.start()
        yield World(
            matrix, xmpp, matrix_rooms, xmpp_rooms, store, directory, dispatch, hub
        )


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Write the log, at debug, where the test can read it."""
    root, ours = logging.getLogger(), logging.getLogger("bridge")
    handlers, level, own = root.handlers[:], root.level, ours.level
    stream = io.StringIO()
    write_to(stream, "debug")
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(own)
    logging.getLogger("slixmpp").setLevel(logging.NOTSET)
