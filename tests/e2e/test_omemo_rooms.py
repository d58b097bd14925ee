"""OMEMO in hosted rooms, with Megolm on the other side; see ``omemo_room_client``."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

import pytest
from typing_extensions import override

from deploy.lab.heard import Heard, NotHeardError
from deploy.lab.stanzas import DISCO_INFO, MUC_ADMIN, tag
from deploy.lab.world import World
from deploy.lab.xmpp_people import Cast, XmppPerson
from tests.e2e.nio_people import NioPerson
from tests.e2e.secret_people import LEGACY, OMEMO2, SecretPerson

PROGRAM = "tests.e2e.omemo_room_client"
CONFERENCE = "{jabber:x:conference}x"


class RoomPerson(SecretPerson):
    """Somebody who encrypts in rooms as well."""

    async def members(self, room: str) -> list[str]:
        """Ask for whom to encrypt, as clients do."""
        found: list[str] = []
        for affiliation in ("owner", "admin", "member"):
            query = Element("query", {"xmlns": MUC_ADMIN})
            SubElement(query, "item", {"affiliation": affiliation})
            answer = await self.asks(room, query)
            assert answer.get("type") == "result", affiliation
            items = answer.iter(tag("item", MUC_ADMIN))
            found.extend(item.get("jid", "") for item in items)
        return found

    async def features(self, room: str) -> set[str]:
        """Ask what *room* is."""
        answer = await self.asks(room, Element("query", {"xmlns": DISCO_INFO}))
        return {one.get("var", "") for one in answer.iter(tag("feature", DISCO_INFO))}

    async def seals_in(self, room: str, text: str) -> str:
        """Say *text* in a room, encrypted for its members; return the id."""
        number = secrets.token_hex(6)
        members = await self.members(room)
        await self._cast.order(
            self.full, "seal in", to=room, text=text, id=number, members=members
        )
        return number

    async def opens_in(
        self, text: str, nick: str, room: str, version: str = LEGACY
    ) -> Heard:
        """Expect *text* as the next message of a room, encrypted."""
        heard = await self.hears(text, nick, room)
        if heard.name != version:
            raise NotHeardError(f"{text!r} came as {heard.name or 'plain text'!r}")
        return heard

    @override
    def _take_opened(self, told: dict[str, str]) -> None:
        if "nick" not in told:
            super()._take_opened(told)
        elif told["text"] is None:
            self.empty += 1
        else:
            room, version = told["from"], told["version"]
            self._ears.put(Heard(room, told["nick"], told["text"], told["id"], version))


async def asked_into(person: XmppPerson) -> str:
    """Wait until *person* is invited; return the room."""

    def find() -> str | None:
        invitations = (stanza.find(CONFERENCE) for stanza in person.all)
        found = (one.get("jid") for one in invitations if one is not None)
        return next(found, None)

    return await person.until(find, "an invitation")


class Company:
    """Brings in people who encrypt, on both networks."""

    def __init__(self, world: World, folder: Path, ends: AsyncExitStack) -> None:
        self._world = world
        self._folder = folder
        self._ends = ends
        self._cast: Cast | None = None

    async def without_omemo(self, name: str) -> XmppPerson:
        """Return somebody of XMPP whose client has no OMEMO."""
        cast = Cast(self._world.python, self._world.xmpp)
        await self._ends.enter_async_context(cast)
        return await cast.person(name)

    async def on_matrix(self, name: str) -> NioPerson:
        """Return somebody of Matrix."""
        localpart = f"{name}-{secrets.token_hex(3)}"
        person = NioPerson(self._world.synapse, localpart, self._folder / localpart)
        return await self._ends.enter_async_context(person)

    async def on_xmpp(self, name: str, speaks: str = "legacy") -> RoomPerson:
        """Return somebody of XMPP."""
        server = self._world.xmpp
        if self._cast is None:
            cast = Cast(self._world.python, server, PROGRAM)
            self._cast = await self._ends.enter_async_context(cast)
        jid = f"{name}-{secrets.token_hex(3)}@{server.host}"
        device = f"phone-{secrets.token_hex(2)}"
        person = RoomPerson(self._cast, name, jid, "secret", device, speaks)
        await self._cast.enter(person)
        return person


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
    assert juliet.unopened == romeo.unopened == alice.unreadable == []


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

    assert "you will not be able to read" in told.text
    assert f"{nurse.jid}: they have no device that uses OMEMO" in refused.words
    assert "!xmpp plaintext allow" in refused.words
    await alice.hears("back again", room, world.ghost(nurse))


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
