import pytest

from bridge.core.ports import Unit
from bridge.matrix.client import MatrixError
from bridge.matrix.megolm.machine import Machine
from bridge.matrix.megolm.ports import Encrypted, Role, SealedRoom
from bridge.matrix.megolm.server import HomeserverKeys
from tests.fakes_store import FakeStore
from tests.homeserver import Fault
from tests.unit.matrix.megolm.party import Party, is_ours
from tests.unit.matrix.world import ALICE, BOT, GHOST, HALL, MatrixWorld


@pytest.fixture
def keys(matrix: MatrixWorld) -> HomeserverKeys:
    matrix.server.users |= {BOT, GHOST}
    return HomeserverKeys(matrix.homeserver, BOT)


async def test_a_device_comes_and_goes(
    matrix: MatrixWorld, keys: HomeserverKeys
) -> None:
    await keys.put_device(GHOST, "D", "a device")
    assert matrix.server.keys.names[GHOST, "D"] == "a device"

    await keys.delete_device(GHOST, "D")
    assert (GHOST, "D") not in matrix.server.keys.names


async def test_a_device_that_is_gone_already_is_no_error(
    matrix: MatrixWorld, keys: HomeserverKeys
) -> None:
    for status, code in ((404, "M_NOT_FOUND"), (401, "M_UNKNOWN_TOKEN")):
        matrix.server.faults.append(Fault("devices", status, {"errcode": code}))

    await keys.delete_device(GHOST, "D")

    with pytest.raises(MatrixError):
        await keys.delete_device(GHOST, "D")


async def test_a_machine_works_over_it(
    matrix: MatrixWorld, keys: HomeserverKeys
) -> None:
    alice = await Party(matrix.server.keys).start()
    await alice.joins(ALICE)
    machine = Machine(keys, FakeStore(), is_ours)
    await machine.start()
    room = SealedRoom(
        HALL, frozenset((ALICE, GHOST)), {"algorithm": "m.megolm.v1.aes-sha2"}
    )

    device = await machine.ensure(GHOST, Role.BOT)
    made = await machine.encrypt(Unit(), GHOST, room, "m.x", {"body": "hi"})

    assert isinstance(made, Encrypted)
    assert len(matrix.server.keys.one_time[GHOST, device]) == 50
    await alice.hears(ALICE)
    event = alice.event(GHOST, HALL, made.content)
    assert await alice.understands(event) == "hi"
    sent = matrix.server.asked("sendToDevice/m.room.encrypted/")
    assert all(f"device_id={device}" in path for _, path in sent)


async def test_what_is_no_count_is_none(
    matrix: MatrixWorld, keys: HomeserverKeys
) -> None:
    for counts in ("many", {"signed_curve25519": "many"}):
        body = {"one_time_key_counts": counts}
        matrix.server.faults.append(Fault("keys/upload", 200, body))
        assert await keys.upload_keys(GHOST, "D", {}) == {}
