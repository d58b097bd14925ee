"""Encrypted rooms, with the code that Element is made of: no shield, no failure."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from deploy.lab import node
from deploy.lab.world import World
from tests.e2e.conftest import Company
from tests.e2e.js_people import JsPerson
from tests.e2e.rooms import until_allowed

ALLOW = "!xmpp plaintext allow"


class Elements:
    """Brings in people with such clients."""

    def __init__(self, world: World, ends: AsyncExitStack) -> None:
        self._world = world
        self._ends = ends

    async def person(self, name: str, *, strict: bool = True) -> JsPerson:
        """Return somebody called *name*."""
        program = node.client()
        if program is None:
            pytest.skip("tests/run installs matrix-js-sdk, if there is node and npm")
        person = JsPerson(self._world.synapse, name, program, strict=strict)
        return await self._ends.enter_async_context(person)


@pytest.fixture
async def elements(world: World) -> AsyncIterator[Elements]:
    async with AsyncExitStack() as ends:
        yield Elements(world, ends)


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "default"])
async def test_a_direct_chat_with_a_known_contact(
    world: World, company: Company, elements: Elements, word: str, *, strict: bool
) -> None:
    juliet = await company.on_xmpp("juliet")
    alice = await elements.person(f"alice-{word}", strict=strict)
    ghost, puppet = world.ghost(juliet), alice.puppet(world)

    await alice.asks("lookup", jid=juliet.jid)
    room = await alice.asks("create", invite=[ghost], direct=True)
    await alice.says(room, "hello")
    refused = await alice.hears_next()
    await alice.says(room, ALLOW)
    await alice.hears_next()
    await juliet.hears_next(puppet)
    await juliet.hears("hello", puppet, puppet)
    await juliet.says(puppet, "hello yourself")

    assert ALLOW in refused.words
    assert refused.secret
    assert refused.shield == 0
    await alice.hears("hello yourself", room, ghost)
    assert alice.failures == []


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "default"])
async def test_a_chat_that_somebody_on_xmpp_begins(
    world: World, company: Company, elements: Elements, word: str, *, strict: bool
) -> None:
    juliet = await company.on_xmpp("juliet")
    alice = await elements.person(f"alice-{word}", strict=strict)
    ghost, puppet = world.ghost(juliet), alice.puppet(world)

    await juliet.says(puppet, "hello")
    room = await alice.is_invited(ghost)
    await alice.asks("join", room=room)
    await alice.hears("hello", room, ghost)
    await alice.says(room, "hello yourself")

    await juliet.hears("hello yourself", puppet, puppet)


async def test_a_hosted_room_of_both_kinds_of_clients(
    world: World, company: Company, elements: Elements, word: str
) -> None:
    alice = await elements.person(f"alice-{word}")
    bob = await elements.person(f"bob-{word}", strict=False)
    juliet, romeo = await company.on_xmpp("juliet"), await company.on_xmpp("romeo")
    hall = world.hosted(word)
    room = await alice.asks("create", alias=word)
    await bob.asks("join", room=room)
    await juliet.joins(hall, "Juliet")
    await romeo.joins(hall, "Romeo")
    await alice.asks("sees", room=room, user=world.bot)

    await juliet.says_in(hall, "one")
    for person in (alice, bob):
        await person.hears("one", room, world.ghost(juliet))
    await romeo.says_in(hall, "two")
    for person in (alice, bob):
        await person.hears("two", room, world.ghost(romeo))
    await alice.says(room, ALLOW)
    assert (await alice.hears_next()).sender == world.bot
    await bob.hears(ALLOW, room, alice.id)
    assert (await bob.hears_next()).shield == 0
    for words in ("three", "four"):
        await alice.says(room, words)
        await bob.hears(words, room, alice.id)
        await alice.asks("turn", room=room)
    await bob.says(room, "five")

    await until_allowed(juliet, hall)
    for words, person in (("three", alice), ("four", alice), ("five", bob)):
        await juliet.hears(words, person.localpart, hall)
    assert alice.failures == bob.failures == []


async def test_the_bot_is_verified_by_a_short_code(
    world: World, company: Company, elements: Elements, word: str
) -> None:
    juliet, alice = await company.on_xmpp("juliet"), await elements.person(word)
    room = await alice.asks("create", alias=word)
    await juliet.joins(world.hosted(word), "Juliet")
    await alice.asks("sees", room=room, user=world.bot)
    await juliet.says_in(world.hosted(word), "hello")
    await alice.hears("hello", room, world.ghost(juliet))

    code = await alice.asks("verify", room=room, user=world.bot)

    pictures = ", ".join(f"{picture} {name}" for picture, name in code["emoji"])
    numbers = " ".join(map(str, code["decimal"]))
    compared = f"{alice.id} verifies {world.bot}: {pictures} ({numbers})".casefold()
    assert compared in world.bridge_log().casefold()
    assert f"{alice.id} has verified {world.bot}" in world.bridge_log()
    await juliet.says_in(world.hosted(word), "still here")
    await alice.hears("still here", room, world.ghost(juliet))
