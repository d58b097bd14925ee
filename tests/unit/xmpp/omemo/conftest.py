import asyncio
from typing import Any

import pytest
from omemo.storage import Maybe

from bridge.xmpp.omemo.shelf import Shelf
from tests.unit.xmpp.omemo.world import World


@pytest.fixture
async def world() -> World:
    return await World().settle_in()


@pytest.fixture(params=[False, True], ids=["at once", "giving way"])
def slow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let others in between at every look on the shelf, or not."""
    if not request.param:
        return
    load, store = Shelf._load, Shelf._store

    async def slow_load(self: Shelf, key: str) -> Maybe[Any]:
        await asyncio.sleep(0)
        return await load(self, key)

    async def slow_store(self: Shelf, key: str, value: Any) -> None:  # noqa: ANN401
        await asyncio.sleep(0)
        await store(self, key, value)

    monkeypatch.setattr(Shelf, "_load", slow_load)
    monkeypatch.setattr(Shelf, "_store", slow_store)
