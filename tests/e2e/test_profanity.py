"""Profanity in a terminal: plain and with OMEMO, whose code there is none of ours."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.lab import next_release
from deploy.lab.proving import REQUIRED
from deploy.lab.words import LabError
from deploy.lab.world import World
from deploy.lab.xmpp_people import XmppPerson
from tests.e2e.conftest import Company
from tests.e2e.nio_people import NioPerson
from tests.e2e.profanity import Profanity
from tests.e2e.secret_rooms import asked_into

VERSIONS = ("0.13", "0.15")


@dataclass
class Scene:
    """Alice on Matrix, Juliet's terminal, and who else she is in her own log."""

    world: World
    alice: NioPerson
    juliet: XmppPerson
    client: Profanity

    @property
    def ghost(self) -> str:
        return self.world.ghost(self.juliet)

    @property
    def puppet(self) -> str:
        return self.alice.puppet(self.world)

    async def logs_in(self) -> None:
        port = self.world.xmpp.c2s_port
        await self.client.logs_in(self.juliet.jid, self.juliet.password, port)

    async def seals_from_now_on(self) -> None:
        await self.client.types("/omemo trustmode blind")
        await self.client.types("/omemo gen")
        await self.client.sees("materials generated")

    async def begins(self, words: str) -> str:
        """Write to Alice, sealed, and let her join; return the room."""
        await self.client.types(f"/msg {self.puppet}")
        await self.client.seals()
        await self.client.types(words)
        room = await self.alice.is_invited(self.ghost)
        await self.alice.joins(room)
        await self.alice.hears(words, room, self.ghost)
        return room


def command(version: str) -> list[str]:
    """Return what starts Profanity in that version; skip where it cannot be had."""
    missing = [one for one in ("profanity", "tmux") if shutil.which(one) is None]
    if missing and not os.environ.get(REQUIRED):
        pytest.skip(f"no {missing}")
    if version == "0.13":
        return ["profanity"]
    if not (os.environ.get(REQUIRED) or next_release.is_unpacked()):
        pytest.skip("tests/run unpacks the newer Profanity")
    try:
        return next_release.profanity()
    except LabError as error:
        pytest.skip(str(error))


@pytest.fixture(params=VERSIONS)
async def scene(
    request: pytest.FixtureRequest,
    world: World,
    company: Company,
    word: str,
    tmp_path: Path,
) -> AsyncIterator[Scene]:
    program = command(request.param)
    juliet = await company.on_xmpp("juliet")
    async with AsyncExitStack() as ends:
        alice = NioPerson(world.synapse, f"alice-{word}", tmp_path / "alice")
        await ends.enter_async_context(alice)
        client = Profanity(tmp_path / "profanity", program)
        await ends.enter_async_context(client)
        yield Scene(world, alice, juliet, client)


async def test_profanity_begins_and_is_answered(scene: Scene) -> None:
    await scene.juliet.log_out()
    await scene.logs_in()
    await scene.seals_from_now_on()
    room = await scene.begins("a beginning")

    await scene.alice.says(room, "and an answer")
    await scene.client.sees("and an answer")
    await scene.client.types("and more")

    await scene.alice.hears("and more", room, scene.ghost)


async def test_a_chat_and_a_room_in_the_clear(
    scene: Scene, company: Company, word: str
) -> None:
    bob = await company.on_matrix("Bob Büßer")
    hall = await bob.makes_room(word, name="The hall", topic="Of this and that")
    puppet, ghost = scene.world.puppet(bob), scene.ghost
    await scene.juliet.log_out()
    await scene.logs_in()

    await scene.client.types(f"/msg {puppet} hello Bob")
    room = await bob.is_invited(ghost)
    await bob.joins(room)
    await bob.hears("hello Bob", ghost, room)
    await bob.says(room, "hello yourself")
    await scene.client.sees(": hello yourself")
    await scene.client.types(f"/join {scene.world.hosted(word)}")
    await scene.client.sees("Of this and that")
    await bob.sees_member(hall, ghost)
    await scene.client.types("a fine hall")
    await bob.hears("a fine hall", ghost, hall)
    await bob.says(hall, "is it not?")
    screen = await scene.client.sees("Bob Büßer: is it not?")

    assert "The hall" in screen
    assert screen.count("a fine hall") == 1


@pytest.mark.all_clients
async def test_a_private_room_sealed(scene: Scene) -> None:
    """She is a contact of nobody; the relay asks to be hers.

    On Prosody Profanity lists no device at first (it waits for an error with the code
    404): whoever is to write to it has to have read from it before, or the relay. Since
    Prosody 13 that is no secret, and only the keys are for contacts.

    0.15 has the keys at once because the relay has told of its devices before, as her
    answer comes before what she asks next.
    """
    relay = f"relay@{scene.world.xmpp.component}"
    room = await scene.alice.gathers(scene.ghost)
    hall = await asked_into(scene.juliet)
    await scene.juliet.log_out()
    await scene.logs_in()
    await scene.seals_from_now_on()
    await scene.client.types(f"/join {hall}")
    await scene.client.sees("You have joined the room")
    await scene.client.types("/win 1")
    await scene.client.types(f"/disco info {relay}")
    await scene.client.sees("http://jabber.org/protocol/pubsub#item-ids")
    await scene.client.types(f"/join {hall}")
    await scene.client.sees("You have joined the room")
    await scene.client.seals(relay, tries=1)

    await scene.client.types("soft!")
    await scene.alice.hears("soft!", room, scene.ghost)
    await scene.client.types("/win 1")
    await scene.client.sees("authorization request")
    await scene.client.types(f"/join {hall}")
    await scene.client.types(f"/sub allow {relay}")
    await scene.alice.says(room, "what light")
    await scene.client.sees(": what light")
    await scene.world.restart("bridge")
    await scene.alice.says(room, "after the bridge")
    await scene.client.sees(": after the bridge")
    await scene.client.types("still here")
    await scene.alice.hears("still here", room, scene.ghost)


@pytest.mark.all_clients
@pytest.mark.parametrize("contacts", [True, False])
async def test_restarts(scene: Scene, *, contacts: bool) -> None:
    await scene.juliet.log_out()
    await scene.logs_in()
    await scene.seals_from_now_on()
    room = await scene.begins("a beginning")
    if contacts:
        await scene.client.types(f"/sub request {scene.puppet}")
        await scene.client.types(f"/sub allow {scene.puppet}")
        await scene.client.sees("[online]")

    await scene.world.restart("bridge")
    await scene.alice.says(room, "after the bridge")
    await scene.client.sees(": after the bridge")
    await scene.client.types("still here")
    await scene.alice.hears("still here", room, scene.ghost)
    await scene.client.restarts()
    await scene.alice.says(room, "while you were away")
    await scene.logs_in()
    await scene.client.sees("chat message")
    await scene.client.types(f"/msg {scene.puppet}")
    await scene.client.sees(": while you were away")
    await scene.client.seals()
    await scene.client.types("all is well")

    await scene.alice.hears("all is well", room, scene.ghost)


@pytest.mark.all_clients
async def test_matrix_begins(scene: Scene) -> None:
    """What could not be sealed arrives once she has written.

    On Prosody there is no list of hers that a contact could read; see above.
    """
    listed = not scene.world.kind.startswith("prosody")
    await scene.juliet.log_out()
    await scene.logs_in()
    await scene.seals_from_now_on()
    await scene.alice.looks_up(scene.juliet.jid)
    room = await scene.alice.starts_chat(scene.ghost)
    await scene.alice.says(room, "soft!")
    if listed:
        await scene.client.sees("chat message")
    else:
        await scene.alice.hears_next()
    if scene.world.kind == "prosody":
        await scene.client.sees("authorization request")
        await scene.client.types(f"/sub allow {scene.puppet}")
    await scene.client.types(f"/msg {scene.puppet}")
    await scene.client.seals()
    await scene.client.types("what light")

    await scene.alice.hears("what light", room, scene.ghost)
    await scene.client.sees(": soft!")
