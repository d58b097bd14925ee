"""More people of Matrix in an encrypted MUC than may have a device each there.

The bridge runs with room for one, so that two are too many.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from bridge.xmpp.muc_secrecy import CROWDED
from deploy.lab.world import World
from tests.e2e.nio_people import NioPerson, Said
from tests.e2e.secret_people import LEGACY, OMEMO2
from tests.e2e.secret_rooms import Company
from tests.e2e.test_omemo_mucs import link

NARROW = """#!{python}
import sys
from bridge.xmpp import muc_secrecy
muc_secrecy.PUPPETS_MAX = 1
from bridge.__main__ import main
sys.exit(main())
"""
BRIDGE = "Matrix bridge"
OF_MATRIX = ("for myself", "through the bridge", "still myself")


@pytest.fixture
async def company(world: World, tmp_path: Path) -> AsyncIterator[Company]:
    async with AsyncExitStack() as ends:
        yield Company(world, tmp_path, ends)


@asynccontextmanager
async def narrow(world: World, folder: Path) -> AsyncIterator[None]:
    """Run a bridge that lets one person of Matrix have a device in a MUC."""
    usual, program = world.gateway.command, folder / "narrow"
    program.write_text(NARROW.format(python=sys.executable), encoding="utf-8")
    program.chmod(0o755)
    world.gateway.command = program
    try:
        await world.restart("bridge")
        yield
    finally:
        world.gateway.command = usual
        await world.restart("bridge")


async def hears(person: NioPerson, words: str) -> Said:
    """Wait for *words*, past what the bridge and others of Matrix say."""
    while (said := await person.hears_next()).words != words:
        assert said.words in (CROWDED, *OF_MATRIX)
    return said


@pytest.mark.parametrize(("speaks", "version"), [("legacy", LEGACY), ("new", OMEMO2)])
async def test_the_bridge_speaks_for_whom_there_is_no_room(
    world: World,
    company: Company,
    word: str,
    tmp_path: Path,
    speaks: str,
    version: str,
) -> None:
    async with narrow(world, tmp_path):
        alice, bob = await company.on_matrix("alice"), await company.on_matrix("bob")
        juliet = await company.on_xmpp("juliet", speaks)
        room, muc = await link(world, alice, juliet, word)
        await bob.joins(room)
        await alice.sees(room, bob.id)

        mine, through, still = OF_MATRIX
        await alice.says(room, mine)
        await juliet.opens_in(mine, alice.localpart, muc, version)
        await bob.says(room, through)
        await juliet.opens_in(f"{bob.localpart}: {through}", BRIDGE, muc, version)
        await alice.says(room, still)
        await juliet.opens_in(still, alice.localpart, muc, version)
        await juliet.seals_in(muc, "to both, once")

        for person in (alice, bob):
            assert (await hears(person, "to both, once")).secret
        await juliet.seals_in(muc, "and once more")
        assert (await bob.hears_next()).words == "and once more"
        assert juliet.unopened_in(muc) == juliet.unsealed == alice.unreadable == []
