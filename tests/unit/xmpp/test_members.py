import asyncio
from collections.abc import AsyncIterator

import pytest

from bridge.xmpp.members import MEMBERS_MAX, Members
from tests.unit.xmpp.elsewhere import MUC, World, build

ROMEO, JULIET = "romeo@montague.lit", "juliet@capulet.lit"
ALICES = "alice_hs.example@bridge.example"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with asyncio.TaskGroup() as tasks:
        yield build(tasks)


@pytest.fixture
async def members(world: World) -> Members:
    return Members(MUC, world.means)


async def test_the_room_tells_who_belongs(world: World, members: Members) -> None:
    """XEP-0045 §9.5; those of ours know what is said anyway."""
    world.server.members = [ROMEO, ALICES, "capulet.lit"]

    assert not members.known
    await members.ask()

    assert members.known
    assert members.others() == [ROMEO]


async def test_changes_are_followed(members: Members) -> None:
    """XEP-0045 §9.3, §9.4."""
    members.told(JULIET, "member")
    members.told(ROMEO, "owner")
    members.told("", "owner")
    members.told(JULIET, "none")
    members.told("nobody@x", "outcast")

    assert members.others() == [ROMEO]


async def test_a_room_that_tells_nobody_is_not_trusted(
    world: World, members: Members
) -> None:
    world.server.members = [ROMEO]
    await members.ask()
    world.server.members = []

    await members.ask()

    assert not members.known


async def test_no_room_fills_our_memory(members: Members) -> None:
    for number in range(MEMBERS_MAX + 9):
        members.told(f"p{number}@x", "member")

    assert len(members.others()) == MEMBERS_MAX
