import pytest

from bridge.core.ports import Unit
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.endtoend import Sealed, Unsealable
from bridge.xmpp.omemo import lists, sealing
from bridge.xmpp.omemo.account import Account
from bridge.xmpp.omemo.names import LEGACY, LEGACY_DEVICES, OMEMO2, OMEMO2_DEVICES
from bridge.xmpp.omemo.shelf import session_row
from tests.unit.xmpp.omemo.world import ALICE, BOB, ROMEO, World


async def alice(world: World) -> Account:
    account = await world.omemo._accounts.find(ALICE)
    assert account is not None
    return account


def publish(world: World, ids: range, namespace: str = LEGACY) -> None:
    place = LEGACY_DEVICES if namespace == LEGACY else OMEMO2_DEVICES
    name = "list" if namespace == LEGACY else "devices"
    devices = (node("device", {"id": str(n)}) for n in ids)
    listed = Node(name, {"xmlns": namespace}, tuple(devices))
    world.pep.items.pop((ROMEO, place), None)
    world.publish(ROMEO, place, "current", listed)
    world.tell_of(ROMEO, place)


async def feed(world: World) -> Account:
    account = await alice(world)
    async with account.operation(Unit()):
        await lists.feed(account, world.omemo._remote, ROMEO)
    return account


async def test_both_lists_together_have_an_end(world: World) -> None:
    publish(world, range(1, 51))
    publish(world, range(101, 151), OMEMO2)

    account = await feed(world)

    fed = {one for devices in account.fed.values() for one in devices}
    assert len(fed) == 50


async def test_ever_new_devices_do_not_pile_up(world: World) -> None:
    for start in range(1, 1000, 50):
        publish(world, range(start, start + 50))
        await feed(world)

    account = await alice(world)
    remembered = account.shelf.get(f"/devices/{ROMEO}/list")
    assert len(remembered) <= lists.REMEMBERED_MAX + 50
    assert len(account.shelf.keys(f"peer {ROMEO}")) <= 3 * len(remembered) + 10


async def test_what_has_not_changed_is_not_fed_again(world: World) -> None:
    publish(world, range(1, 3))
    await feed(world)
    account = await alice(world)
    unit = Unit()

    async with account.operation(unit):
        await lists.feed(account, world.omemo._remote, ROMEO)

    assert unit.late == []


async def test_a_device_that_turns_out_to_have_another_key_begins_anew(
    world: World,
) -> None:
    romeo = await world.person()
    stanza = await romeo.seal(ALICE, "hello")
    world.pep.trouble[ROMEO, LEGACY_DEVICES] = "forbidden"
    await world.words(stanza)
    account = await alice(world)
    row = session_row(LEGACY, ROMEO, romeo.id)
    assert account.shelf.holds(row)

    async with account.operation(Unit()):
        other = (await account.versions[LEGACY].get_bundle(ALICE, 1)).identity_key
        lists.replace_key(account, ROMEO, romeo.id, other)

    assert not account.shelf.holds(row)
    assert lists.identity_of(account, ROMEO, romeo.id) == other
    assert not lists.is_unlisted(account, ROMEO, romeo.id)


async def test_a_list_with_a_label_that_nobody_signed_is_fed_all_the_same(
    world: World,
) -> None:
    romeo = await world.person(ROMEO, OMEMO2)
    await world.words(await romeo.seal(ALICE, "one", namespace=OMEMO2))
    (device,) = world.pep.items[ROMEO, OMEMO2_DEVICES]["current"]
    device.set("label", "phone")
    device.set("labelsig", "AAAA")
    world.tell_of(ROMEO, OMEMO2_DEVICES)

    (shown,) = await world.omemo.devices(ALICE, ROMEO)

    assert shown.label == ""
    assert shown.active


async def test_who_writes_the_old_version_is_answered_in_it(world: World) -> None:
    romeo = await world.person(ROMEO, LEGACY, OMEMO2)

    await world.read(await romeo.seal(ALICE, "one", namespace=LEGACY))
    old = await world.send("two")
    await world.read(await romeo.seal(ALICE, "three", namespace=OMEMO2))
    new = await world.send("four")

    assert [one.attributes["xmlns"] for one in encrypted(old)] == [LEGACY]
    assert [one.attributes["xmlns"] for one in encrypted(new)] == [OMEMO2]
    assert await romeo.open(ALICE, new.children) == "four"


def encrypted(sealed: Sealed) -> list[Node]:
    return [child for child in sealed.children if child.name == "encrypted"]


@pytest.mark.parametrize("state", ["item-not-found", "forbidden"])
async def test_a_device_on_no_list_that_one_of_ours_has_met_serves_all(
    world: World, state: str
) -> None:
    """Profanity lists none on Prosody 0.12, and publishes its keys all the same."""
    romeo = await world.person()
    world.pep.trouble[ROMEO, LEGACY_DEVICES] = state
    assert isinstance(await world.try_to_send("too early", BOB), Unsealable)
    assert not await world.omemo.capable(BOB, ROMEO)
    await world.words(await romeo.seal(ALICE, "hello"))

    assert await world.omemo.capable(BOB, ROMEO)
    sealed = await world.send("now it can", BOB)

    assert await romeo.open(BOB, sealed.children) == "now it can"
    world.restart()
    again = await world.send("and after a restart", BOB)
    assert await romeo.open(BOB, again.children) == "and after a restart"


async def test_whom_the_relay_has_met_is_known_after_a_restart(world: World) -> None:
    romeo = await world.person()
    del world.pep.items[ROMEO, LEGACY_DEVICES]
    await world.words(await romeo.seal(ALICE, "hello, all of you"))
    world.relay = ALICE
    world.restart()

    assert await world.omemo.capable(BOB, ROMEO)
    sealed = await world.send("hello", BOB)

    assert await romeo.open(BOB, sealed.children) == "hello"


async def test_who_lists_devices_is_written_to_on_no_other(world: World) -> None:
    romeo = await world.person()
    listed = world.pep.items.pop((ROMEO, LEGACY_DEVICES))
    await world.words(await romeo.seal(ALICE, "hello"))
    listed["current"][0].set("id", str(romeo.id + 1))
    world.pep.items[ROMEO, LEGACY_DEVICES] = listed
    world.tell_of(ROMEO, LEGACY_DEVICES)

    assert isinstance(await world.try_to_send("hello", BOB), Unsealable)


async def test_a_device_on_no_list_whose_keys_cannot_be_had_is_no_device(
    world: World,
) -> None:
    romeo = await world.person()
    del world.pep.items[ROMEO, LEGACY_DEVICES]
    await world.words(await romeo.seal(ALICE, "hello"))
    world.pep.trouble[ROMEO, f"{LEGACY}.bundles:{romeo.id}"] = "forbidden"

    assert isinstance(await world.try_to_send("hello", BOB), Unsealable)
    assert not await world.omemo.capable(BOB, ROMEO)


async def test_whose_keys_only_contacts_may_read_is_asked_to_be_one_of_the_relay(
    world: World,
) -> None:
    """Profanity on Prosody 13: no list, and keys that only contacts may read."""
    world.relay = ALICE
    world.restart()
    romeo = await world.person()
    bundle = f"{LEGACY}.bundles:{romeo.id}"
    del world.pep.items[ROMEO, LEGACY_DEVICES]
    await world.words(await romeo.seal(ALICE, "hello, all of you"))
    world.pep.trouble[ROMEO, bundle] = "forbidden"
    refused = await world.try_to_send("hello", BOB)
    begged = world.begged.copy()

    del world.pep.trouble[ROMEO, bundle]
    world.omemo.admitted(ALICE, ROMEO)
    sealed = await world.send("hello again", BOB)

    assert refused == Unsealable(sealing.UNREADABLE, (ROMEO,))
    assert begged == [(ALICE, ROMEO)]
    assert await romeo.open(BOB, sealed.children) == "hello again"
