from typing import Any

import msgspec
import pytest

from bridge.matrix.megolm.letters import BATCH_MAX, batches, chunks, open_sessions
from bridge.matrix.megolm.own import AccountState, Own
from bridge.matrix.megolm.persons import Device
from bridge.matrix.megolm.ports import Role
from tests.unit.matrix.megolm.key_server import FakeKeyServer, Wild
from tests.unit.matrix.megolm.party import ALICE, GHOST, Party


async def own_of(party: Party, user: str) -> Own:
    return await party.machine._accounts.get(user)


def device_of(own: Own) -> Device:
    return Device(own.user, own.device, own.curve, own.ed25519)


def test_batches_are_small_and_each_has_its_own_name() -> None:
    own = Own(GHOST, {}, 0)
    own.state = AccountState("D", 0, Role.OCCUPANT)
    letters = [
        (Device(ALICE, str(n), "", ""), {"n": n}) for n in range(2 * BATCH_MAX + 1)
    ]

    packed = batches(own, "m.test", letters)

    assert len({one.txn for one in packed}) == len(packed) == 3
    contents: dict[str, Any] = {}
    for one in packed:
        assert (one.user, one.device, one.type) == (GHOST, "D", "m.test")
        contents |= msgspec.json.decode(one.messages)[ALICE]
    assert len(contents) == len(letters)


def test_a_batch_comes_back_from_disk_as_it_was() -> None:
    whole = b'{"@alice:hs":{"D":{"body":"x"}}}'
    own = Own(GHOST, {}, 0)
    own.state = AccountState("D", 0, Role.OCCUPANT)
    batch = batches(own, "t", [(Device(ALICE, "D", "", ""), {"body": "x"})])[0]

    again = msgspec.json.decode(msgspec.json.encode(batch), type=type(batch))

    assert bytes(again.messages) == bytes(batch.messages) == whole
    assert again == batch


@pytest.mark.parametrize("count", [0, 1, BATCH_MAX, BATCH_MAX + 1])
def test_chunks_lose_nothing(count: int) -> None:
    assert [n for some in chunks(range(count)) for n in some] == list(range(count))


async def test_a_session_is_opened_with_who_has_a_key(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    ghost, her = await own_of(bridge, GHOST), await own_of(alice, ALICE)
    nobody = Device("@nobody:hs", "D", "c", "e")

    failed = await open_sessions(server, ghost, [device_of(her), nobody])

    assert failed == [nobody]
    assert list(ghost.peers) == [her.curve]


@pytest.mark.parametrize(
    "answer", [{}, {"one_time_keys": []}, {"one_time_keys": {ALICE: {"D": []}}}]
)
async def test_an_answer_that_is_malformed_opens_nothing(
    bridge: Party, answer: Wild
) -> None:
    class Odd(FakeKeyServer):
        async def claim_keys(self, wanted: Wild) -> Wild:
            return answer

    device = Device(ALICE, "D", "c", "e")

    assert await open_sessions(Odd(), await own_of(bridge, GHOST), [device]) == [device]
