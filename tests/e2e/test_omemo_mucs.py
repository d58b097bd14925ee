"""OMEMO in a MUC elsewhere that is linked with an encrypted Matrix room."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deploy.lab.world import World
from tests.e2e.nio_people import NioPerson
from tests.e2e.secret_people import LEGACY, OMEMO2
from tests.e2e.secret_rooms import Company, RoomPerson


@pytest.fixture
async def company(world: World, tmp_path: Path) -> AsyncIterator[Company]:
    async with AsyncExitStack() as ends:
        yield Company(world, tmp_path, ends)


async def link(
    world: World, alice: NioPerson, juliet: RoomPerson, word: str, *members: str
) -> tuple[str, str]:
    """Link a room of Alice with a MUC of Juliet's; return both."""
    muc = f"{word}@{world.xmpp.muc}"
    bridge = f"bridge@{world.xmpp.component}"
    await juliet.joins(muc, "juliet")
    await juliet.closes(muc, bridge, alice.puppet(world), *members)
    room = await alice.makes_room(word)
    await alice.asks_the_bridge_in(room, world.bot)
    await alice.says(room, f"!xmpp bridge {muc}")
    await alice.hears_next()
    await juliet.hears_next(muc)
    await juliet.says_in(muc, "!matrix accept")
    await juliet.hears("!matrix accept", "juliet", muc)
    assert "linked" in (await juliet.hears_next(muc)).text
    while "linked" not in (await alice.hears_next()).words:
        pass
    return room, muc


@pytest.mark.parametrize(("speaks", "version"), [("legacy", LEGACY), ("new", OMEMO2)])
async def test_a_linked_room_both_ways(
    world: World, company: Company, word: str, speaks: str, version: str
) -> None:
    alice = await company.on_matrix("alice")
    juliet = await company.on_xmpp("juliet", speaks)
    romeo = await company.on_xmpp("romeo", speaks)
    room, muc = await link(world, alice, juliet, word, romeo.jid)
    await romeo.joins(muc, "romeo")

    await juliet.seals_in(muc, "soft!")
    first = await alice.hears_next()
    await romeo.opens_in("soft!", "juliet", muc, version)
    await alice.says(room, "what light")
    for guest in (juliet, romeo):
        await guest.opens_in("what light", alice.localpart, muc, version)
    await romeo.seals_in(muc, "it is the east")
    second = await alice.hears_next()
    await juliet.opens_in("it is the east", "romeo", muc, version)

    assert [(first.words, first.secret), (second.words, second.secret)] == [
        ("soft!", True),
        ("it is the east", True),
    ]
    assert juliet.unopened == romeo.unopened == alice.unreadable == []
    assert juliet.unsealed == romeo.unsealed == []


async def test_it_outlives_the_bridge(
    world: World, company: Company, word: str
) -> None:
    alice, juliet = await company.on_matrix("alice"), await company.on_xmpp("juliet")
    room, muc = await link(world, alice, juliet, word)
    await juliet.seals_in(muc, "before")
    assert (await alice.hears_next()).words == "before"
    await alice.says(room, "and an answer")
    await juliet.opens_in("and an answer", alice.localpart, muc)

    await world.restart("bridge")
    await juliet.sees_come(muc, "Matrix bridge")
    await juliet.seals_in(muc, "after a restart")
    assert (await alice.hears_next()).words == "after a restart"
    await alice.says(room, "all is well")

    await juliet.opens_in("all is well", alice.localpart, muc)
    assert juliet.unopened_in(muc) == alice.unreadable == []
