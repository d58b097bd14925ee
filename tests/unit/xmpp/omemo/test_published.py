import pytest

from bridge.core.ports import Unit
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.omemo import published as module
from bridge.xmpp.omemo.names import LEGACY, LEGACY_DEVICES, OMEMO2, OMEMO2_BUNDLES
from tests.unit.xmpp.omemo.world import ALICE, BOB, ROMEO, World, passage


async def test_nobody_publishes_before_they_are_asked(world: World) -> None:
    assert await world.omemo.nodes(BOB) == []


async def test_the_first_question_makes_the_device(world: World) -> None:
    ((item, listed),) = await world.omemo.items(BOB, LEGACY_DEVICES, ROMEO) or ()

    (device,) = listed.children
    assert item == "current"
    assert isinstance(device, Node)
    number = device.attributes["id"]
    assert sorted(await world.omemo.nodes(BOB)) == [
        f"{LEGACY}.bundles:{number}",
        LEGACY_DEVICES,
        OMEMO2_BUNDLES,
        f"{OMEMO2}:devices",
    ]
    ((bundle, _),) = await world.omemo.items(BOB, OMEMO2_BUNDLES, ROMEO) or ()
    assert bundle == number


async def test_to_answer_nobody_is_loaded(world: World) -> None:
    world.restart()

    assert await world.omemo.items(ALICE, LEGACY_DEVICES, ROMEO)
    assert world.omemo._accounts.loaded() == []


async def test_who_does_not_exist_publishes_nothing(world: World) -> None:
    assert await world.omemo.items("x@bridge.example", LEGACY_DEVICES, ROMEO) is None


async def test_what_is_not_omemos_is_not_there(world: World) -> None:
    assert await world.omemo.items(BOB, "urn:xmpp:avatar:data", ROMEO) is None
    assert await world.omemo.nodes(BOB) == []
    assert await world.omemo.items(ALICE, f"{LEGACY}.bundles:1", ROMEO) is None


async def test_only_what_is_on_disk_is_offered(world: World) -> None:
    """Row 39: we publish ourselves, so what is on disk is published."""
    romeo = await world.person()
    (name,) = [one for one in await world.omemo.nodes(ALICE) if "bundles:" in one]
    before = await world.omemo.items(ALICE, name, ROMEO)
    stanza = await romeo.seal(ALICE, "one")
    unit = Unit()

    await world.omemo.decrypt(stanza, passage(stanza), unit)
    meanwhile = await world.omemo.items(ALICE, name, ROMEO)
    await world.store.commit(unit)

    assert meanwhile == before
    assert await world.omemo.items(ALICE, name, ROMEO) != before


async def test_nobody_is_offered_an_old_signed_pre_key(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await world.omemo.items(ALICE, OMEMO2_BUNDLES, ROMEO)

    monkeypatch.setattr(module, "ROTATION_S", -1)
    monkeypatch.setattr("bridge.xmpp.omemo.account.ROTATION_S", -1)

    assert await world.omemo.items(ALICE, OMEMO2_BUNDLES, ROMEO) != before
