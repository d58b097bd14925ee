import logging
from collections.abc import AsyncIterator

import pytest

from bridge.matrix.wires import Says, order
from tests.homeserver import Event, Fault
from tests.unit.matrix.megolm.test_verifying import KEY, start
from tests.unit.matrix.secret import SecretWorld, secret_world
from tests.unit.matrix.world import BOT, HALL

REQUEST = "m.key.verification.request"
RELATION = {"rel_type": "m.reference", "event_id": "$request"}


@pytest.fixture
async def secret() -> AsyncIterator[SecretWorld]:
    async with secret_world() as world:
        world.room()
        world.matrix.link()
        await world.listens()
        yield world


async def said(secret: SecretWorld, kind: str, content: Event) -> list[Says]:
    """Let Alice say something, encrypted; return what is answered."""
    before = len(secret.matrix.host.later_wires)
    checks = secret.matrix.adapter._inbound._checks
    event = {
        "type": kind,
        "room_id": HALL,
        "sender": "@alice:hs",
        "event_id": "$request",
        "content": content,
    }
    assert await checks.answer(event)
    orders = [order(wire.data) for _, wire in secret.matrix.host.later_wires[before:]]
    return [one for one in orders if isinstance(one, Says)]


async def test_whoever_verifies_the_bot_is_answered_and_the_log_shows_what(
    secret: SecretWorld, caplog: pytest.LogCaptureFixture
) -> None:
    device = await secret.alice.machine.device("@alice:hs")
    assert device
    asked = {"msgtype": REQUEST, "from_device": device, "methods": ["m.sas.v1"]}
    asked["to"] = BOT

    ready = await said(secret, "m.room.message", asked)
    begun = start(device) | {"m.relates_to": RELATION}
    accept = await said(secret, "m.key.verification.start", begun)
    with caplog.at_level(logging.INFO):
        key = await said(
            secret,
            "m.key.verification.key",
            {"key": KEY, "m.relates_to": RELATION},
        )

    kinds = [one.type for one in (*ready, *accept, *key)]
    assert kinds[0] == "m.key.verification.ready"
    assert kinds[-2:] == ["m.key.verification.accept", "m.key.verification.key"]
    assert {one.user for one in (*ready, *accept, *key)} == {BOT}
    assert f"@alice:hs verifies {BOT}: " in caplog.text


async def test_what_is_encrypted_is_answered_too(secret: SecretWorld) -> None:
    device = await secret.alice.machine.device("@alice:hs")
    event = await secret.alice_says(
        "verify me", msgtype=REQUEST, from_device=device, methods=["m.sas.v1"], to=BOT
    )
    await secret.listens()

    assert await secret.reads(event) is None
    assert len(secret.matrix.host.later_wires) == 1


async def test_a_homeserver_that_is_away_ends_no_lane(secret: SecretWorld) -> None:
    secret.matrix.server.faults.append(Fault("keys/query", 502, "bad gateway", times=9))

    assert await said(secret, "m.key.verification.start", start("D")) == []


async def test_what_element_writes_in_the_clear_is_answered_too(
    secret: SecretWorld,
) -> None:
    """In encrypted rooms as well (matrix-js-sdk 43, ``requestVerificationDM``)."""
    device = await secret.alice.machine.device("@alice:hs")
    asked = {"msgtype": REQUEST, "from_device": device, "methods": ["m.sas.v1"]}
    asked |= {"body": "verify me", "to": BOT}
    server = secret.matrix.server
    request = server.add(HALL, "@alice:hs", "m.room.message", asked)
    relation = {"rel_type": "m.reference", "event_id": request["event_id"]}
    begun = start(str(device)) | {"m.relates_to": relation}
    second = server.add(HALL, "@alice:hs", "m.key.verification.start", begun)

    assert await secret.reads(request) is None
    assert await secret.reads(second) is None

    answers = [order(wire.data) for _, wire in secret.matrix.host.later_wires]
    kinds = [one.type for one in answers if isinstance(one, Says)]
    assert kinds == ["m.key.verification.ready", "m.key.verification.accept"]
