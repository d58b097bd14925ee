import asyncio
import base64
from xml.etree.ElementTree import SubElement

import pytest

from bridge.core.ports import Unit
from bridge.xmpp.endtoend import Empty, Failed, NotForUs, Plain, Trust
from bridge.xmpp.omemo.names import LEGACY, LEGACY_DEVICES, OMEMO2
from tests.unit.xmpp.omemo.world import (
    ALICE,
    BOB,
    JULIET,
    ROMEO,
    World,
    passage,
    sce,
    text,
)


@pytest.mark.parametrize("namespace", [LEGACY, OMEMO2])
async def test_what_a_client_seals_is_opened(world: World, namespace: str) -> None:
    romeo = await world.person(ROMEO, namespace)

    found = await world.read(await romeo.seal(ALICE, "hello", namespace=namespace))

    assert isinstance(found, Plain)
    assert text(found.content) == "hello"
    assert found.peer == ROMEO
    assert found.device == romeo.id
    assert found.trust is Trust.BLIND
    assert found.namespace == namespace


@pytest.mark.parametrize("namespace", [LEGACY, OMEMO2])
async def test_it_goes_on_after_a_restart(world: World, namespace: str) -> None:
    romeo = await world.person(ROMEO, namespace)
    await world.words(await romeo.seal(ALICE, "one", namespace=namespace))

    world.restart()

    assert await world.words(await romeo.seal(ALICE, "2", namespace=namespace)) == "2"


async def test_a_message_that_was_not_carried_is_opened_after_a_crash(
    world: World,
) -> None:
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))
    stanza = await romeo.seal(ALICE, "two")
    await world.read(stanza, commit=False)

    world.restart()

    assert await world.words(stanza) == "two"


async def test_it_is_opened_after_a_crash_though_its_ratchet_was_written(
    world: World,
) -> None:
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))
    stanza = await romeo.seal(ALICE, "two")
    way = passage(stanza)
    await world.omemo.decrypt(stanza, way, Unit(), "arrival")
    await world.send("meanwhile")

    world.restart()
    unit = Unit()
    found = await world.omemo.decrypt(stanza, way, unit, "arrival")
    await world.store.commit(unit)

    assert isinstance(found, Plain)
    assert text(found.content) == "two"
    assert await world.words(await romeo.seal(ALICE, "three")) == "three"
    assert b"two" not in world.disk_bytes()


async def test_asked_twice_it_answers_the_same(world: World) -> None:
    romeo = await world.person()
    stanza = await romeo.seal(ALICE, "one")
    way = passage(stanza)
    first = await world.omemo.decrypt(stanza, way, Unit(), "arrival")
    unit = Unit()

    second = await world.omemo.decrypt(stanza, way, unit, "arrival")
    await world.store.commit(unit)
    world.restart()

    assert second == first
    assert await world.words(await romeo.seal(ALICE, "two")) == "two"


async def test_a_failure_changes_nothing(world: World) -> None:
    """E49."""
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))
    before = world.disk_bytes()
    stanza = await romeo.seal(ALICE, "two")
    payload = stanza.find(f".//{{{LEGACY}}}payload")
    assert payload is not None
    good, payload.text = payload.text, base64.b64encode(b"x" * 40).decode()

    assert isinstance(await world.read(stanza), Failed)

    payload.text = good
    assert world.disk_bytes() == before
    assert await world.words(stanza) == "two"


async def test_the_same_message_again_is_told_from_a_broken_session(
    world: World,
) -> None:
    """E50."""
    romeo = await world.person()
    stanza = await romeo.seal(ALICE, "one")
    await world.words(stanza)
    later = await romeo.seal(ALICE, "two")
    await world.words(later)
    world.restart()

    found = await world.read(later)

    assert isinstance(found, Failed)
    assert found.repeated
    assert world.posts == []


@pytest.mark.parametrize("namespace", [LEGACY, OMEMO2])
async def test_a_peer_that_skipped_900_messages_is_understood(
    world: World, namespace: str
) -> None:
    romeo = await world.person(ROMEO, namespace)
    await world.words(await romeo.seal(ALICE, "one", namespace=namespace))
    for _ in range(900):
        await romeo.client.encrypt(frozenset((ALICE,)), {namespace: b"lost"})

    for words in ("here", "still"):
        stanza = await romeo.seal(ALICE, words, namespace=namespace)
        assert await world.words(stanza) == words


async def test_a_peer_that_skipped_too_many_is_healed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E51, S21: counters that jump."""
    monkeypatch.setattr("bridge.xmpp.omemo.backends.SKIPPED_MAX", 20)
    world.restart()
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))
    await world.omemo.settle()
    world.posts.clear()
    for _ in range(21):
        await romeo.client.encrypt(frozenset((ALICE,)), {LEGACY: b"lost"})
    found = await world.read(await romeo.seal(ALICE, "gone"))
    assert isinstance(found, Failed)
    assert "again" in found.words

    await world.omemo.settle()
    assert await romeo.open(ALICE, world.posts[0].children) is None

    assert await world.words(await romeo.seal(ALICE, "healed")) == "healed"


async def test_a_session_is_repaired_once_an_hour(world: World) -> None:
    """E49, S21: whoever breaks sessions does not make us write."""
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))
    await world.omemo.settle()
    world.posts.clear()
    for number in range(3):
        stanza = await romeo.seal(ALICE, str(number))
        key = stanza.find(f".//{{{LEGACY}}}key")
        assert key is not None
        key.text = base64.b64encode(b"nonsense").decode()
        assert isinstance(await world.read(stanza), Failed)
        await world.omemo.settle()

    assert len(world.posts) == 1


async def test_a_device_without_a_readable_list_is_believed_at_once(
    world: World,
) -> None:
    romeo = await world.person()
    stanza = await romeo.seal(ALICE, "hello")
    for jid, name in list(world.pep.items):
        world.pep.trouble[jid, name] = "forbidden"

    found = await world.read(stanza)
    answer = await world.send("hi")

    assert isinstance(found, Plain)
    assert found.trust is Trust.UNLISTED
    assert (ALICE, ROMEO) in world.begged
    assert await romeo.open(ALICE, answer.children) == "hi"


async def test_a_list_that_becomes_readable_confirms_the_device(world: World) -> None:
    romeo = await world.person()
    stanza = await romeo.seal(ALICE, "hello")
    world.pep.trouble[ROMEO, LEGACY_DEVICES] = "forbidden"
    await world.words(stanza)
    await romeo.open(ALICE, (await world.send("hi")).children)
    world.pep.trouble.clear()
    world.restart()
    await world.send("are you listed")

    found = await world.read(await romeo.seal(ALICE, "yes"))

    assert isinstance(found, Plain)
    assert found.trust is Trust.BLIND


async def test_a_server_that_says_nothing_does_not_keep_a_message_back(
    world: World,
) -> None:
    romeo = await world.person()
    stanza = await romeo.seal(ALICE, "hello")
    for jid, name in list(world.pep.items):
        world.pep.trouble[jid, name] = "silence"

    assert await world.words(stanza) == "hello"


async def test_who_has_no_key_for_us_is_told_once(world: World) -> None:
    """E48."""
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))
    for_bob = await romeo.seal(BOB, "not for alice")

    first, second = await world.read(for_bob), await world.read(for_bob)

    assert isinstance(first, NotForUs)
    assert first.tell
    assert isinstance(second, NotForUs)
    assert not second.tell


async def test_a_puppet_without_a_device_has_no_key(world: World) -> None:
    romeo = await world.person()
    stanza = await romeo.seal(BOB, "hello")

    assert isinstance(await world.read(stanza), NotForUs)


async def test_an_empty_message_says_nothing(world: World) -> None:
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))
    await romeo.open(ALICE, (await world.send("two")).children)
    await world.omemo.settle()
    devices = await romeo.client.get_device_information(ALICE)
    await romeo.client.replace_sessions(next(iter(devices)))

    found = await world.read(romeo.stanza(ALICE, romeo.empties[-1]))

    assert found == Empty()
    assert await world.words(await romeo.seal(ALICE, "three")) == "three"


async def test_legacy_tags_beside_are_taken_and_the_outer_body_never(
    world: World,
) -> None:
    """E54."""
    romeo = await world.person()
    stanza = await romeo.seal(ALICE, "inside")
    SubElement(stanza, "{urn:xmpp:message-correct:0}replace", {"id": "m1"})
    SubElement(stanza, "{jabber:x:oob}x")
    SubElement(stanza, "{urn:xmpp:delay}delay", {"stamp": "2020-01-01T00:00:00Z"})

    found = await world.read(stanza)

    assert isinstance(found, Plain)
    assert [child.name for child in found.content] == ["body", "replace"]
    assert text(found.content) == "inside"


@pytest.mark.parametrize(
    ("sender", "to"), [(JULIET, ALICE), (ROMEO, "room@muc.example"), ("", ALICE)]
)
async def test_affixes_that_do_not_fit_are_refused(
    world: World, sender: str, to: str
) -> None:
    """E54: XEP-0420 §4: receiving clients MUST check whether they match."""
    romeo = await world.person(ROMEO, OMEMO2)
    await world.words(await romeo.seal(ALICE, "one", namespace=OMEMO2))
    inside = sce(sender, to, "forged")

    found = await world.read(
        await romeo.seal(ALICE, "", namespace=OMEMO2, inside=inside)
    )

    assert isinstance(found, Failed)


async def test_a_puppet_is_not_spoken_to_by_another_account_of_the_same_device(
    world: World,
) -> None:
    romeo = await world.person()
    stanza = await romeo.seal(ALICE, "one")
    stanza.set("from", f"{JULIET}/x")

    await world.read(stanza)
    found = await world.read(await romeo.seal(ALICE, "two"))

    assert isinstance(found, Plain)
    assert found.peer == ROMEO


@pytest.mark.usefixtures("slow")
async def test_twenty_at_once_are_all_opened(world: World) -> None:
    romeo, juliet = await world.person(), await world.person(JULIET)
    for one in (romeo, juliet):
        await world.words(await one.seal(ALICE, "hello"))
    stanzas = [
        await one.seal(ALICE, str(n)) for n in range(10) for one in (romeo, juliet)
    ]

    found = await asyncio.gather(*(world.words(stanza) for stanza in stanzas))

    assert found == [str(n) for n in range(10) for _ in range(2)]


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("namespace", [LEGACY, OMEMO2])
async def test_twenty_who_write_for_the_first_time_at_once_are_all_understood(
    world: World, namespace: str
) -> None:
    people = [await world.person(f"p{n}@capulet.example", namespace) for n in range(20)]
    stanzas = [await one.seal(ALICE, one.jid, namespace=namespace) for one in people]

    found = await asyncio.gather(*(world.words(stanza) for stanza in stanzas))

    assert found == [one.jid for one in people]


async def test_two_who_choose_the_same_pre_key_are_both_understood(
    world: World,
) -> None:
    """E52: a pre key that was used."""
    romeo, juliet = await world.person(), await world.person(JULIET)
    assert await world.omemo.items(ALICE, LEGACY_DEVICES, ROMEO)
    (name,) = [one for one in await world.omemo.nodes(ALICE) if "bundles:" in one]
    ((_, bundle),) = await world.omemo.items(ALICE, name, ROMEO) or ()
    pre_keys = bundle.children[-1]
    assert not isinstance(pre_keys, str)
    only = pre_keys._replace(children=pre_keys.children[:1])
    narrowed = bundle._replace(children=(*bundle.children[:-1], only))
    for one in (romeo, juliet):
        one.instead[name] = narrowed

    first = await world.words(await romeo.seal(ALICE, "one"))
    second = await world.words(await juliet.seal(ALICE, "two"))

    assert (first, second) == ("one", "two")
