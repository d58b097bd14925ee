import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.xmpp.muc.world import MucWorld, build


@pytest.fixture
async def world() -> AsyncIterator[MucWorld]:
    async with asyncio.TaskGroup() as tasks:
        made = build(tasks)
        await made.hosted.start()
        yield made
