"""Converse.js in a browser: plain and with OMEMO, whose code there is none of ours.

It shows what was said while its browser was away. What it is just being told when its
page is loaded again it may confirm without keeping it (XEP-0198), and what comes before
it has its own keys again it never reads: nothing is said then.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

from deploy.lab import node
from deploy.lab.world import World
from deploy.lab.xmpp_people import XmppPerson
from tests.e2e.conftest import Company
from tests.e2e.converse import Converse
from tests.e2e.nio_people import NioPerson
from tests.e2e.secret_rooms import asked_into

pytestmark = pytest.mark.all_clients


@dataclass
class Scene:
    """Alice on Matrix, Juliet's browser, and who else she is in her own log."""

    world: World
    alice: NioPerson
    juliet: XmppPerson
    client: Converse

    @property
    def ghost(self) -> str:
        return self.world.ghost(self.juliet)

    @property
    def puppet(self) -> str:
        return self.alice.puppet(self.world)

    async def logs_in(self) -> None:
        await self.juliet.log_out()
        await self.client.logs_in(self.juliet.jid, self.juliet.password)

    async def comes_back(self) -> None:
        await self.client.comes_back(self.juliet.jid, self.juliet.password)


@dataclass
class Talk:
    """A conversation of Juliet's, as *me*, with somebody of Matrix, *name*."""

    scene: Scene
    me: str
    name: str
    says: Callable[[str], Awaitable[object]]
    hears: Callable[[str], Awaitable[object]]
    opens: Callable[[], Awaitable[None]]
    sealed: bool = False

    async def both_ways(self, when: str) -> None:
        """Say something on both sides, and see both of it in the browser."""
        client = self.scene.client
        await self.says(f"{when}?")
        await client.sees(f"{when}?", self.name, sealed=self.sealed)
        await client.says(f"{when}!")
        await self.hears(f"{when}!")
        await client.sees(f"{when}!", self.me, sealed=self.sealed)

    async def outlives_all(self) -> None:
        """Go on after the bridge, the page and the browser were started anew."""
        client = self.scene.client
        await self.both_ways("at first")
        await self.scene.world.restart("bridge")
        await self.both_ways("after the bridge")
        await client.reloads()
        await self.opens()
        await self.both_ways("after the page")
        await client.leaves()
        await self.says("while you were away")
        await self.scene.comes_back()
        await self.opens()
        await client.sees("while you were away", self.name, sealed=self.sealed)
        await self.both_ways("at last")
        for when in ("at first", "after the bridge", "after the page"):
            await client.sees(f"{when}?", self.name, sealed=self.sealed)
            await client.sees(f"{when}!", self.me, sealed=self.sealed)


@pytest.fixture
async def scene(
    world: World, company: Company, word: str, tmp_path: Path
) -> AsyncIterator[Scene]:
    browser, dist = node.browser(), node.converse()
    if browser is None or dist is None:
        pytest.skip("needs Chromium, and tests/run --all-clients for Converse.js")
    juliet = await company.on_xmpp("juliet")
    async with AsyncExitStack() as ends:
        alice = NioPerson(world.synapse, f"alice-{word}", tmp_path / "alice")
        await ends.enter_async_context(alice)
        port = world.xmpp.web_port
        client = Converse(tmp_path / "browser", [browser], dist, port)
        await ends.enter_async_context(client)
        yield Scene(world, alice, juliet, client)


async def test_a_chat_in_the_clear(scene: Scene, company: Company) -> None:
    bob = await company.on_matrix("Bob Büßer")
    puppet, ghost = scene.world.puppet(bob), scene.ghost
    await scene.logs_in()
    await scene.client.opens(puppet)
    await scene.client.says("hello Bob")
    room = await bob.is_invited(ghost)
    await bob.joins(room)
    await bob.hears("hello Bob", ghost, room)

    await Talk(
        scene,
        me=scene.juliet.jid,
        name="Bob Büßer",
        says=lambda words: bob.says(room, words),
        hears=lambda words: bob.hears(words, ghost, room),
        opens=lambda: scene.client.opens(puppet),
    ).outlives_all()


async def test_a_room_in_the_clear(scene: Scene, company: Company, word: str) -> None:
    bob = await company.on_matrix("Bob Büßer")
    room = await bob.makes_room(word, name="The hall", topic="Of this and that")
    hall, ghost = scene.world.hosted(word), scene.ghost
    await scene.logs_in()
    await scene.client.joins(hall, "Juliet")
    await bob.sees_member(room, ghost)

    await Talk(
        scene,
        me="Juliet",
        name="Bob Büßer",
        says=lambda words: bob.says(room, words),
        hears=lambda words: bob.hears(words, ghost, room),
        opens=lambda: scene.client.joins(hall, "Juliet"),
    ).outlives_all()


@pytest.mark.parametrize("contacts", [True, False])
async def test_a_sealed_chat(scene: Scene, *, contacts: bool) -> None:
    for kind in ("subscribe", "subscribed") if contacts else ():
        about = {"to": scene.puppet, "type": kind}
        await scene.juliet.send(Element("presence", about))
    await scene.juliet.has_passed(scene.puppet)
    await scene.logs_in()
    await opens_sealed(scene)
    await scene.client.says("a beginning")
    room = await scene.alice.is_invited(scene.ghost)
    await scene.alice.joins(room)
    await scene.alice.hears("a beginning", room, scene.ghost)

    await sealed_chat(scene, room).outlives_all()


async def test_a_sealed_chat_that_matrix_begins(scene: Scene) -> None:
    await scene.logs_in()
    await scene.client.opens(scene.puppet)
    await scene.client.can_seal()
    await scene.alice.looks_up(scene.juliet.jid)
    room = await scene.alice.starts_chat(scene.ghost)

    await scene.alice.says(room, "soft!")
    await scene.client.sees("soft!", scene.alice.localpart, sealed=True)
    await opens_sealed(scene)
    await sealed_chat(scene, room).both_ways("what light")


async def test_a_private_room_sealed(scene: Scene) -> None:
    async def opens() -> None:
        await scene.client.joins(hall, "Juliet")
        await scene.client.seals()

    room = await scene.alice.gathers(scene.ghost)
    hall = await asked_into(scene.juliet)
    await scene.logs_in()
    await opens()
    await scene.alice.sees(room, scene.ghost)
    await scene.client.says("a beginning")
    await scene.alice.hears("a beginning", room, scene.ghost)

    await Talk(
        scene,
        me="Juliet",
        name=scene.alice.localpart,
        says=lambda words: scene.alice.says(room, words),
        hears=lambda words: scene.alice.hears(words, room, scene.ghost),
        opens=opens,
        sealed=True,
    ).outlives_all()


async def opens_sealed(scene: Scene) -> None:
    """Open the chat with Alice; whether it is sealed is to be said anew each time."""
    await scene.client.opens(scene.puppet)
    await scene.client.seals()


def sealed_chat(scene: Scene, room: str) -> Talk:
    """Return the chat with Alice, who is in *room*."""
    return Talk(
        scene,
        me=scene.juliet.jid,
        name=scene.alice.localpart,
        says=lambda words: scene.alice.says(room, words),
        hears=lambda words: scene.alice.hears(words, room, scene.ghost),
        opens=lambda: opens_sealed(scene),
        sealed=True,
    )
