from collections.abc import AsyncIterator

import pytest

from bridge.xmpp.codec.about import About
from tests.unit.xmpp.elsewhere import MUC
from tests.unit.xmpp.mucs_world import MucsWorld, tea_time


@pytest.fixture
async def world() -> AsyncIterator[MucsWorld]:
    async with tea_time() as made:
        yield made


async def test_more_than_can_be_read_again_is_missed_aloud(
    world: MucsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.xmpp.archive.TOTAL_MAX", 50)
    await world.mucs.visit(MUC)
    world.server.says("Hatter", "before", "x0")
    await world.settle()
    world.disconnect()
    for number in range(1, 121):
        world.server.says("Hatter", str(number), f"x{number}")

    await world.connect()
    world.server.says("Hatter", "after", "x999")
    await world.settle()

    said = await world.bodies()
    assert said[:2] == ["before", "1"]
    assert said[-1] == "after"
    assert len(said) < 120
    ((room, words),) = world.host.warned
    assert room.address == MUC
    assert "50" in words


@pytest.mark.parametrize("archive", [True, False])
async def test_what_is_said_while_we_come_in_is_held_or_read_or_missed_aloud(
    world: MucsWorld, monkeypatch: pytest.MonkeyPatch, *, archive: bool
) -> None:
    monkeypatch.setattr("bridge.xmpp.recall.HELD_MAX", 1)
    await world.mucs.visit(MUC)
    world.server.says("Hatter", "one", "x1")
    await world.settle()
    world.disconnect()
    if not archive:
        features = world.server.features
        world.server.features = tuple(f for f in features if "mam" not in f)
    real = world.stay._recall._read
    unsaid = ["two", "three", "four"]

    async def interrupted(about: About) -> None:
        while unsaid:
            world.server.says("Hatter", unsaid[0], unsaid.pop(0))
        await world.settle(5)
        await real(about)

    monkeypatch.setattr(world.stay._recall, "_read", interrupted)
    await world.connect()

    said = await world.bodies()
    assert said == (["one", "two", "three", "four"] if archive else ["one", "two"])
    assert len(world.host.warned) == (0 if archive else 1)
