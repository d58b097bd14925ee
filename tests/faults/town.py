"""Conversations of every kind that go on side by side while something breaks."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from deploy.lab.matrix_people import MatrixPerson
from deploy.lab.world import World
from deploy.lab.xmpp_people import XmppPerson
from tests.e2e.conftest import Company
from tests.e2e.ledger import Account, Seat, Writer
from tests.e2e.rooms import reachable
from tests.faults import book
from tests.faults.scenes import Cast, Chat, Gathering, Scene


@dataclass
class Town:
    """The same few people, in all these conversations."""

    world: World
    cast: Cast
    juliet: XmppPerson
    romeo: XmppPerson
    scenes: list[Scene] = field(default_factory=list)

    async def speak(self, count: int) -> None:
        """Let everybody say *count* lines more in each conversation, at once."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.on_matrix(count))
            tasks.create_task(self.on_xmpp(count))

    async def on_matrix(self, count: int) -> None:
        """Let Matrix say *count* lines more in each conversation, at once."""
        async with asyncio.TaskGroup() as tasks:
            for scene in self.scenes:
                tasks.create_task(scene.on_matrix(count))

    async def on_xmpp(self, count: int) -> None:
        """Let XMPP say *count* lines more in each conversation."""
        for scene in self.scenes:
            await scene.on_xmpp(count)

    async def during(self, fault: Coroutine[Any, Any, None], count: int) -> None:
        """Let everybody speak while *fault* happens."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fault)
            await self.speak(count)

    def bridge_fell(self) -> None:
        """Take note that in a direct chat one message may come twice."""
        for scene in self.scenes:
            scene.spare += isinstance(scene, Chat)

    def stream_fell(self) -> None:
        """Take note that what the XMPP server had not confirmed is written again.

        In a direct chat that is one message at most. In a room that we host it comes
        as history, which repeats itself: there it does not count as double.
        """
        self.bridge_fell()

    def xmpp_fell(self) -> None:
        """Take note that the XMPP server may have forgotten what it has shown."""
        self.stream_fell()
        for scene in self.scenes:
            if isinstance(scene, Gathering | Chat):
                scene.doubted = True

    async def come_back(self) -> None:
        """Let all go where they were, as clients do; needs the bridge."""
        await self.reach()
        for scene in self.scenes:
            await scene.come_back()

    async def reach(self) -> None:
        """Wait until the bridge can be reached from XMPP again."""
        for person in (self.juliet, self.romeo):
            await reachable(person, self.world.puppet(self.cast.alice))

    async def log_in_again(self) -> None:
        """Let the people of XMPP come back to a server that was away."""
        for person in (self.juliet, self.romeo):
            await person.comes_back()

    async def accounts(self) -> list[Account]:
        """End all conversations; compare what was said with what was seen."""
        for scene in self.scenes:
            await scene.end()
        accounts = [one for scene in self.scenes for one in await scene.accounts()]
        book.note(accounts)
        return accounts

    async def wrong(self) -> list[str]:
        """End all conversations; say all that is wrong."""
        accounts = await self.accounts()
        return [f"{one.where}: {one.words}" for one in accounts if one.words]


async def open_town(world: World, company: Company, word: str) -> Town:
    """Have one conversation of each kind."""
    town = await open_people(world, company)
    town.scenes = [
        await hosted_room(town, word),
        await foreign_muc(town, word),
        await direct_chat(town, town.cast.alice),
    ]
    return town


async def open_people(world: World, company: Company) -> Town:
    """Have the people come, and no conversation yet."""
    alice, bob = await company.on_matrix("Alice"), await company.on_matrix("Bob")
    juliet, romeo = await company.on_xmpp("juliet"), await company.on_xmpp("romeo")
    return Town(world, Cast(alice, bob), juliet, romeo)


async def hosted_room(town: Town, word: str) -> Gathering:
    """Open a Matrix room that people of XMPP enter."""
    room = await town.cast.alice.makes_room(word)
    await town.cast.bob.joins(room)
    speaker, observer = await _seats(town, town.world.hosted(word))
    name = f"the hosted room {word}"
    return Gathering(name, town.cast, room, speaker, observer, archived=False)


async def foreign_muc(town: Town, word: str) -> Gathering:
    """Open a MUC that people of Matrix join."""
    jid = f"{word}@{town.world.xmpp.muc}"
    speaker, observer = await muc_seats(town, word)
    room = await town.cast.alice.joins(town.world.muc_alias(jid))
    await town.cast.bob.joins(room)
    name = f"the MUC {word}"
    return Gathering(name, town.cast, room, speaker, observer, archived=True)


async def plumbed_room(town: Town, word: str) -> Gathering:
    """Link a room of Matrix with a MUC, and have both sides agree."""
    jid, alice = f"{word}@{town.world.xmpp.muc}", town.cast.alice
    speaker, observer = await _seats(town, jid)
    room = await alice.makes_room(word)
    await town.cast.bob.joins(room)
    await alice.invites_to(room, town.world.bot)
    await alice.sees_member(room, town.world.bot)
    await alice.hears_next(room)  # the bridge introduces itself
    await alice.says(room, f"!xmpp bridge {jid}")
    await alice.hears_next(room)
    await town.juliet.hears_next(jid)  # the question
    await town.juliet.says_in(jid, "!matrix accept")
    await town.juliet.hears("!matrix accept", "Juliet", jid)
    await town.juliet.hears_next(jid)
    assert "linked" in (await alice.hears_next(room)).text
    name = f"the plumbed room {word}"
    return Gathering(name, town.cast, room, speaker, observer, archived=True)


async def direct_chat(town: Town, person: MatrixPerson) -> Chat:
    """Let *person* and Juliet write to each other."""
    ghost, puppet = town.world.ghost(town.juliet), town.world.puppet(person)
    room = await person.starts_chat(ghost)
    await person.sees_member(room, ghost)
    await person.says(room, "hello")
    await town.juliet.hears("hello", puppet, puppet)
    writer = Writer(town.juliet, puppet)
    return Chat(f"the chat with {person.name}", person, room, writer, puppet)


async def muc_seats(town: Town, word: str) -> tuple[Seat, Seat]:
    """Have those of XMPP in a MUC, which is there then."""
    return await _seats(town, f"{word}@{town.world.xmpp.muc}")


async def _seats(town: Town, jid: str) -> tuple[Seat, Seat]:
    speaker, observer = Seat(town.juliet, jid, "Juliet"), Seat(town.romeo, jid, "Romeo")
    await speaker.take()
    await observer.take()
    return speaker, observer
