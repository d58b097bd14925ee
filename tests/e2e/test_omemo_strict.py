"""OMEMO on XMPP; on Matrix a client that reads only what signed devices sent."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deploy.lab import node
from deploy.lab.world import World
from tests.e2e.js_people import JsPerson
from tests.e2e.secret_people import LEGACY, OMEMO2
from tests.e2e.secret_rooms import Company, RoomPerson, asked_into

VERSIONS = pytest.mark.parametrize(
    ("speaks", "version"), [("legacy", LEGACY), ("new", OMEMO2)]
)


@pytest.fixture
async def company(world: World, tmp_path: Path) -> AsyncIterator[Company]:
    async with AsyncExitStack() as ends:
        yield Company(world, tmp_path, ends)


@pytest.fixture
async def alice(world: World, word: str) -> AsyncIterator[JsPerson]:
    program = node.client()
    if program is None:
        pytest.skip("tests/run installs matrix-js-sdk, if there is node and npm")
    async with JsPerson(world.synapse, f"alice-{word}", program, strict=True) as made:
        yield made


def nothing_was_lost(alice: JsPerson, *others: RoomPerson) -> None:
    assert alice.failures == []
    for other in others:
        assert other.unopened == other.unsealed == []


@VERSIONS
async def test_a_chat_that_somebody_of_xmpp_begins(
    world: World, company: Company, alice: JsPerson, speaks: str, version: str
) -> None:
    juliet = await company.on_xmpp("juliet", speaks)
    ghost, puppet = world.ghost(juliet), alice.puppet(world)

    await juliet.seals(puppet, "a beginning")
    room = await alice.is_invited(ghost)
    await alice.asks("join", room=room)
    await alice.hears("a beginning", room, ghost)
    await alice.says(room, "and an answer")
    await juliet.opens("and an answer", puppet, version)
    await juliet.seals(puppet, "and more")
    await alice.hears("and more", room, ghost)
    await alice.says(room, "the end")

    await juliet.opens("the end", puppet, version)
    nothing_was_lost(alice, juliet)


async def test_a_chat_that_somebody_of_matrix_begins(
    world: World, company: Company, alice: JsPerson
) -> None:
    juliet = await company.on_xmpp("juliet")
    ghost, puppet = world.ghost(juliet), alice.puppet(world)

    await alice.asks("lookup", jid=juliet.jid)
    room = await alice.asks("create", invite=[ghost], direct=True)
    await alice.says(room, "a beginning")
    await juliet.opens("a beginning", puppet)
    await juliet.seals(puppet, "and an answer")
    await alice.hears("and an answer", room, ghost)
    await world.restart("bridge")
    await alice.says(room, "after a restart")
    await juliet.opens("after a restart", puppet)
    await juliet.seals(puppet, "all is well")

    await alice.hears("all is well", room, ghost)
    nothing_was_lost(alice, juliet)


@VERSIONS
async def test_a_private_room(
    world: World, company: Company, alice: JsPerson, speaks: str, version: str
) -> None:
    juliet = await company.on_xmpp("juliet", speaks)
    romeo = await company.on_xmpp("romeo", speaks)
    guests = (juliet, romeo)
    invited = [world.ghost(guest) for guest in guests]
    room = await alice.asks("create", invite=invited)
    (hall,) = {await asked_into(guest) for guest in guests}
    for guest in guests:
        await guest.joins(hall, guest.name)
        await alice.asks("sees", room=room, user=world.ghost(guest))

    await juliet.seals_in(hall, "soft!")
    await alice.hears("soft!", room, world.ghost(juliet))
    await romeo.opens_in("soft!", "juliet", hall, version)
    await alice.says(room, "what light")
    for guest in guests:
        await guest.opens_in("what light", alice.localpart, hall, version)
    await world.restart("bridge")
    await romeo.seals_in(hall, "it is the east")
    await alice.hears("it is the east", room, world.ghost(romeo))
    await juliet.opens_in("it is the east", "romeo", hall, version)
    await alice.says(room, "the end")

    for guest in guests:
        await guest.opens_in("the end", alice.localpart, hall, version)
    # What only moves sessions on may have come while the bridge was away.
    assert alice.failures == []
    for guest in guests:
        assert guest.unopened_in(hall) == guest.unsealed == []
