from bridge.xmpp.endtoend import Failed, Plain, Trust, Unsealable
from bridge.xmpp.omemo import sealing
from bridge.xmpp.omemo.names import LEGACY, LEGACY_DEVICES
from tests.unit.xmpp.omemo.world import ALICE, ROMEO, Person, World


async def test_people_see_what_clients_show(world: World) -> None:
    romeo = await world.person()

    (device,) = await world.omemo.devices(ALICE, ROMEO)

    own, _ = await romeo.client.get_own_device_information()
    shown = romeo.client.format_identity_key(own.identity_key)
    assert device.fingerprint == " ".join(shown)
    assert device.id == romeo.id
    assert device.active


async def test_people_see_the_puppets_own_device(world: World) -> None:
    (device,) = await world.omemo.devices(ALICE, ALICE)

    assert device.label == "Matrix bridge"
    assert device.active


async def test_who_has_no_device_shows_none(world: World) -> None:
    assert await world.omemo.devices("x@bridge.example", ROMEO) == ()
    assert not await world.omemo.decide("x@bridge.example", ROMEO, "", Trust.BLIND)


async def test_a_distrusted_device_is_neither_heard_nor_spoken_to(
    world: World,
) -> None:
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))
    await decide(world, Trust.DISTRUSTED)

    refused = await world.try_to_send("hello")
    failed = await world.read(await romeo.seal(ALICE, "two"))

    assert refused == Unsealable(sealing.UNTRUSTED, (ROMEO,))
    assert isinstance(failed, Failed)


async def test_after_a_verification_new_devices_wait(world: World) -> None:
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))
    await decide(world, Trust.VERIFIED)
    second = await add_device(world, romeo)

    found = await world.read(await second.seal(ALICE, "a new phone"))
    sealed = await world.send("hello")

    assert isinstance(found, Plain)
    assert found.trust is Trust.WAITING
    assert str(second.id) not in repr(sealed)
    assert await romeo.open(ALICE, sealed.children) == "hello"


async def test_a_decision_outlives_a_restart(world: World) -> None:
    await world.person()
    await decide(world, Trust.VERIFIED)

    world.restart()

    (device,) = await world.omemo.devices(ALICE, ROMEO)
    assert device.trust is Trust.VERIFIED


async def test_nobody_is_trusted_by_a_wrong_fingerprint(world: World) -> None:
    await world.person()
    await world.omemo.devices(ALICE, ROMEO)

    assert not await world.omemo.decide(ALICE, ROMEO, "0" * 64, Trust.VERIFIED)


async def decide(world: World, trust: Trust) -> None:
    (device,) = await world.omemo.devices(ALICE, ROMEO)
    assert await world.omemo.decide(ALICE, ROMEO, device.fingerprint, trust)


async def add_device(world: World, first: Person) -> Person:
    second = await Person(world, ROMEO, (LEGACY,)).start_anew()
    listed = world.pep.items[ROMEO, LEGACY_DEVICES]["current"]
    ids = {one.get("id") for one in listed}
    assert ids == {str(first.id), str(second.id)}
    world.tell_of(ROMEO, LEGACY_DEVICES)
    return second
