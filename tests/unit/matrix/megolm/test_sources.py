import pytest

from bridge.core.ports import Unit
from bridge.matrix.client import HomeserverDownError
from bridge.matrix.megolm.ports import Fault, Feed, Plain, Rejected, Strictness, Trust
from tests.unit.matrix.megolm.key_server import FakeKeyServer
from tests.unit.matrix.megolm.party import ALICE, BOT, Party, room

HERE = room(BOT, ALICE)


@pytest.fixture
async def bot(server: FakeKeyServer) -> Party:
    party = await Party(server, bridge=True).start()
    await party.joins(BOT)
    return party


async def trust(bot: Party, alice: Party) -> Trust | Fault:
    event = await alice.says(ALICE, HERE, "hello")
    await bot.hears(BOT)
    opened = await bot.reads(event)
    assert isinstance(opened, Plain | Rejected), opened
    return opened.trust if isinstance(opened, Plain) else opened.fault


async def changes(party: Party, *users: str) -> None:
    unit = Unit()
    await party.machine.received(unit, BOT, Feed(changed=users))
    await party.store.commit(unit)


async def test_a_signed_device_is_known_as_such(bot: Party, alice: Party) -> None:
    assert await trust(bot, alice) is Trust.SIGNED


async def test_people_without_an_identity_are_believed(
    server: FakeKeyServer, bot: Party, alice: Party
) -> None:
    del server.identities[ALICE]

    assert await trust(bot, alice) is Trust.LEGACY


async def test_a_device_that_its_owner_did_not_sign_is_known_as_such(
    server: FakeKeyServer, bot: Party, alice: Party
) -> None:
    identity = server.identities[ALICE]
    mallory = await Party(server).start()
    await mallory.joins(ALICE)
    server.identities[ALICE] = identity

    assert await trust(bot, mallory) is Trust.UNSIGNED


async def test_words_under_another_identity_are_known_as_such(
    server: FakeKeyServer, bot: Party, alice: Party
) -> None:
    """S18, CVE-2024-52813: whose identity changed is not who they were."""
    assert await trust(bot, alice) is Trust.SIGNED
    anew = await Party(server).start()
    await anew.joins(ALICE)
    await changes(bot, ALICE)

    assert await trust(bot, anew) is Trust.UNSIGNED
    assert await bot.machine.changed([ALICE]) == [ALICE]


async def test_the_strict_refuse_what_is_not_signed(
    server: FakeKeyServer, alice: Party
) -> None:
    del server.identities[ALICE]
    strict = await Party(server, Strictness.SIGNED, bridge=True).start()
    await strict.joins(BOT)

    assert await trust(strict, alice) is Fault.UNSIGNED_DEVICE


async def test_the_last_words_of_a_device_that_is_gone_are_read(
    server: FakeKeyServer, bot: Party, alice: Party
) -> None:
    await trust(bot, alice)
    event = await alice.says(ALICE, HERE, "farewell")
    device = await alice.machine.device(ALICE)
    assert device
    del server.device_keys[ALICE][device]
    await changes(bot, ALICE)

    opened = await bot.reads(event)

    assert isinstance(opened, Plain)
    assert opened.trust is Trust.GONE


async def test_words_of_a_device_that_nobody_ever_saw_are_refused(
    server: FakeKeyServer, bot: Party, alice: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = await alice.machine._accounts.get(ALICE)
    monkeypatch.setattr(type(own), "introduction", None)
    server.device_keys[ALICE].clear()

    assert await trust(bot, alice) is Fault.UNKNOWN_DEVICE
    assert server.asked["query_keys"] <= 4


async def test_a_device_that_came_back_under_other_keys_is_not_believed(
    server: FakeKeyServer, bot: Party, alice: Party
) -> None:
    event = await alice.says(ALICE, HERE, "hello")
    await bot.hears(BOT)
    await bot.machine._devices.of([ALICE])
    person = await bot.machine._devices.person(ALICE)
    session = await bot.machine._inbound._sessions.get(
        (HERE.id, event["content"]["session_id"])
    )
    session.sources[0].state.ed25519 = "another"
    assert person.devices

    assert await bot.reads(event) == Rejected(Fault.FOREIGN)


@pytest.mark.parametrize("signs", [True, False])
async def test_an_id_that_comes_back_under_other_keys_is_blocked(
    server: FakeKeyServer,
    bot: Party,
    monkeypatch: pytest.MonkeyPatch,
    signs: bool,  # noqa: FBT001
) -> None:
    """E58, E64: whoever introduces themselves so is not who they were."""
    alice, mallory = await Party(server).start(), await Party(server).start()
    device = await alice.joins(ALICE)
    identity = server.identities.pop(ALICE)
    if signs:
        server.identities[ALICE] = identity
    assert await trust(bot, alice) is (Trust.SIGNED if signs else Trust.LEGACY)
    server.one_time[ALICE, device].clear()
    with monkeypatch.context() as same:
        name = device.removeprefix("XMPP").lower()
        same.setattr("bridge.matrix.megolm.own.secrets.token_hex", lambda _: name)
        assert await mallory.joins(ALICE) == device
    server.identities.pop(ALICE)
    if signs:
        server.identities[ALICE] = identity
    await changes(bot, ALICE)

    assert await trust(bot, mallory) is Fault.FOREIGN


async def test_what_is_known_is_read_while_the_homeserver_is_down(
    server: FakeKeyServer, bot: Party, alice: Party
) -> None:
    await trust(bot, alice)
    event = await alice.says(ALICE, HERE, "hello")
    await changes(bot, ALICE)

    def down(_: str) -> None:
        raise HomeserverDownError("down")

    server.step = down

    assert isinstance(await bot.reads(event), Plain)


async def test_what_is_not_known_waits_for_the_homeserver(
    server: FakeKeyServer, bot: Party, alice: Party
) -> None:
    event = await alice.says(ALICE, HERE, "hello")
    await bot.hears(BOT)

    def down(_: str) -> None:
        raise HomeserverDownError("down")

    server.step = down

    with pytest.raises(HomeserverDownError):
        await bot.reads(event)
    server.step = lambda _: None
    assert isinstance(await bot.reads(event), Plain)
