import asyncio
import logging

import pytest

from bridge.model.records import Cursor
from tests.unit.xmpp.elsewhere import World, build

CURSOR = Cursor("muc", "tea@muc.example", "x")


async def made() -> World:
    async with asyncio.TaskGroup() as tasks:
        return build(tasks)


async def test_the_bridge_has_an_address_and_an_ear() -> None:
    means = (await made()).means

    assert means.bot == "bridge@bridge.example"
    assert means.listener == "bridge@bridge.example/listener"


async def test_what_is_put_is_there_and_what_is_dropped_is_not() -> None:
    world = await made()
    world.means.put(CURSOR)
    await world.settle()
    assert await world.store.load(Cursor) == [CURSOR]

    world.means.drop(CURSOR)
    await world.settle()
    assert await world.store.load(Cursor) == []


async def test_a_full_disk_is_said_but_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = await made()
    world.store.broken = True
    with caplog.at_level(logging.WARNING):
        world.means.put(CURSOR)
        await world.settle()

    assert not await world.means.keep(CURSOR)
    assert "cannot be written" in caplog.text
    world.store.broken = False
    assert await world.means.keep(CURSOR)
