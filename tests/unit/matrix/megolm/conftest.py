import pytest

from bridge.matrix.megolm.ports import Role
from tests.unit.matrix.megolm.key_server import FakeKeyServer
from tests.unit.matrix.megolm.party import ALICE, GHOST, Party


@pytest.fixture
def server() -> FakeKeyServer:
    return FakeKeyServer()


@pytest.fixture
async def bridge(server: FakeKeyServer) -> Party:
    party = await Party(server, bridge=True).start()
    await party.joins(GHOST, Role.OCCUPANT)
    return party


@pytest.fixture
async def alice(server: FakeKeyServer) -> Party:
    party = await Party(server).start()
    await party.joins(ALICE)
    return party
