"""Measures what the bridge adds to a message between real servers, idle.

Synapse, Prosody (or ejabberd) and the bridge on loopback, one message at a time in a
hosted room. *bare* is the time from one Matrix user's send to another's sync; what the
bridge adds is the difference. Run it with ``python -m tests.bench.real``.
"""

import argparse
import asyncio
import secrets
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from deploy.lab.matrix_people import MatrixPerson
from deploy.lab.world import SERVERS, World, place_for
from deploy.lab.xmpp_people import Cast
from tests.bench.drive import percentile

PAUSE_S = 0.1
WARM_UP = 10

Say = Callable[[str], Awaitable[object]]
Hear = Callable[[], Awaitable[object]]


async def times_ms(count: int, say: Say, hear: Hear) -> list[float]:
    """Send *count* messages one at a time; return how long each took to arrive."""
    found = []
    for number in range(count + WARM_UP):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_hear(hear))
            await asyncio.sleep(PAUSE_S)
            begun = time.perf_counter()
            await say(f"message {number}")
        if number >= WARM_UP:
            found.append((time.perf_counter() - begun) * 1000)
    return found


async def _hear(hear: Hear) -> None:
    await hear()


async def measure(world: World, count: int) -> None:
    """Bring people in, let them talk, and print the times."""
    async with AsyncExitStack() as ends:
        alice, bob = [
            await ends.enter_async_context(
                MatrixPerson(world.synapse, name, f"{name}-{secrets.token_hex(3)}")
            )
            for name in ("alice", "bob")
        ]
        for person in (alice, bob):
            await person.log_in()
        cast = await ends.enter_async_context(Cast(Path(sys.executable), world.xmpp))
        juliet = await cast.person(f"juliet-{secrets.token_hex(3)}")
        word = f"bench{secrets.token_hex(3)}"
        room = await alice.makes_room(word)
        await bob.joins(room)
        jid = world.hosted(word)
        await juliet.joins(jid, "Juliet")
        await juliet.says_in(jid, "hello")
        await bob.hears_next(room)
        await juliet.hears_next(jid)

        bare = await times_ms(
            count, lambda text: alice.says(room, text), lambda: bob.hears_next(room)
        )
        await juliet.count(jid, count + WARM_UP, 10)
        out = await times_ms(
            count, lambda text: alice.says(room, text), lambda: juliet.hears_next(jid)
        )
        await bob.count(room, count + WARM_UP, 10)
        back = await times_ms(
            count, lambda text: juliet.says_in(jid, text), lambda: bob.hears_next(room)
        )
    show("Matrix → Matrix (bare)", bare, 0)
    show("Matrix → XMPP", out, statistics.median(bare))
    show("XMPP → Matrix", back, statistics.median(bare))


def show(name: str, found: list[float], bare_ms: float) -> None:
    """Print a line."""
    p50, p95 = statistics.median(found), percentile(found, 0.95)
    added = f"   added p50 {p50 - bare_ms:+.1f} ms" if bare_ms else ""
    print(f"{name:<24} p50 {p50:6.1f} ms   p95 {p95:6.1f} ms{added}")


def main() -> None:
    """Measure beside the servers that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60, help="messages each way")
    parser.add_argument("--server", choices=sorted(SERVERS), default="prosody")
    parsed = parser.parse_args()
    with place_for("bench") as folder:
        world = World(parsed.server, Path(sys.executable), folder)
        try:
            world.start()
            asyncio.run(measure(world, parsed.count))
        finally:
            world.stop()


if __name__ == "__main__":
    main()
