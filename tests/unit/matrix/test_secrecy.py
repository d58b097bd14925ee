from collections.abc import AsyncIterator

import pytest

from bridge.core.ports import Recovering
from bridge.matrix.codec.names import ghost_mxid
from bridge.matrix.megolm.ports import Role
from bridge.model.delivery import Delivered
from bridge.model.events import Message, Protection
from bridge.model.places import Network, Room
from bridge.model.records import Kind
from tests.homeserver import Fault
from tests.unit.matrix.megolm.key_server import FakeKeyServer
from tests.unit.matrix.megolm.party import Party
from tests.unit.matrix.secret import SecretWorld, secret_world
from tests.unit.matrix.world import ALICE, BOT, GHOST, HALL, ROMEO

TEA = Room(Network.MATRIX, HALL)


@pytest.fixture
async def secret() -> AsyncIterator[SecretWorld]:
    async with secret_world() as world:
        yield world


async def test_an_encrypted_room_is_one_like_any_other(secret: SecretWorld) -> None:
    secret.room()
    portal = secret.matrix.link()
    await secret.matrix.adapter._sealed.add(HALL)
    await secret.listens()

    event = await secret.reads(await secret.alice_says("hello"))
    await secret.listens()
    outcomes = await secret.matrix.says("hello yourself", portal)

    assert event is None  # its key comes with what is listened to next
    assert all(isinstance(one, Delivered) for one in outcomes)
    assert [c["body"] for c in await secret.alice_reads()] == ["hello yourself"]
    assert secret.matrix.server.bodies(HALL) == []


async def test_what_alice_says_is_read(secret: SecretWorld) -> None:
    secret.room()
    secret.matrix.link()
    await secret.listens()
    event = await secret.alice_says("hello")
    await secret.listens()

    read = await secret.reads(event)

    assert isinstance(read, Message)
    assert read.content.body.plain == "hello"
    assert read.protection is Protection.END_TO_END
    assert read.ref.id == event["event_id"]


async def test_each_speaks_by_a_device_of_their_own(secret: SecretWorld) -> None:
    secret.room()
    portal = secret.matrix.link()
    await secret.matrix.adapter._sealed.add(HALL)

    await secret.matrix.says("one", portal)
    await secret.matrix.says("two", portal, ROMEO, "Romeo")
    await secret.matrix.sends(*secret.matrix.adapter.notice(TEA, "three"))

    bodies = [content["body"] for content in await secret.alice_reads()]
    assert bodies == ["one", "two", "three"]
    keys = secret.matrix.server.keys
    for user in (GHOST, ghost_mxid(ROMEO.id, "hs"), BOT):
        assert len(keys.device_keys[user]) == 1
        assert user in keys.identities
    assert keys.one_time[GHOST, next(iter(keys.device_keys[GHOST]))] == {}


async def test_people_can_check_our_devices(secret: SecretWorld) -> None:
    assert "no device" in await secret.secrecy.devices(HALL)
    await secret.listens()

    words = await secret.secrecy.devices(HALL)

    (device,) = secret.matrix.server.keys.device_keys[BOT].values()
    ed25519 = device["keys"][f"ed25519:{device['device_id']}"]
    assert device["device_id"] in words
    assert ed25519 in words.replace(" ", "")


async def test_a_chat_is_encrypted_for_whoever_can_read_that(
    secret: SecretWorld,
) -> None:
    assert await secret.secrecy.may_encrypt(ALICE)
    assert not await secret.secrecy.may_encrypt("@bob:hs")
    secret.matrix.server.faults.append(Fault("keys/query", 502, "bad gateway"))
    assert not await secret.secrecy.may_encrypt(ALICE)


async def test_whoever_can_be_written_to_has_a_device_before(
    secret: SecretWorld,
) -> None:
    await secret.matrix.adapter.exists("juliet@capulet.lit")

    keys = secret.matrix.server.keys
    (device,) = keys.device_keys[GHOST]
    assert keys.fallback[GHOST, device]


async def test_a_new_identity_stops_us_until_it_is_confirmed(
    secret: SecretWorld,
) -> None:
    secret.room()
    portal = secret.matrix.link(Kind.HOSTED)
    await secret.matrix.adapter._sealed.add(HALL)
    await secret.matrix.says("before", portal)
    await secret.alice_reads()
    secret.matrix.server.keys.identities[ALICE] = await new_identity()
    secret.matrix.server.changes.append(ALICE)
    await secret.listens()
    await secret.listens()

    (stopped,) = await secret.matrix.says("stopped", portal)

    assert not isinstance(stopped, Delivered)
    assert ALICE in str(stopped)
    assert await secret.secrecy.confirm(HALL) == [ALICE]
    assert await secret.secrecy.confirm(HALL) == []
    assert [type(o) for o in await secret.matrix.says("on", portal)] == [Delivered]


async def test_after_a_restored_backup_we_have_another_device(
    secret: SecretWorld,
) -> None:
    secret.room()
    portal = secret.matrix.link(Kind.HOSTED)
    await secret.matrix.adapter._sealed.add(HALL)
    await secret.matrix.says("before", portal)
    before = await secret.secrecy.machine.device(GHOST)
    assert isinstance(secret.matrix.adapter, Recovering)

    await secret.matrix.adapter.recover()
    (outcome,) = await secret.matrix.says("after", portal)

    assert isinstance(outcome, Delivered)
    assert before is not None
    assert await secret.secrecy.machine.device(GHOST) != before


async def new_identity() -> object:
    """Make cross-signing keys of Alice's that are not hers."""
    server = FakeKeyServer()
    stranger = await Party(server).start()
    await stranger.joins(ALICE)
    return server.identities[ALICE]


async def test_the_devices_of_those_who_speak_in_a_room_are_shown_but_not_too_many(
    secret: SecretWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = secret.room()
    secret.matrix.link()
    await secret.matrix.adapter._sealed.add(room)
    ghosts = [f"@_xmpp_{name}=40capulet.lit:hs" for name in ("juliet", "nurse")]
    for ghost in ghosts:
        secret.matrix.server.users.add(ghost)
        secret.matrix.joins(room, ghost)
        await secret.secrecy.machine.ensure(ghost, Role.OCCUPANT)

    shown = await secret.matrix.adapter.devices(room)
    monkeypatch.setattr("bridge.matrix.secrecy.SHOWN_MAX", 1)
    fewer = await secret.matrix.adapter.devices(room)

    assert all(f"{ghost}, device XMPP" in shown for ghost in ghosts)
    assert "more" not in shown
    assert fewer.endswith("more.")
