"""What the tests of faults have in common: a room, a storm of words, a verdict."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from deploy.lab.matrix_people import MatrixPerson
from deploy.lab.world import World
from tests.e2e.conftest import Company
from tests.e2e.ledger import LONG_S, Seat, lines, speak_on_matrix, verdict

ENDS = "that was all from Matrix", "that was all from XMPP"


@dataclass
class Scene:
    """A room with a speaker and a silent observer on each network.

    In a MUC elsewhere the archive is asked what was said, unless it is *doubted*: a
    server that is killed may not have written down what it has shown to everybody.
    """

    world: World
    alice: MatrixPerson
    bob: MatrixPerson
    room: str
    speaker: Seat
    observer: Seat
    said: int = 0
    doubted: bool = False

    @property
    def hosted(self) -> bool:
        """Whether Matrix is the room's home."""
        return self.world.xmpp.muc not in self.speaker.room

    async def speak(self, count: int) -> None:
        """Let both speakers say *count* lines more, at the same time."""
        start, self.said = self.said, self.said + count
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.on_matrix(start, count))
            tasks.create_task(self.on_xmpp(start, count))

    async def on_matrix(self, start: int, count: int) -> None:
        """Let Alice say lines."""
        texts = lines("matrix", start, start + count)
        await speak_on_matrix(self.alice, self.room, texts)

    async def on_xmpp(self, start: int, count: int) -> None:
        """Let the speaker of XMPP say lines."""
        await self.speaker.say(lines("xmpp", start, start + count))

    async def during(self, fault: Coroutine[Any, Any, None], count: int = 30) -> None:
        """Let both speak while *fault* happens."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fault)
            tasks.create_task(self.speak(count))

    async def sit_down_again(self) -> None:
        """Enter again, as clients do that were put out with the bridge.

        They also say again what the room never showed, before anything new.
        """
        await self.speaker.take()
        await self.observer.take()
        await self.speaker.say_again(archived=not self.hosted)

    async def end(self) -> None:
        """Say that this was all, after what the room never showed."""
        await self.speaker.say_again(archived=not self.hosted)
        await self.alice.says(self.room, ENDS[0])
        await self.speaker.mark(ENDS[1])

    async def verdicts(self) -> list[str]:
        """Compare what was said with what was seen; say all that is wrong."""
        heard: list[str] = []
        while not set(ENDS) <= set(heard):
            heard.append((await self.bob.hears_next(self.room, LONG_S)).text)
        for end in ENDS:
            await self.observer.has_seen(end)
        shown = await self._shown()
        matrix, xmpp = lines("matrix", 0, self.said), lines("xmpp", 0, self.said)
        again = self.speaker.again
        found = {
            "Matrix, from XMPP": verdict(xmpp, heard, loose=again),
            "Matrix, its own": verdict(matrix, heard),
            "XMPP, from Matrix": verdict(matrix, shown),
            "XMPP, its own": verdict(xmpp, shown, loose=again),
        }
        return [f"{where}: {wrong}" for where, wrong in found.items() if wrong]

    async def _shown(self) -> list[str]:
        if self.hosted or self.doubted:
            await self.observer.mark("seen all")
            return self.observer.seen()
        kept = await self.speaker.person.archive(self.speaker.room)
        return [message.text for message in kept]


async def hosted_room(world: World, company: Company, word: str) -> Scene:
    """Open a Matrix room that people of XMPP enter."""
    alice, bob = await company.on_matrix("Alice"), await company.on_matrix("Bob")
    room = await alice.makes_room(word)
    await bob.joins(room)
    speaker, observer = await _seats(company, world.hosted(word))
    return Scene(world, alice, bob, room, speaker, observer)


async def foreign_muc(world: World, company: Company, word: str) -> Scene:
    """Open a MUC that people of Matrix join."""
    alice, bob = await company.on_matrix("Alice"), await company.on_matrix("Bob")
    jid = f"{word}@{world.xmpp.muc}"
    speaker, observer = await _seats(company, jid)
    room = await alice.joins(world.muc_alias(jid))
    await bob.joins(room)
    return Scene(world, alice, bob, room, speaker, observer)


async def _seats(company: Company, jid: str) -> tuple[Seat, Seat]:
    juliet, romeo = await company.on_xmpp("juliet"), await company.on_xmpp("romeo")
    speaker, observer = Seat(juliet, jid, "Juliet"), Seat(romeo, jid, "Romeo")
    await speaker.take()
    await observer.take()
    return speaker, observer
