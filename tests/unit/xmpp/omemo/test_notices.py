from xml.etree.ElementTree import Element

from bridge.xmpp.endtoend import Empty, Trust
from bridge.xmpp.omemo.names import OMEMO2
from tests.unit.xmpp.omemo.test_fingerprints import decide
from tests.unit.xmpp.omemo.world import ALICE, ROMEO, Person, World


async def test_a_verified_device_vouches_for_another(world: World) -> None:
    """XEP-0450 §4.1.2: an endpoint MUST authenticate the key as soon as …"""
    romeo = await world.person(ROMEO, OMEMO2)
    await world.words(await romeo.seal(ALICE, "one", namespace=OMEMO2))
    await decide(world, Trust.VERIFIED)

    found = await world.read(await say(romeo, key_of(romeo), "distrust"))

    assert found == Empty()
    assert await trust_of(world) is Trust.DISTRUSTED


async def test_what_others_say_waits_until_they_are_verified(world: World) -> None:
    romeo = await world.person(ROMEO, OMEMO2)
    await world.words(await romeo.seal(ALICE, "one", namespace=OMEMO2))
    await world.read(await say(romeo, key_of(romeo), "distrust"))
    before = await trust_of(world)

    await decide(world, Trust.VERIFIED)

    assert before is Trust.BLIND
    assert await trust_of(world) is Trust.DISTRUSTED


async def test_nobody_vouches_for_strangers(world: World) -> None:
    romeo = await world.person(ROMEO, OMEMO2)
    await world.words(await romeo.seal(ALICE, "one", namespace=OMEMO2))
    await decide(world, Trust.VERIFIED)

    await world.read(await say(romeo, key_of(romeo), "distrust", "x@else.example"))

    assert await trust_of(world) is Trust.VERIFIED


async def test_who_opts_out_says_why(world: World) -> None:
    romeo = await world.person(ROMEO, OMEMO2)
    bye = "<opt-out xmlns='urn:xmpp:omemo:2'><reason>new phone</reason></opt-out>"

    found = await world.read(await romeo.seal_inside(ALICE, bye))

    assert isinstance(found, Empty)
    assert found.words.endswith("(new phone)")


def key_of(romeo: Person) -> str:
    kept = romeo.memory.kept[f"/devices/{ROMEO}/{romeo.id}/identity_key"]
    return str(kept).replace("-", "+").replace("_", "/")


async def say(romeo: Person, key: str, what: str, owner: str = ROMEO) -> Element:
    message = (
        "<trust-message xmlns='urn:xmpp:tm:1' usage='urn:xmpp:atm:1'"
        f" encryption='urn:xmpp:omemo:2'><key-owner jid='{owner}'>"
        f"<{what}>{key}</{what}></key-owner></trust-message>"
    )
    return await romeo.seal_inside(ALICE, message)


async def trust_of(world: World) -> Trust:
    (device,) = await world.omemo.devices(ALICE, ROMEO)
    return device.trust
