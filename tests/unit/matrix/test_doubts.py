from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bridge.matrix import doubts
from bridge.model.events import Message
from tests.unit.matrix.megolm.party import Party
from tests.unit.matrix.secret import SecretWorld, secret_world
from tests.unit.matrix.world import ALICE, BOB, HALL, opened


@pytest.fixture
async def secret() -> AsyncIterator[SecretWorld]:
    async with secret_world() as world:
        world.room()
        world.matrix.link()
        await world.matrix.adapter._sealed.add(HALL)
        await world.listens()
        yield world


def told(secret: SecretWorld) -> list[str]:
    return [words for _, words in secret.matrix.host.warned]


async def test_what_is_said_in_the_clear_in_an_encrypted_room_is_marked_once(
    secret: SecretWorld,
) -> None:
    """S16: it is never shown as if it had been encrypted, nor at a glance."""
    secret.matrix.joins(HALL, BOB)
    for words in ("one", "two"):
        event = secret.matrix.server.say(HALL, ALICE, words)
        assert isinstance(await secret.matrix.reads(event), Message)
    await secret.matrix.reads(secret.matrix.server.say(HALL, BOB, "three"))
    event = secret.matrix.server.say(HALL, ALICE, "four")
    (arrival,) = secret.matrix.adapter.arrivals([opened(event)])

    assert secret.matrix.adapter.glance(arrival) is None
    assert told(secret) == [doubts.CLEAR.format(who=who) for who in ("Alice", "Bob")]


async def test_what_a_signed_device_says_is_not_doubted(secret: SecretWorld) -> None:
    event = await secret.alice_says("hello")
    await secret.listens()

    assert isinstance(await secret.reads(event), Message)
    assert told(secret) == []


async def test_where_words_go_on_in_the_clear_nothing_is_marked(
    secret: SecretWorld,
) -> None:
    portal = secret.matrix.host.portals[HALL]
    secret.matrix.host.portals[HALL] = replace(portal, exposed=True)

    await secret.matrix.reads(secret.matrix.server.say(HALL, ALICE, "one"))

    assert told(secret) == []


async def test_in_a_room_that_is_not_encrypted_nothing_is_marked(
    secret: SecretWorld,
) -> None:
    secret.matrix.adapter._sealed._rooms.clear()

    await secret.matrix.reads(secret.matrix.server.say(HALL, ALICE, "one"))

    assert told(secret) == []


async def test_words_of_a_device_that_its_owner_did_not_sign_are_marked(
    secret: SecretWorld,
) -> None:
    """S18: the homeserver may have added it."""
    identity = secret.matrix.server.keys.identities[ALICE]
    mallory = await Party(secret.matrix.server.keys).start()
    await mallory.joins(ALICE)
    secret.matrix.server.keys.identities[ALICE] = identity
    secret.alice = mallory

    for words in ("one", "two"):
        event = await secret.alice_says(words)
        await secret.listens()
        assert isinstance(await secret.reads(event), Message)

    assert told(secret) == [doubts.UNSIGNED.format(who="Alice")]


async def test_the_last_words_of_a_device_that_is_gone_are_marked(
    secret: SecretWorld,
) -> None:
    """E58."""
    event = await secret.alice_says("farewell")
    await secret.listens()
    secret.matrix.server.keys.device_keys[ALICE].clear()

    assert isinstance(await secret.reads(event), Message)
    assert told(secret) == [doubts.GONE.format(who="Alice")]
