"""Direct chats with people of XMPP who encrypt with OMEMO, and the Matrix side too."""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element, SubElement

import pytest

from deploy.lab.heard import PATIENCE_S
from deploy.lab.stanzas import bare
from deploy.lab.world import World
from tests.e2e.secret_company import Company, meet
from tests.e2e.secret_people import LEGACY, OMEMO2, PUBSUB, SecretPerson

ALLOW = "!xmpp plaintext allow"


@pytest.fixture
async def company(world: World, tmp_path: Path) -> AsyncIterator[Company]:
    async with AsyncExitStack() as ends:
        yield Company(world, tmp_path, ends)


@pytest.mark.parametrize(("speaks", "version"), [("legacy", LEGACY), ("new", OMEMO2)])
async def test_somebody_of_xmpp_begins(
    world: World, company: Company, speaks: str, version: str
) -> None:
    alice, juliet, ghost, puppet = await company.two(speaks)

    room = await meet(world, alice, juliet)
    await alice.says(room, "and an answer")
    await juliet.opens("and an answer", puppet, version)
    await juliet.seals(puppet, "and more")
    await alice.hears("and more", room, ghost)
    await alice.says(room, "the end")

    await juliet.opens("the end", puppet, version)
    assert juliet.unopened == juliet.unsealed == alice.unreadable == []


@pytest.mark.parametrize(("speaks", "version"), [("legacy", LEGACY), ("new", OMEMO2)])
async def test_somebody_of_matrix_begins(
    company: Company, speaks: str, version: str
) -> None:
    alice, juliet, ghost, puppet = await company.two(speaks)

    await alice.looks_up(juliet.jid)
    room = await alice.starts_chat(ghost)
    await alice.says(room, "a beginning")
    await juliet.opens("a beginning", puppet, version)
    await juliet.seals(puppet, "and an answer")

    await alice.hears("and an answer", room, ghost)
    assert juliet.unopened == juliet.unsealed == alice.unreadable == []


async def test_sessions_outlive_the_bridge(world: World, company: Company) -> None:
    alice, juliet, ghost, puppet = await company.two()
    room = await meet(world, alice, juliet)
    await alice.says(room, "before")
    await juliet.opens("before", puppet)

    await world.restart("bridge")
    await juliet.seals(puppet, "after a restart")
    await alice.hears("after a restart", room, ghost)
    await world.crash("bridge")
    await alice.says(room, "after a crash")
    await juliet.opens("after a crash", puppet)
    await juliet.seals(puppet, "and all is well")

    await alice.hears("and all is well", room, ghost)
    assert juliet.unopened == juliet.unsealed == alice.unreadable == []


@pytest.mark.parametrize(("speaks", "version"), [("legacy", LEGACY), ("new", OMEMO2)])
async def test_twenty_each_way_at_once(
    world: World, company: Company, speaks: str, version: str
) -> None:
    alice, juliet, ghost, puppet = await company.two(speaks)
    room = await meet(world, alice, juliet)
    hers, his = ([f"{who} {n}" for n in range(20)] for who in ("juliet", "alice"))

    async with asyncio.TaskGroup() as tasks:
        for words in hers:
            tasks.create_task(juliet.seals(puppet, words))
        for words in his:
            tasks.create_task(alice.says(room, words))
    came = await juliet.count(puppet, len(his), PATIENCE_S)
    read = [await alice.hears_next() for _ in hers]

    assert sorted(one.text for one in came) == sorted(his)
    assert {one.name for one in came} == {version}
    assert sorted(one.words for one in read) == sorted(hers)
    assert {one.sender for one in read} == {ghost}
    assert juliet.unopened == juliet.unsealed == alice.unreadable == []


async def test_friends_who_can_see_each_other(world: World, company: Company) -> None:
    alice, juliet, ghost, puppet = await company.two()
    await juliet.hides(LEGACY)

    await juliet.send(Element("presence", {"to": puppet, "type": "subscribe"}))
    await juliet.sees(lambda p: bare(p.get("from", "")) == puppet, "Alice")
    room = await meet(world, alice, juliet)
    await alice.says(room, "and an answer")
    await juliet.opens("and an answer", puppet)
    await juliet.seals(puppet, "and more")

    await alice.hears("and more", room, ghost)
    assert juliet.unopened == juliet.unsealed == alice.unreadable == []


async def test_who_hides_her_devices_is_believed_at_first_sight(
    world: World, company: Company
) -> None:
    """A device list that only contacts may read is common; XEP-0384 §5.3.2."""
    alice, juliet, _, puppet = await company.two()
    await juliet.refuses_contacts()
    await juliet.hides(LEGACY)

    room = await meet(world, alice, juliet)
    asked = await juliet.sees(lambda p: p.get("type") == "subscribe", "a question")
    await alice.says(room, "and an answer")

    await juliet.opens("and an answer", puppet)
    assert bare(asked.get("from", "")) == puppet
    assert juliet.unopened == juliet.unsealed == alice.unreadable == []


async def test_what_cannot_be_encrypted_yet_is_once_she_agrees(
    company: Company,
) -> None:
    alice, juliet, ghost, puppet = await company.two()
    await juliet.refuses_contacts()
    await juliet.hides(LEGACY)

    await alice.looks_up(juliet.jid)
    room = await alice.starts_chat(ghost)
    await alice.says(room, "for your eyes only")
    refused = await alice.hears_next()
    await juliet.sees(lambda p: p.get("type") == "subscribe", "a question")
    await juliet.send(Element("presence", {"to": puppet, "type": "subscribed"}))

    await juliet.opens("for your eyes only", puppet)
    assert "only their contacts" in refused.words
    assert ALLOW in refused.words


async def test_plaintext_that_is_allowed_is_sent_again(company: Company) -> None:
    alice, juliet, ghost, puppet = await company.two()
    await juliet.refuses_contacts()
    await juliet.hides(LEGACY)
    await alice.looks_up(juliet.jid)
    room = await alice.starts_chat(ghost)
    await alice.says(room, "let them listen")
    await alice.hears_next()

    await alice.says(room, ALLOW)
    allowed = await alice.hears_next()
    notice = await juliet.hears_next(puppet)

    await juliet.hears("let them listen", puppet, puppet)
    assert "go on in the clear" in allowed.words
    assert "go on in the clear" in notice.text


async def test_all_her_devices_read_every_message(
    world: World, company: Company
) -> None:
    alice, juliet, ghost, puppet = await company.two()
    room = await meet(world, alice, juliet)
    await alice.says(room, "one")
    await juliet.opens("one", puppet)

    phone = await company.on_xmpp("juliet", same_as=juliet.jid)
    await phone.seals(puppet, "from my phone")
    await alice.hears("from my phone", room, ghost)
    await alice.says(room, "two")

    await juliet.opens("two", puppet)
    await phone.opens("two", puppet)
    assert juliet.unopened == phone.unopened == alice.unreadable == []


async def test_who_is_offline_reads_it_later(world: World, company: Company) -> None:
    alice, juliet, _, puppet = await company.two()
    room = await meet(world, alice, juliet)

    await juliet.log_out()
    await alice.says(room, "read this tomorrow")
    await alice.says(room, "and this")
    await juliet.log_in()

    await juliet.opens("read this tomorrow", puppet)
    await juliet.opens("and this", puppet)
    assert juliet.unopened == []


async def test_e55_a_plain_message_in_an_encrypted_chat(
    world: World, company: Company
) -> None:
    """E55: Alice is told; what she writes in her encrypted room stays encrypted."""
    alice, juliet, ghost, puppet = await company.two()
    room = await meet(world, alice, juliet)

    await juliet.says(puppet, "in a hurry")
    told = sorted([(await alice.hears_next()).words for _ in range(2)])
    await alice.says(room, "take your time")

    await juliet.opens("take your time", puppet)
    assert told[1] == "in a hurry"
    assert "without encryption" in told[0]
    assert world.ghost(juliet) == ghost


async def test_whose_client_reads_the_old_version_only_gets_that(
    world: World, company: Company
) -> None:
    """Stock slixmpp-omemo lists OMEMO 2, and can neither write nor read it."""
    alice, juliet, _, puppet = await company.two("stock")

    room = await meet(world, alice, juliet)
    await alice.says(room, "and an answer")

    await juliet.opens("and an answer", puppet)


async def test_devices_are_compared_and_trusted(world: World, company: Company) -> None:
    alice, juliet, ghost, puppet = await company.two()
    room = await meet(world, alice, juliet)

    await alice.says(room, "!xmpp omemo")
    shown = await alice.hears_next()
    await alice.says(room, f"!xmpp omemo trust {juliet.fingerprint}")
    trusted = await alice.hears_next()
    await alice.says(room, "!xmpp devices")
    guarded = await alice.hears_next()
    await juliet.seals(puppet, "!matrix devices")
    theirs = await juliet.hears_next(puppet)
    phone = await company.on_xmpp("juliet", same_as=juliet.jid)
    await phone.seals(puppet, "it is me")
    told = sorted([(await alice.hears_next()).words for _ in range(2)])
    await alice.says(room, "for who was verified")
    await juliet.opens("for who was verified", puppet)
    await alice.says(room, f"!xmpp omemo trust {phone.fingerprint}")
    await alice.hears_next()
    await alice.says(room, "for both")

    await phone.opens("for both", puppet)
    assert f"{juliet.fingerprint}: blindly trusted" in shown.words
    assert "verified" in trusted.words
    assert "XMPP: encrypted with OMEMO" in guarded.words
    assert f"{puppet}, as XMPP sees it: {await fingerprint(juliet, puppet)}" in (
        theirs.text
    )
    assert "new since you have verified" in told[0]
    assert told[1] == "it is me"
    assert ghost == world.ghost(phone)


async def fingerprint(juliet: SecretPerson, puppet: str) -> str:
    """Return how Juliet's client shows the key of a puppet."""
    query = Element("pubsub", {"xmlns": PUBSUB})
    SubElement(query, "items", {"node": f"{LEGACY}.devicelist"})
    listed = await juliet.asks(puppet, query)
    (device,) = listed.iter(f"{{{LEGACY}}}device")
    query = Element("pubsub", {"xmlns": PUBSUB})
    SubElement(query, "items", {"node": f"{LEGACY}.bundles:{device.get('id')}"})
    bundle = await juliet.asks(puppet, query)
    (key,) = bundle.iter(f"{{{LEGACY}}}identityKey")
    digits = base64.b64decode(key.text or "").hex()[-64:]
    return " ".join(digits[i : i + 8] for i in range(0, len(digits), 8))


async def test_no_trace_of_secret_words_is_left(world: World, company: Company) -> None:
    alice, juliet, ghost, puppet = await company.two()
    room = await meet(world, alice, juliet)
    canary = f"canary-{secrets.token_hex(6)}"

    await alice.says(room, f"{canary}-there")
    await juliet.opens(f"{canary}-there", puppet)
    await juliet.seals(puppet, f"{canary}-back")
    await alice.hears(f"{canary}-back", room, ghost)

    wire = [ET.tostring(one) for one in juliet.all]
    assert any(b"encrypted" in one for one in wire)
    assert not [one for one in wire if canary.encode() in one]
    for file in world.folder.rglob("*"):
        if file.is_file():
            assert canary.encode() not in file.read_bytes(), file
