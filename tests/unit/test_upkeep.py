import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.core.ports import Recovering, Unit
from bridge.marks import Mark
from bridge.matrix.client import Homeserver
from bridge.model.delivery import Arrival, Taken
from bridge.model.records import Cursor
from bridge.upkeep import NUMBERS_A_MINUTE, Upkeep
from tests.conftest import World
from tests.fakes import TEA_XMPP
from tests.homeserver import AS_TOKEN

LATER = Mark(7, 1_000, 5_000)


@dataclass
class Part:
    recovered: int = 0

    async def recover(self) -> None:
        self.recovered += 1


@pytest.fixture
async def upkeep(world: World, tmp_path: Path):  # type: ignore[no-untyped-def]  # noqa: ANN201
    homeserver = Homeserver("http://127.0.0.1:1", AS_TOKEN, "hs")
    yield Upkeep(
        world.store,
        world.directory,
        world.dispatch,
        homeserver,
        bot="@bot:hs",
        folder=tmp_path,
        depth=lambda: 0,
    )
    await homeserver.close()


async def test_a_start_like_any_other_changes_nothing(
    upkeep: Upkeep, world: World, tmp_path: Path
) -> None:
    part = Part()
    await world.store.commit(Unit(put=[Cursor("muc", "tea@muc", "old")]))
    (tmp_path / "written.ring").touch()

    await upkeep.begin()
    await upkeep.ready([part])
    await upkeep.mark()

    assert part.recovered == 0
    assert await world.store.find(Cursor, "muc", "tea@muc") is not None
    assert (tmp_path / "written.ring").exists()
    assert (tmp_path / "bridge.mark").exists()


async def test_a_restored_copy_is_made_safe_before_it_is_used(
    upkeep: Upkeep, world: World, tmp_path: Path
) -> None:
    part = Part()
    assert isinstance(part, Recovering)
    (tmp_path / "bridge.mark").write_text(LATER.write())
    (tmp_path / "written.ring").touch()
    waiting = Taken(world.store.number(), Arrival(TEA_XMPP, "k", b"raw"))
    cursors = [Cursor("muc", "tea@muc", "old"), Cursor("audit", "!tea:hs", "$old 1")]
    mark = Cursor("mark", "", Mark(1, 1, 1).write())
    await world.store.commit(Unit(take=[waiting], put=[mark, *cursors]))

    await upkeep.begin()
    await upkeep.ready([part, object()])
    await upkeep.mark()

    assert part.recovered == 1
    heard = await world.store.find(Cursor, "muc", "tea@muc")
    audited = await world.store.find(Cursor, "audit", "!tea:hs")
    assert heard == Cursor("muc", "tea@muc", "1970-01-01T00:00:01Z ")
    assert audited == Cursor("audit", "!tea:hs", "$restored 61000")
    assert not (tmp_path / "written.ring").exists()
    assert world.store.number() > LATER.number + NUMBERS_A_MINUTE
    assert await world.store.rooms_waiting() == []
    assert Mark.read((tmp_path / "bridge.mark").read_text()).count == 8


async def test_its_works_run_until_they_are_cancelled(upkeep: Upkeep) -> None:
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(work, name=name) for name, work in upkeep.works().items()
        ]
        for _ in range(5):
            await asyncio.sleep(0)
        assert not any(task.done() for task in running)
        for task in running:
            task.cancel()
