"""Who is shown on Matrix of a MUC elsewhere: the real core and both real sides."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bridge.matrix.adapter import MatrixAdapter
from bridge.matrix.client import Homeserver
from bridge.model.records import Portal
from tests.core import NO_LIMITS
from tests.fakes_store import Disk, FakeStore
from tests.features.across import Joined, Line, joined
from tests.homeserver import AS_TOKEN
from tests.unit.matrix.world import BOT, StrictHomeserver
from tests.unit.xmpp.elsewhere import ROOM

HATTER, HARE = "hatter@wonder.example/tea", "hare@wonder.example/tea"


@dataclass
class Run:
    """The bridge, from its start to its end."""

    parts: Joined
    tasks: asyncio.TaskGroup

    async def settles(self) -> None:
        """Wait until everything that can arrive has arrived, as seconds pass."""
        running = self.tasks.create_task(self.parts.xmpp._mucs.run())
        await self.parts.settles()
        running.cancel()
        await self.parts.settles()


@dataclass
class Town:
    """Both servers and what is on disk: they outlive the bridge."""

    folder: Path
    homeserver: StrictHomeserver
    disk: Disk = field(default_factory=Disk)
    line: Line = field(default_factory=Line)

    @asynccontextmanager
    async def bridge(self) -> AsyncIterator[Run]:
        """Run the bridge once."""
        store = FakeStore(self.disk)
        client = Homeserver(self.homeserver.url, AS_TOKEN, "hs")
        sides = (matrix := MatrixAdapter(client, store, BOT), matrix)
        self.line.connected = True
        portals = await store.load(Portal)
        async with AsyncExitStack() as ends, asyncio.TaskGroup() as tasks:
            ends.push_async_callback(client.close)
            where = (self.folder, portals, sides, tasks, store, NO_LIMITS)
            async with joined(*where, line=self.line) as parts:
                await parts.hub.open_foreign(ROOM)
                run = Run(parts, tasks)
                await run.settles()
                yield run
                self.cut(run)

    def cut(self, run: Run) -> None:
        """Let the stream be lost, and the MUC see that."""
        self.line.connected = False
        run.parts.xmpp.down()
        self.line.occupants.pop("Matrix bridge", None)

    async def mend(self, run: Run) -> None:
        """Let the stream be open again."""
        self.line.connected = True
        await run.parts.xmpp.up()

    def goes(self, nick: str) -> None:
        """Let somebody leave the MUC while the bridge is not there to see it."""
        del self.line.occupants[nick]

    def shown(self) -> list[str]:
        """Name whom the Matrix room shows of the MUC."""
        ((_, held),) = self.homeserver.rooms.items()
        return sorted(
            str(event["content"].get("displayname"))
            for (kind, mxid), event in held.state.items()
            if kind == "m.room.member" and mxid != BOT
            if event["content"]["membership"] == "join"
        )


@pytest.fixture
async def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    monkeypatch.setattr("bridge.xmpp.missing.GRACE_S", 0.0)
    monkeypatch.setattr("bridge.xmpp.mucs.TICK_S", 0.0)
    homeserver = StrictHomeserver()
    await homeserver.start()
    made = Town(tmp_path, homeserver)
    made.line.occupants |= {"Hatter": HATTER, "Hare": HARE}
    yield made
    await homeserver.stop()


async def test_whoever_left_while_the_bridge_was_down_is_gone_on_matrix(
    town: Town,
) -> None:
    async with town.bridge():
        assert town.shown() == ["Hare", "Hatter"]
    town.goes("Hatter")

    async with town.bridge():
        assert town.shown() == ["Hare"]


async def test_whoever_said_goodbye_while_the_bridge_was_down_is_gone_after_it(
    town: Town,
) -> None:
    async with town.bridge():
        pass
    town.line.says("Hatter", "goodbye")
    town.goes("Hatter")

    async with town.bridge():
        assert town.homeserver.bodies(*town.homeserver.rooms) == ["goodbye"]
        assert town.shown() == ["Hare"]


async def test_whoever_said_goodbye_while_the_stream_was_lost_is_gone_after_it(
    town: Town,
) -> None:
    async with town.bridge() as run:
        town.cut(run)
        town.line.says("Hatter", "goodbye")
        town.goes("Hatter")

        await town.mend(run)
        await run.settles()

        assert town.homeserver.bodies(*town.homeserver.rooms) == ["goodbye"]
        assert town.shown() == ["Hare"]


async def test_nobody_is_gone_as_long_as_the_muc_does_not_answer(town: Town) -> None:
    async with town.bridge():
        pass
    town.line.exists = False

    async with town.bridge():
        assert town.shown() == ["Hare", "Hatter"]


async def test_nobody_is_gone_as_long_as_we_are_out_again(town: Town) -> None:
    async with town.bridge() as run:
        town.cut(run)
        town.goes("Hatter")
        await town.mend(run)
        await run.parts.settles()

        town.cut(run)
        await run.settles()
        assert town.shown() == ["Hare", "Hatter"]


async def test_nobody_is_gone_from_a_room_so_crowded_that_it_shows_nobody(
    town: Town,
) -> None:
    async with town.bridge():
        pass
    town.line.crowded = True

    async with town.bridge():
        assert town.shown() == ["Hare", "Hatter"]


async def test_whoever_speaks_and_leaves_at_once_is_gone_after_it(town: Town) -> None:
    del town.line.occupants["Hatter"]
    async with town.bridge() as run:
        town.line.enters("Hatter", HATTER)
        town.line.says("Hatter", "goodbye")
        town.line.leaves("Hatter")
        await run.settles()

        assert town.homeserver.bodies(*town.homeserver.rooms) == ["goodbye"]
        assert town.shown() == ["Hare"]
