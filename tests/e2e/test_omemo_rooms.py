"""OMEMO in hosted rooms, with Megolm on the other side; see ``omemo_room_client``."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deploy.lab.world import World
from deploy.lab.xmpp_people import XmppPerson
from tests.e2e.nio_people import NioPerson
from tests.e2e.secret_people import LEGACY, OMEMO2
from tests.e2e.secret_rooms import Company, asked_into


@pytest.fixture
async def company(world: World, tmp_path: Path) -> AsyncIterator[Company]:
    async with AsyncExitStack() as ends:
        yield Company(world, tmp_path, ends)


async def gather(
    world: World, alice: NioPerson, *guests: XmppPerson
) -> tuple[str, str]:
    """Let Alice ask people into a private room; return it as both sides know it."""
    room = await alice.gathers(*(world.ghost(guest) for guest in guests))
    halls = {await asked_into(guest) for guest in guests}
    (hall,) = halls
    for guest in guests:
        await guest.joins(hall, guest.name)
        await alice.sees(room, world.ghost(guest))
    return room, hall


@pytest.mark.parametrize(("speaks", "version"), [("legacy", LEGACY), ("new", OMEMO2)])
async def test_a_private_room_both_ways(
    world: World, company: Company, speaks: str, version: str
) -> None:
    alice = await company.on_matrix("alice")
    juliet = await company.on_xmpp("juliet", speaks)
    romeo = await company.on_xmpp("romeo", speaks)
    room, hall = await gather(world, alice, juliet, romeo)
    relay = f"relay@{world.xmpp.component}"

    features = await juliet.features(hall)
    members = await juliet.members(hall)
    await juliet.seals_in(hall, "soft!")
    await alice.hears("soft!", room, world.ghost(juliet))
    await romeo.opens_in("soft!", "juliet", hall, version)
    await alice.says(room, "what light")
    for guest in (juliet, romeo):
        await guest.opens_in("what light", alice.localpart, hall, version)
    await romeo.seals_in(hall, "it is the east")
    await alice.hears("it is the east", room, world.ghost(romeo))
    await juliet.opens_in("it is the east", "romeo", hall, version)
    await alice.says(room, "the end")
    for guest in (juliet, romeo):
        await guest.opens_in("the end", alice.localpart, hall, version)

    assert {"muc_membersonly", "muc_nonanonymous"} <= features
    assert set(members) == {relay, juliet.jid, romeo.jid}
    assert juliet.unopened == romeo.unopened == alice.unreadable == []
    assert juliet.unsealed == romeo.unsealed == []


async def test_two_of_matrix_and_one_of_xmpp(world: World, company: Company) -> None:
    alice, bob = await company.on_matrix("alice"), await company.on_matrix("bob")
    juliet = await company.on_xmpp("juliet")
    room, hall = await gather(world, alice, juliet)
    await alice.asks_in(room, bob)

    await bob.says(room, "one")
    await juliet.opens_in("one", bob.localpart, hall)
    await alice.says(room, "two")
    await juliet.opens_in("two", alice.localpart, hall)
    await juliet.seals_in(hall, "three")

    await alice.hears("one", room, bob.id)
    await alice.hears("three", room, world.ghost(juliet))
    assert juliet.unopened == alice.unreadable == bob.unreadable == []


async def test_a_room_outlives_the_bridge(world: World, company: Company) -> None:
    alice = await company.on_matrix("alice")
    juliet, romeo = await company.on_xmpp("juliet"), await company.on_xmpp("romeo")
    room, hall = await gather(world, alice, juliet, romeo)
    await juliet.seals_in(hall, "before")
    await alice.hears("before", room, world.ghost(juliet))
    await romeo.opens_in("before", "juliet", hall)

    await world.restart("bridge")
    await alice.says(room, "after a restart")
    for guest in (juliet, romeo):
        await guest.opens_in("after a restart", alice.localpart, hall)
    await world.crash("bridge")
    await alice.says(room, "after a crash")
    for guest in (juliet, romeo):
        await guest.opens_in("after a crash", alice.localpart, hall)
    await romeo.seals_in(hall, "all is well")

    await alice.hears("all is well", room, world.ghost(romeo))
    await juliet.opens_in("all is well", "romeo", hall)
    assert juliet.unopened_in(hall) == romeo.unopened_in(hall) == []
    assert alice.unreadable == []


async def test_who_comes_back_reads_what_was_said_meanwhile(
    world: World, company: Company
) -> None:
    alice = await company.on_matrix("alice")
    juliet, romeo = await company.on_xmpp("juliet"), await company.on_xmpp("romeo")
    room, hall = await gather(world, alice, juliet, romeo)

    await juliet.leaves(hall, "juliet")
    await alice.says(room, "she is gone")
    await romeo.opens_in("she is gone", alice.localpart, hall)
    await juliet.joins(hall, "juliet")
    await juliet.opens_in("she is gone", alice.localpart, hall)
    await juliet.seals_in(hall, "here I am")

    await alice.hears("here I am", room, world.ghost(juliet))
    await romeo.opens_in("here I am", "juliet", hall)


async def test_somebody_without_omemo_holds_up_the_room_and_all_are_told(
    world: World, company: Company
) -> None:
    alice = await company.on_matrix("alice")
    juliet = await company.on_xmpp("juliet")
    nurse = await company.without_omemo("nurse")
    room, hall = await gather(world, alice, juliet, nurse)
    told = await nurse.hears_next(hall)

    await alice.says(room, "for your eyes only")
    refused = await alice.hears_next()
    await nurse.leaves(hall, "nurse")
    await alice.says(room, "she is gone")
    await juliet.opens_in("she is gone", alice.localpart, hall)
    await nurse.joins(hall, "nurse")
    await nurse.says_in(hall, "back again")

    assert "This room is encrypted, but the bridge" in told.text
    assert f"{nurse.jid}: they have no device that uses OMEMO" in refused.words
    assert "!xmpp plaintext allow" in refused.words
    await alice.hears("back again", room, world.ghost(nurse))


async def test_what_somebody_could_not_read_is_sent_once_she_has_a_device(
    world: World, company: Company
) -> None:
    alice = await company.on_matrix("alice")
    nurse = await company.without_omemo("nurse")
    room, hall = await gather(world, alice, nurse)
    await nurse.hears_next(hall)
    await alice.says(room, "for your eyes only")
    refused = await alice.hears_next()

    phone = await company.on_xmpp("nurse", same_as=nurse.jid)
    await phone.joins(hall, "nurse")
    await phone.seals_in(hall, "now I can read")

    await alice.hears("now I can read", room, world.ghost(nurse))
    await phone.opens_in("for your eyes only", alice.localpart, hall)
    assert "they have no device that uses OMEMO" in refused.words


async def test_devices_are_shown_and_decided_on_in_a_room(
    world: World, company: Company
) -> None:
    alice, juliet = await company.on_matrix("alice"), await company.on_xmpp("juliet")
    room, hall = await gather(world, alice, juliet)
    await alice.says(room, "hello")
    await juliet.opens_in("hello", alice.localpart, hall)

    await alice.says(room, "!xmpp omemo")
    shown = await alice.hears_next()
    await alice.says(room, f"!xmpp omemo trust {juliet.fingerprint}")
    decided = await alice.hears_next()
    await alice.says(room, "!xmpp omemo")
    after = await alice.hears_next()
    await juliet.says_in(hall, "!matrix devices")
    told = ""
    while f"relay@{world.xmpp.component}, as XMPP" not in told:
        told = (await juliet.hears_next(hall)).text

    assert juliet.fingerprint in shown.words
    assert f"{juliet.jid} (0 of 1 verified)" in shown.words
    assert "is verified" in decided.words
    assert f"{juliet.jid} (1 of 1 verified)" in after.words
    assert f"{alice.puppet(world)}, as XMPP sees it" in told


async def test_who_shows_her_devices_to_contacts_only_is_read_by_the_relay(
    world: World, company: Company
) -> None:
    """Profanity publishes so; one contact serves all who speak in the room."""
    alice, bob = await company.on_matrix("alice"), await company.on_matrix("bob")
    juliet = await company.on_xmpp("juliet")
    await juliet.hides(LEGACY)
    room, hall = await gather(world, alice, juliet)
    await alice.asks_in(room, bob)
    told = await juliet.hears_next(hall)
    asked = await juliet.sees(lambda p: p.get("type") == "subscribe", "a question")
    await juliet.has_passed(world.xmpp.component)

    await alice.says(room, "one")
    await juliet.opens_in("one", alice.localpart, hall)
    await bob.says(room, "two")
    await juliet.opens_in("two", bob.localpart, hall)

    assert "the bridge cannot see which devices of yours use OMEMO" in told.text
    assert asked.get("from", "").startswith("relay@")
    questions = [p for p in juliet.presences if p.get("type") == "subscribe"]
    assert questions == []
    assert juliet.unopened == []


async def test_nothing_of_it_is_left_anywhere(world: World, company: Company) -> None:
    alice, juliet = await company.on_matrix("alice"), await company.on_xmpp("juliet")
    room, hall = await gather(world, alice, juliet)
    there, back = (f"canary-{secrets.token_hex(8)}" for _ in range(2))

    await alice.says(room, there)
    await juliet.opens_in(there, alice.localpart, hall)
    await juliet.seals_in(hall, back)
    await alice.hears(back, room, world.ghost(juliet))
    await world.restart("bridge")

    for file in world.folder.rglob("*"):
        if file.is_file():
            raw = file.read_bytes()
            assert there.encode() not in raw, file
            assert back.encode() not in raw, file
    wire = "".join("".join(stanza.itertext()) for stanza in juliet.all)
    assert there not in wire
    assert back not in wire
