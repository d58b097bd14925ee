"""Breaks everything at random for as long as one likes, and counts at the end.

    python -m tests.faults.soak --minutes 60 --seed 1 --servers prosody-sqlite

People speak in several conversations of each kind. The bridge is killed every 5 to 30
seconds; now and then connections break or stand still, the database is locked, or a
server restarts.
"""

import argparse
import asyncio
import secrets
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from tests.e2e.conftest import Company
from tests.e2e.ledger import Account
from tests.faults.delays import Delays
from tests.faults.proxy import Proxy
from tests.faults.scenes import Gathering, Scene
from tests.faults.test_databases import locked
from tests.faults.town import (
    Town,
    direct_chat,
    foreign_muc,
    hosted_room,
    open_people,
    plumbed_room,
)
from tests.faults.world import PLACES, FaultyWorld, Ways, faulty_world
from tests.simulation.dice import Dice

Breaker = Callable[[], Awaitable[None]]

HISTORY = 300
PAUSE_S = 0.5, 5.0
CALM_S = 5.0, 30.0
KILLS = 0.6


@dataclass(frozen=True)
class Figures:
    """What the ledger says at the end."""

    accounts: Sequence[Account]
    faults: Counter[str]
    worst_s: float

    @property
    def wrong(self) -> list[str]:
        """All that is not as promised."""
        return [f"{one.where}: {one.words}" for one in self.accounts if one.words]

    def __str__(self) -> str:
        crossed = [one for one in self.accounts if one.crossed]
        lost = sum(len(one.lost) for one in self.accounts)
        double = sum(len(one.double) for one in self.accounts)
        spare = sum(len(one.double) for one in self.accounts if one.spare)
        inverted = sum(len(one.wrong) for one in self.accounts)
        marked = sum(one.marked for one in self.accounts)
        faults = ", ".join(f"{n} {name}" for name, n in self.faults.most_common())
        return (
            f"{sum(one.said for one in crossed)} messages crossed,"
            f" {self.faults['bridge killed']} crashes of the bridge:"
            f" lost {lost}, doubled {double} ({spare} where one a crash is allowed),"
            f" again as history {marked},"
            f" out of order {inverted}, worst delay {self.worst_s:.1f} s"
            f"\nfaults: {faults}"
        )


@dataclass
class Soak:
    """One run: who speaks, what breaks, and what came of it."""

    world: FaultyWorld
    ways: Ways
    town: Town
    dice: Dice
    faults: Counter[str] = field(default_factory=Counter)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    xmpp: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever speaks on XMPP, and while nobody there may."""

    async def run(self, minutes: float) -> Figures:
        """Let all happen for so long, then compare."""
        delays = Delays(self.town)
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(delays.watch())
            await self._storm(minutes)
            accounts = await self.town.accounts()
            watching.cancel()
        return Figures(accounts, self.faults, delays.worst())

    async def _storm(self, minutes: float) -> None:
        async with asyncio.TaskGroup() as tasks:
            for scene in self.town.scenes:
                tasks.create_task(self._matrix_speaks(scene))
                tasks.create_task(self._xmpp_speaks(scene))
            until = time.monotonic() + 60 * minutes
            while (left := until - time.monotonic()) > 0:
                await asyncio.sleep(min(left, self.dice.span(*CALM_S)))
                await self._break()
            self.over.set()
        await self._return()

    async def _matrix_speaks(self, scene: Scene) -> None:
        while not self.over.is_set():
            await scene.on_matrix(self.dice.whole(1, 3))
            await asyncio.sleep(self.dice.span(*PAUSE_S))

    async def _xmpp_speaks(self, scene: Scene) -> None:
        while not self.over.is_set():
            async with self.xmpp:
                await scene.on_xmpp(self.dice.whole(1, 3))
            await asyncio.sleep(self.dice.span(*PAUSE_S))

    async def _break(self) -> None:
        if self.dice.chance(KILLS):
            await self._kill()
            return
        ways = self.ways
        breakers: Sequence[Breaker] = (
            self._cut_stream,
            lambda: self._cut("homeserver cut", ways.homeserver),
            lambda: self._cut("transaction cut", ways.appservice),
            lambda: self._hold("homeserver held", ways.homeserver),
            lambda: self._hold("transactions held", ways.appservice),
            lambda: self._hold("stream held", ways.component),
            self._lock,
            self._restart_synapse,
            self._restart_xmpp,
        )
        await self.dice.pick(breakers)()

    async def _kill(self) -> None:
        self.faults["bridge killed"] += 1
        self.town.bridge_fell()
        await self.world.crash("bridge")
        await self._return()

    async def _cut(self, name: str, way: Proxy) -> None:
        self.faults[name] += 1
        await way.cut()

    async def _cut_stream(self) -> None:
        self.town.stream_fell()
        self.faults["stream cut"] += 1
        # What people send over a stream that was just cut is lost with it.
        await self.ways.component.cut_and_joined_again()
        await self._return()

    async def _hold(self, name: str, way: Proxy) -> None:
        self.faults[name] += 1
        half = way.back if self.dice.chance(0.5) else way.there
        half.hold()
        await asyncio.sleep(self.dice.span(0.5, 4.0))
        half.release()

    async def _lock(self) -> None:
        self.faults["database locked"] += 1
        self.town.stream_fell()  # what cannot be kept is not read, and then closed
        await locked(self.world, self.ways)
        await self._return()

    async def _restart_synapse(self) -> None:
        self.faults["Synapse killed"] += 1
        await self.world.crash("synapse")

    async def _restart_xmpp(self) -> None:
        self.faults["XMPP server killed"] += 1
        async with self.xmpp:
            for person in (self.town.juliet, self.town.romeo):
                await person.has_passed(self.world.xmpp.muc)
            self.town.xmpp_fell()
            await self.world.crash("xmpp")
            await self.town.log_in_again()
            await self.town.come_back()

    async def _return(self) -> None:
        """Let people come back, and say again what was lost, before anything new."""
        async with self.xmpp:
            await self.town.come_back()


async def soak(world: FaultyWorld, ways: Ways, minutes: float, seed: int) -> Figures:
    """Fill a town with people, and break things there."""
    async with AsyncExitStack() as ends:
        company = Company(world, ends)
        town = await open_people(world, company)
        word = f"soak{secrets.token_hex(3)}"
        town.scenes = [
            await hosted_room(town, f"{word}a"),
            await hosted_room(town, f"{word}b"),
            await foreign_muc(town, f"{word}c"),
            await foreign_muc(town, f"{word}d"),
            await plumbed_room(town, f"{word}e"),
            await direct_chat(town, town.cast.alice),
            await direct_chat(town, town.cast.bob),
        ]
        for scene in town.scenes:
            if isinstance(scene, Gathering):
                scene.speaker.history = scene.observer.history = HISTORY
        return await Soak(world, ways, town, Dice(seed)).run(minutes)


async def alone(place: str, minutes: float, seed: int) -> Figures:
    """Run with servers of its own."""
    with faulty_world(place) as world:
        async with world.bridged() as ways:
            return await soak(world, ways, minutes, seed)


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--servers", choices=PLACES, default=PLACES[0])
    asked = parser.parse_args()
    print(f"{asked.servers}, {asked.minutes:g} minutes, seed {asked.seed}", flush=True)
    figures = asyncio.run(alone(asked.servers, asked.minutes, asked.seed))
    print(figures)
    for words in figures.wrong:
        print(f"WRONG  {words}")
    return 1 if figures.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
