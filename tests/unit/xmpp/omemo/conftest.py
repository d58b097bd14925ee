import pytest

from tests.unit.xmpp.omemo.world import World


@pytest.fixture
async def world() -> World:
    return await World().settle_in()
