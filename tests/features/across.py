"""The real core and the real XMPP side, between a fake Matrix and a fake server."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from bridge.core.directory import Directory
from bridge.core.dispatch import Dispatch
from bridge.core.guard import Limits
from bridge.core.hub import Hub
from bridge.core.ports import Adapter, MatrixRooms
from bridge.matrix.adapter import MatrixAdapter
from bridge.model.delivery import Arrival, Parcel
from bridge.model.events import AnyEvent, Message, Text
from bridge.model.places import Network, Person, Ref, Room
from bridge.model.records import Portal
from bridge.model.text import RichText
from bridge.xmpp.adapter import XmppAdapter
from bridge.xmpp.component import Stream
from bridge.xmpp.inbound import Inbound
from tests.core import NO_LIMITS, join_core
from tests.fakes import FakeMatrixRooms, FakeNetwork
from tests.fakes_store import FakeStore
from tests.unit.xmpp.elsewhere import ALICE, DOMAIN, NOW, Server
from tests.unit.xmpp.test_inbound import Tap


class Line(Server):
    """What the adapter itself asks of its stream."""

    suspects: tuple[int, ...] = ()
    blames: bool = False

    async def drained(self) -> None:
        await asyncio.sleep(0)


@dataclass
class Joined:
    """The core and the real XMPP side, on a stream that ends in the test."""

    xmpp: XmppAdapter
    line: Line
    store: FakeStore
    directory: Directory
    dispatch: Dispatch
    hub: Hub
    inbound: Inbound

    async def settles(self) -> None:
        """Wait until everything that can arrive has arrived."""
        for _ in range(5):
            for _ in range(20):
                await asyncio.sleep(0)
            await self.inbound.wait_empty()
            await self.hub.wait_empty()
            await self.dispatch.wait_empty()


@dataclass(kw_only=True)
class Across(Joined):
    """Both sides and what lies between."""

    matrix: FakeNetwork
    matrix_rooms: FakeMatrixRooms

    @property
    def server(self) -> Line:
        """The XMPP server."""
        return self.line

    async def says(
        self, room: str, words: str, name: str = "$1", person: Person = ALICE
    ) -> None:
        """Let somebody say *words* in a Matrix room."""
        where = Room(Network.MATRIX, room)
        nick = person.id[1:].partition(":")[0].title()
        event = Message(
            ref=Ref(Network.MATRIX, name),
            room=where,
            sender=person,
            sent_at=NOW,
            name=nick,
            content=Text(RichText(words)),
        )
        await self.happens(event)

    async def happens(self, event: AnyEvent) -> None:
        """Let *event* come from Matrix."""
        self.matrix.script[event.ref.id] = event
        await self.hub.keep([Arrival(event.room, event.ref.id, b"raw")])
        await self.settles()

    def heard(self) -> list[str]:
        """List what was said on Matrix."""
        return [_words(parcel) for parcel in self.matrix.sent]


def _words(parcel: Parcel) -> str:
    return parcel.wire.data.decode()


@asynccontextmanager
async def joined(  # noqa: PLR0913 - both sides, and what lies between and outside
    folder: Path,
    portals: Iterable[Portal],
    sides: tuple[Adapter, MatrixRooms],
    tasks: asyncio.TaskGroup,
    store: FakeStore,
    limits: Limits = NO_LIMITS,
    *,
    line: Line | None = None,
) -> AsyncIterator[Joined]:
    """Join the XMPP side with a Matrix side, and connect it, perhaps to *line*."""
    line, directory = line or Line(), Directory(portals)
    matrix, rooms = sides
    xmpp = XmppAdapter(
        domain=DOMAIN,
        secret="",
        host="127.0.0.1",
        port=1,
        store=store,
        tasks=tasks,
        written=folder / "written",
    )
    adapters: dict[Network, Adapter] = {Network.MATRIX: matrix, Network.XMPP: xmpp}
    hub, dispatch = join_core(
        tasks,
        adapters=adapters,
        store=store,
        directory=directory,
        matrix=rooms,
        xmpp=xmpp,
        limits=limits,
    )
    inbound = Inbound(hub, Tap())
    if isinstance(matrix, MatrixAdapter):
        await matrix.start(hub)
    await xmpp.join(cast("Stream", line), inbound, hub)
    line.received = lambda stanza, sender, to: xmpp.received(stanza)
    running = tasks.create_task(inbound.run())
    await xmpp.up()
    await hub.start()
    await dispatch.start()
    yield Joined(xmpp, line, store, directory, dispatch, hub, inbound)
    running.cancel()
    xmpp._mucs.close()


@asynccontextmanager
async def across(
    folder: Path, portals: Iterable[Portal] = (), *, tasks: asyncio.TaskGroup
) -> AsyncIterator[Across]:
    """Build everything, and connect it."""
    matrix, rooms = FakeNetwork(Network.MATRIX), FakeMatrixRooms()
    async with joined(folder, portals, (matrix, rooms), tasks, FakeStore()) as our:
        yield Across(**vars(our), matrix=matrix, matrix_rooms=rooms)
