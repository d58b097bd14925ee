"""Who listens between the bridge and the servers learns nothing of secret words."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.e2e.secret_company import Company, meet
from tests.faults.world import FaultyWorld, Ways

USUAL = ("prosody-sqlite",)


@pytest.fixture
async def company(world: FaultyWorld, tmp_path: Path) -> AsyncIterator[Company]:
    async with AsyncExitStack() as ends:
        yield Company(world, tmp_path, ends)


async def test_no_way_carries_secret_words(
    world: FaultyWorld, ways: Ways, company: Company
) -> None:
    """OMEMO on XMPP, Megolm on Matrix: every byte of all ways, both directions."""
    alice, juliet = await company.on_matrix("alice"), await company.on_xmpp("juliet")
    ghost, puppet = world.ghost(juliet), alice.puppet(world)
    room = await meet(world, alice, juliet)
    canary = f"canary-{secrets.token_hex(6)}"
    heard = [
        bytearray() for _ in (ways.component, ways.homeserver, ways.appservice) * 2
    ]
    (
        ways.component.there.overheard,
        ways.component.back.overheard,
        ways.homeserver.there.overheard,
        ways.homeserver.back.overheard,
        ways.appservice.there.overheard,
        ways.appservice.back.overheard,
    ) = heard

    await alice.says(room, f"{canary}-there")
    await juliet.opens(f"{canary}-there", puppet)
    await juliet.seals(puppet, f"{canary}-back")
    await alice.hears(f"{canary}-back", room, ghost)
    await juliet.says(puppet, "a plain word")
    while (await alice.hears_next()).words != "a plain word":
        pass

    assert [canary.encode() in one for one in heard] == [False] * 6
    assert b"<encrypted" in heard[0]
    assert b"<encrypted" in heard[1]
    assert b"a plain word" in heard[1]
    assert b"m.room.encrypted" in heard[2]
    assert b"m.room.encrypted" in heard[4]
