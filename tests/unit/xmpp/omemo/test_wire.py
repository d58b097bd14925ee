from xml.etree.ElementTree import Element, SubElement

import pytest

from bridge.xmpp.muc.stanza import STREAM
from bridge.xmpp.omemo import wire
from bridge.xmpp.omemo.names import LEGACY, OMEMO2, bundle_item
from tests.unit.xmpp.omemo.world import ALICE, ROMEO, World

LISTS = [(LEGACY, "list"), (OMEMO2, "devices")]


def listed(namespace: str, name: str, *ids: str, **more: str) -> Element:
    item = Element("item")
    parent = SubElement(item, f"{{{namespace}}}{name}")
    for one in ids:
        SubElement(parent, f"{{{namespace}}}device", {"id": one, **more})
    return item


@pytest.mark.parametrize(("namespace", "name"), LISTS)
def test_a_list_is_read(namespace: str, name: str) -> None:
    found = wire.device_list(listed(namespace, name, "1", "2"), namespace)

    assert found == {1: None, 2: None}


@pytest.mark.parametrize(("namespace", "name"), LISTS)
def test_numbers_that_are_none_are_left_out(namespace: str, name: str) -> None:
    """E53."""
    bad = ("0", "-1", str(2**31), "9" * 400, "x", "", "\u0661", "1.0")

    assert wire.device_list(listed(namespace, name, *bad, "7"), namespace) == {7: None}


def test_of_many_devices_the_last_are_taken() -> None:
    """E53, S21."""
    ids = [str(n) for n in range(1, 10_001)]

    found = wire.device_list(listed(LEGACY, "list", *ids), LEGACY)

    assert found is not None
    assert sorted(found) == list(range(9951, 10_001))


def test_what_is_no_list_is_none() -> None:
    assert wire.device_list(Element("item"), LEGACY) is None


def test_labels_have_an_end_and_a_signature() -> None:
    """E53."""
    long = listed(OMEMO2, "devices", "1", label="x" * 1_000_000, labelsig="AAAA")
    bare = listed(OMEMO2, "devices", "1", label="x")
    odd = listed(OMEMO2, "devices", "1", label="x", labelsig="A")
    good = listed(OMEMO2, "devices", "1", label="x", labelsig="AAAA")

    assert wire.device_list(long, OMEMO2) == {1: None}
    assert wire.device_list(bare, OMEMO2) == {1: None}
    assert wire.device_list(odd, OMEMO2) == {1: None}
    (label,) = (wire.device_list(good, OMEMO2) or {}).values()
    assert label is not None
    assert label.label == "x"


async def test_a_bundle_is_read(world: World) -> None:
    romeo = await world.person()

    found = wire.bundle(item(world, romeo.id), LEGACY, ROMEO, romeo.id)

    assert found is not None
    assert found.device_id == romeo.id


def item(world: World, device: int) -> Element:
    place, name = bundle_item(LEGACY, device)
    parent = Element("item")
    parent.append(world.pep.items[ROMEO, place][name])
    return parent


@pytest.mark.parametrize("how", ["none", "empty", "many", "long", "odd", "weak"])
async def test_a_bundle_that_is_none_is_refused(world: World, how: str) -> None:
    """E52."""
    romeo = await world.person()
    parent = item(world, romeo.id)
    pre_keys = parent[0].find(f"{{{LEGACY}}}prekeys")
    assert pre_keys is not None
    match how:
        case "none":
            del parent[:]
        case "empty":
            del parent[0][:]
        case "many":
            pre_keys.extend(list(pre_keys) * 5)
        case "long":
            pre_keys[0].text = "A" * 5000
        case "odd":
            pre_keys[0].text = "AAAA"
        case _:
            key = parent[0].find(f"{{{LEGACY}}}identityKey")
            assert key is not None
            key.text = "BQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

    assert wire.bundle(parent, LEGACY, ROMEO, romeo.id) is None


async def test_of_many_keys_only_ours_is_looked_at(world: World) -> None:
    romeo = await world.person()
    stanza = await romeo.seal(ALICE, "hello")
    header = stanza.find(f".//{{{LEGACY}}}header")
    assert header is not None
    SubElement(header, f"{{{LEGACY}}}key", {"rid": "5"}).text = "nonsense"

    assert await world.words(stanza) == "hello"


async def test_in_a_room_of_a_hundred_people_ours_is_found(world: World) -> None:
    """Four devices each; a key that begins a session takes 248 characters."""
    romeo = await world.person()
    stanza = await romeo.seal(ALICE, "hello")
    header = stanza.find(f".//{{{LEGACY}}}header")
    assert header is not None
    for number in range(400):
        key = SubElement(header, f"{{{LEGACY}}}key", {"rid": str(number + 1)})
        key.text = "A" * 248

    assert await world.words(stanza) == "hello"


async def test_a_key_for_somebody_else_of_the_same_number_is_not_ours(
    world: World,
) -> None:
    """XEP-0384 §5.6.2: the keys are listed by the address that they are for."""
    romeo = await world.person(ROMEO, OMEMO2)
    stanza = await romeo.seal(ALICE, "hello", namespace=OMEMO2)
    keys = stanza.find(f".//{{{OMEMO2}}}keys")
    account = await world.omemo._accounts.find(ALICE)
    assert keys is not None
    assert account is not None

    keys.set("jid", "mallory@bridge.example")

    assert wire.find(stanza, ALICE, account.id) == wire.Misfit(
        malformed=False, empty=False
    )


def test_where_nothing_is_sealed_nothing_is_found() -> None:
    assert wire.find(Element(f"{{{STREAM}}}message"), ALICE, 1) is None


def test_a_key_that_is_too_weak_is_not_sound() -> None:
    assert not wire.is_sound(b"1" * 32)
    assert not wire.is_sound(b"")


async def test_who_began_no_session_shows_no_key(world: World) -> None:
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))
    await romeo.open(ALICE, (await world.send("two")).children)
    stanza = await romeo.seal(ALICE, "three")
    account = await world.omemo._accounts.find(ALICE)
    assert account is not None

    sealed = wire.find(stanza, ALICE, account.id)

    assert isinstance(sealed, wire.Sealed)
    assert wire.identity_key(sealed) is None
    assert wire.identity_key(sealed._replace(exchange=True, key=b"x")) is None
