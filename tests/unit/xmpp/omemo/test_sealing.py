import asyncio

import pytest

from bridge.core.ports import Unit
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.endtoend import Passage, Sealed, Unsealable
from bridge.xmpp.omemo import sealing
from bridge.xmpp.omemo.names import (
    LEGACY,
    LEGACY_DEVICES,
    OMEMO2,
    OMEMO2_BUNDLES,
    OMEMO2_DEVICES,
)
from tests.unit.xmpp.omemo.world import ALICE, BOB, CANARY, JULIET, ROMEO, World


def namespaces(sealed: Sealed) -> list[str]:
    return [
        child.attributes["xmlns"]
        for child in sealed.children
        if child.name == "encrypted"
    ]


@pytest.mark.parametrize("namespace", [LEGACY, OMEMO2])
async def test_a_client_opens_what_is_sealed(world: World, namespace: str) -> None:
    romeo = await world.person(ROMEO, namespace)

    sealed = await world.send("hello")

    assert namespaces(sealed) == [namespace]
    assert await romeo.open(ALICE, sealed.children) == "hello"


async def test_it_goes_on_after_a_restart(world: World) -> None:
    romeo = await world.person()
    await romeo.open(ALICE, (await world.send("one")).children)

    world.restart()

    assert await romeo.open(ALICE, (await world.send("two")).children) == "two"


async def test_what_was_not_committed_breaks_nothing(world: World) -> None:
    romeo = await world.person()
    await romeo.open(ALICE, (await world.send("one")).children)
    way = Passage(account=ALICE, peer="", to=ROMEO)
    content = (Node("body", {}, ("lost",)),)
    await world.omemo.encrypt(content, way, (ROMEO,), Unit())

    world.restart()

    assert await romeo.open(ALICE, (await world.send("two")).children) == "two"


async def test_who_can_have_no_device_now_seals_later(world: World) -> None:
    await world.person()
    world.store.broken = True
    way = Passage(account=BOB, peer="", to=ROMEO)

    made = await world.omemo.encrypt(
        (Node("body", {}, ("hello",)),), way, (ROMEO,), Unit()
    )

    assert made == Unsealable(sealing.NOBODY, (BOB,), passing=True)


@pytest.mark.usefixtures("slow")
async def test_twenty_at_once_are_all_opened(world: World) -> None:
    romeo = await world.person()
    await romeo.open(ALICE, (await world.send("first")).children)

    sealed = await asyncio.gather(*(world.send(str(n)) for n in range(20)))

    assert [await romeo.open(ALICE, one.children) for one in sealed] == [
        str(n) for n in range(20)
    ]


async def test_who_reads_both_gets_omemo_2(world: World) -> None:
    romeo = await world.person(ROMEO, OMEMO2, LEGACY)

    sealed = await world.send("hello")

    assert namespaces(sealed) == [OMEMO2]
    assert await romeo.open(ALICE, sealed.children) == "hello"


async def test_each_recipient_gets_what_they_have_in_one_message(
    world: World,
) -> None:
    romeo = await world.person(ROMEO, LEGACY)
    juliet = await world.person(JULIET, OMEMO2)
    content = (Node("body", {}, ("hello",)),)
    way = Passage(account=ALICE, peer="", to="room@muc.example")
    unit = Unit()

    sealed = await world.omemo.encrypt(content, way, (ROMEO, JULIET), unit)

    assert isinstance(sealed, Sealed)
    assert sorted(namespaces(sealed)) == [LEGACY, OMEMO2]
    assert await romeo.open(ALICE, sealed.children) == "hello"
    assert juliet.id in keys_of(sealed)


def keys_of(sealed: Sealed) -> set[int]:
    return {
        int(one.attributes["rid"])
        for child in sealed.children
        for one in _walk(child)
        if one.name == "key"
    }


def _walk(parent: Node) -> list[Node]:
    below = [one for one in parent.children if isinstance(one, Node)]
    return [parent, *(found for one in below for found in _walk(one))]


async def test_a_device_without_the_new_bundle_gets_the_legacy_one(
    world: World,
) -> None:
    """Converse 14 on ejabberd 23.01 can publish its list, but not its bundle."""
    romeo = await world.person(ROMEO, OMEMO2, LEGACY)
    del world.pep.items[ROMEO, OMEMO2_BUNDLES]

    sealed = await world.send("hello")

    assert namespaces(sealed) == [LEGACY]
    assert sealed.left_out == ()
    assert await romeo.open(ALICE, sealed.children) == "hello"


@pytest.mark.parametrize("why", ["forbidden", "internal-server-error", "silence"])
async def test_a_device_whose_new_bundle_cannot_be_read_gets_the_legacy_one(
    world: World, why: str
) -> None:
    """Its access model is the default one, or its server stumbles over it."""
    romeo = await world.person(ROMEO, OMEMO2, LEGACY)
    world.pep.trouble[ROMEO, OMEMO2_BUNDLES] = why

    sealed = await world.send("hello")

    assert namespaces(sealed) == [LEGACY]
    assert sealed.left_out == ()
    assert await romeo.open(ALICE, sealed.children) == "hello"


async def test_once_the_new_bundle_can_be_read_it_is_used_again(world: World) -> None:
    romeo = await world.person(ROMEO, OMEMO2, LEGACY)
    world.pep.trouble[ROMEO, OMEMO2_BUNDLES] = "forbidden"
    await world.send("hello")
    del world.pep.trouble[ROMEO, OMEMO2_BUNDLES]
    world.omemo.admitted(ALICE, ROMEO)

    sealed = await world.send("again")

    assert namespaces(sealed) == [OMEMO2]
    assert await romeo.open(ALICE, sealed.children) == "again"


async def test_a_missing_bundle_is_asked_for_once(world: World) -> None:
    await world.person(ROMEO, OMEMO2, LEGACY)
    del world.pep.items[ROMEO, OMEMO2_BUNDLES]
    for number in range(3):
        await world.send(str(number))

    asked = [one for one in world.pep.asked if one[2] == OMEMO2_BUNDLES]

    assert len(asked) == 1


async def test_a_new_list_has_missing_bundles_asked_for_again(world: World) -> None:
    romeo = await world.person(ROMEO, OMEMO2, LEGACY)
    bundles = world.pep.items.pop((ROMEO, OMEMO2_BUNDLES))
    assert namespaces(await world.send("one")) == [LEGACY]
    world.pep.items[ROMEO, OMEMO2_BUNDLES] = bundles

    world.tell_of(ROMEO, OMEMO2_DEVICES)
    sealed = await world.send("two")

    assert namespaces(sealed) == [OMEMO2]
    assert await romeo.open(ALICE, sealed.children) == "two"


async def test_the_bundle_is_asked_for_as_the_puppet(world: World) -> None:
    await world.person()

    await world.send("hello")

    assert {one[0] for one in world.pep.asked} == {ALICE}


async def test_fifty_devices_are_enough(world: World) -> None:
    """S21."""
    people = [await world.person(f"p{n}@d.example") for n in range(3)]
    listed = Node(
        "list",
        {"xmlns": LEGACY},
        tuple(node("device", {"id": str(n)}) for n in range(1, 10_000)),
    )
    world.publish(people[0].jid, LEGACY_DEVICES, "current", listed)

    sealed = await world.try_to_send("hello", ALICE, people[0].jid)

    assert isinstance(sealed, Unsealable)
    assert sealed.words == sealing.KEYLESS
    assert len([one for one in world.pep.asked if "bundles" in one[2]]) == 50


async def test_who_has_no_device_is_not_written_to(world: World) -> None:
    refused = await world.try_to_send("hello")

    assert refused == Unsealable(sealing.NO_DEVICE, (ROMEO,))


async def test_who_hides_their_devices_is_asked_to_show_them(world: World) -> None:
    world.pep.trouble[ROMEO, LEGACY_DEVICES] = "forbidden"

    refused = await world.try_to_send("hello")

    assert refused == Unsealable(sealing.UNREADABLE, (ROMEO,))
    assert world.begged == [(ALICE, ROMEO)]


async def test_a_server_that_is_away_is_worth_another_try(world: World) -> None:
    for name in (LEGACY_DEVICES, OMEMO2_DEVICES):
        world.pep.trouble[ROMEO, name] = "silence"

    refused = await world.try_to_send("hello")

    assert refused == Unsealable(sealing.TROUBLE, (ROMEO,), passing=True)


async def test_an_account_that_may_have_no_device_seals_nothing(world: World) -> None:
    refused = await world.try_to_send("hello", "ghost@bridge.example")

    assert isinstance(refused, Unsealable)
    assert refused.passing


async def test_nothing_of_the_words_stays_outside(world: World) -> None:
    await world.person()

    sealed = await world.send(CANARY)

    assert CANARY not in repr(sealed)


async def test_around_the_ciphertext_stand_name_hint_and_fallback(
    world: World,
) -> None:
    await world.person()

    sealed = await world.send("hello")

    assert [child.name for child in sealed.children] == [
        "encrypted",
        "encryption",
        "store",
        "body",
    ]


async def test_legacy_tags_stay_outside_and_others_do_not(world: World) -> None:
    romeo = await world.person()
    content = (
        Node("body", {}, ("corrected",)),
        node("replace", {"xmlns": "urn:xmpp:message-correct:0", "id": "m1"}),
        node("x", {"xmlns": "jabber:x:oob"}, node("url", None, CANARY)),
    )
    way = Passage(account=ALICE, peer="", to=ROMEO)

    sealed = await world.omemo.encrypt(content, way, (ROMEO,), Unit())

    assert isinstance(sealed, Sealed)
    assert "replace" in [child.name for child in sealed.children]
    assert CANARY not in repr(sealed)
    assert await romeo.open(ALICE, sealed.children) == "corrected"


async def test_omemo_2_has_everything_inside(world: World) -> None:
    romeo = await world.person(ROMEO, OMEMO2)
    content = (node("active", {"xmlns": "http://jabber.org/protocol/chatstates"}),)
    way = Passage(account=ALICE, peer="", to=ROMEO)

    sealed = await world.omemo.encrypt(content, way, (ROMEO,), Unit())

    assert isinstance(sealed, Sealed)
    assert "active" not in [child.name for child in sealed.children]
    assert await romeo.open(ALICE, sealed.children) == ""


async def test_what_has_no_words_goes_as_legacy_clients_send_it(world: World) -> None:
    await world.person()
    content = (node("active", {"xmlns": "http://jabber.org/protocol/chatstates"}),)
    way = Passage(account=ALICE, peer="", to=ROMEO)

    sealed = await world.omemo.encrypt(content, way, (ROMEO,), Unit())

    assert sealed == Sealed(content)


async def test_what_has_no_words_and_tells_something_does_not_go(
    world: World,
) -> None:
    await world.person()
    content = (node("x", {"xmlns": "jabber:x:oob"}),)
    way = Passage(account=ALICE, peer="", to=ROMEO)

    refused = await world.omemo.encrypt(content, way, (ROMEO,), Unit())

    assert isinstance(refused, Unsealable)
    assert refused.words == sealing.WORDLESS


async def test_who_opted_out_is_not_written_to_until_they_write(world: World) -> None:
    romeo = await world.person(ROMEO, OMEMO2)
    bye = "<opt-out xmlns='urn:xmpp:omemo:2'><reason>too hard</reason></opt-out>"
    await world.read(await romeo.seal_inside(ALICE, bye))

    refused = await world.try_to_send("hello")
    await world.words(await romeo.seal(ALICE, "again", namespace=OMEMO2))

    assert refused == Unsealable(sealing.OPTED_OUT, (ROMEO,))
    assert await romeo.open(ALICE, (await world.send("well")).children) == "well"


async def test_we_opt_out(world: World) -> None:
    romeo = await world.person(ROMEO, OMEMO2)
    way = Passage(account=ALICE, peer=ROMEO, to=ROMEO)

    sealed = await world.omemo.opt_out(way, "switched off", Unit())

    assert isinstance(sealed, Sealed)
    assert "opt-out" in repr(await romeo.content(ALICE, sealed.children))


async def test_a_bundle_that_is_no_good_is_left_out(world: World) -> None:
    """E52."""
    romeo = await world.person()
    world.spoil_signature(romeo)

    refused = await world.try_to_send("hello")

    assert isinstance(refused, Unsealable)
    assert refused.words == sealing.KEYLESS


async def test_whoever_can_be_written_to_is_known_before(world: World) -> None:
    await world.person()

    assert await world.omemo.capable(ALICE, ROMEO) is True
    assert await world.omemo.capable(ALICE, JULIET) is False


async def test_whose_list_is_hidden_nobody_says_has_no_device(world: World) -> None:
    for name in (LEGACY_DEVICES, OMEMO2_DEVICES):
        world.pep.trouble[ROMEO, name] = "forbidden"

    assert await world.omemo.capable(ALICE, ROMEO) is None


async def test_s20_a_device_that_is_gone_reads_no_more(world: World) -> None:
    """S20: who reads a message is decided when it is sealed."""
    romeo = await world.person()
    await romeo.open(ALICE, (await world.send("one")).children)
    other = await world.person(JULIET)
    listed = world.pep.items[JULIET, LEGACY_DEVICES]
    world.pep.items[ROMEO, LEGACY_DEVICES] = listed
    world.tell_of(ROMEO, LEGACY_DEVICES)

    refused = await world.try_to_send("two")

    assert other.id != romeo.id
    assert isinstance(refused, Unsealable)
    assert refused.words == sealing.KEYLESS
