"""An OMEMO chat with Profanity, whose OMEMO shares no code with ours."""

import os
import shutil
from pathlib import Path

import pytest

from deploy.lab.proving import REQUIRED
from deploy.lab.world import World
from tests.e2e.conftest import Company
from tests.e2e.nio_people import NioPerson
from tests.e2e.profanity import Profanity

MISSING = [one for one in ("profanity", "tmux") if shutil.which(one) is None]


@pytest.mark.skipif(
    bool(MISSING) and not os.environ.get(REQUIRED), reason=f"no {MISSING}"
)
async def test_profanity_begins_and_is_answered(
    world: World, company: Company, word: str, tmp_path: Path
) -> None:
    juliet = await company.on_xmpp("juliet")
    await juliet.log_out()
    folder = tmp_path / "alice"
    async with (
        NioPerson(world.synapse, f"alice-{word}", folder) as alice,
        Profanity(tmp_path / "profanity") as client,
    ):
        ghost, puppet = world.ghost(juliet), alice.puppet(world)
        await client.logs_in(juliet.jid, juliet.password, world.xmpp.c2s_port)
        await client.types("/omemo trustmode blind")
        await client.types("/omemo gen")
        await client.sees("OMEMO")
        await client.types(f"/msg {puppet}")
        await client.types("/omemo start")
        await client.sees("[OMEMO]")
        await client.has_keys()
        await client.types("a beginning")
        room = await alice.is_invited(ghost)
        await alice.joins(room)
        await alice.hears("a beginning", room, ghost)
        await alice.says(room, "and an answer")
        await client.sees("and an answer")
        await client.types("and more")

        await alice.hears("and more", room, ghost)
