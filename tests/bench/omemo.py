"""Measures what OMEMO costs the bridge, between real servers.

Both legs are encrypted: matrix-nio on Matrix, slixmpp-omemo on XMPP. The processor time
of the bridge's process is read before and after; of a chat that is plain on XMPP it is
measured, too, so that the difference is what OMEMO costs, storage included. Run it with
``python -m tests.bench.omemo``.
"""

import argparse
import asyncio
import os
import secrets
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.lab.world import SERVERS, World, place_for
from deploy.lab.xmpp_people import Cast, XmppPerson
from tests.e2e.nio_people import NioPerson
from tests.e2e.secret_people import PROGRAM, SecretPerson

WARM_UP = 20


def spent_s(pid: int) -> float:
    """Return how long the process *pid* has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def cost_ms(
    world: World, alice: NioPerson, juliet: XmppPerson, count: int, *, sealed: bool
) -> tuple[float, float]:
    """Return what a message to Juliet costs, and one of hers."""
    puppet, ghost = alice.puppet(world), world.ghost(juliet)
    await alice.looks_up(juliet.jid)
    room = await alice.starts_chat(ghost)
    if not sealed:
        await alice.says(room, "!xmpp plaintext allow")
        await juliet.hears_next(puppet)
    pid = world.bridge.pid
    begun = 0.0
    for number in range(count + WARM_UP):
        if number == WARM_UP:
            begun = spent_s(pid)
        await alice.says(room, f"message {number}")
        await juliet.hears_next(puppet)
    there = (spent_s(pid) - begun) / count
    seals = juliet.seals if isinstance(juliet, SecretPerson) else juliet.says
    for number in range(count + WARM_UP):
        if number == WARM_UP:
            begun = spent_s(pid)
        await seals(puppet, f"answer {number}")
        while (await alice.hears_next()).words != f"answer {number}":
            pass
    return there * 1000, (spent_s(pid) - begun) / count * 1000


async def measure(world: World, count: int) -> None:
    """Bring people in, let them talk, and print the costs."""
    async with AsyncExitStack() as ends:
        folder = Path(ends.enter_context(TemporaryDirectory()))
        python = Path(sys.executable)
        plain = await ends.enter_async_context(Cast(python, world.xmpp))
        secret = await ends.enter_async_context(Cast(python, world.xmpp, PROGRAM))
        romeo = await plain.person("romeo")
        jid = f"juliet-{secrets.token_hex(3)}@{world.xmpp.host}"
        juliet = SecretPerson(secret, "juliet", jid, "secret", "desk", "legacy")
        await secret.enter(juliet)
        for person, sealed in ((romeo, False), (juliet, True)):
            alice = NioPerson(world.synapse, f"a-{secrets.token_hex(3)}", folder / jid)
            folder = folder / "next"
            async with alice:
                there, back = await cost_ms(world, alice, person, count, sealed=sealed)
            name = "OMEMO" if sealed else "plain"
            print(f"{name}: {there:.2f} ms there, {back:.2f} ms back")


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", choices=sorted(SERVERS), default="prosody")
    parser.add_argument("--count", type=int, default=300)
    asked = parser.parse_args()
    with place_for(f"bench-{asked.server}") as folder:
        world = World(asked.server, Path(sys.executable), folder)
        try:
            world.start()
            asyncio.run(measure(world, asked.count))
        finally:
            world.stop()


if __name__ == "__main__":
    main()
