"""What is said in encrypted rooms while the bridge is down for a minute."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.lab import node
from deploy.lab.world import World
from deploy.lab.xmpp_people import XmppPerson
from tests.e2e.conftest import Company
from tests.e2e.js_people import JsPerson
from tests.e2e.nio_people import NioPerson
from tests.e2e.rooms import until_allowed

ALLOW = "!xmpp plaintext allow"
DOWN_S = 60.0
WORDS = 3

pytestmark = pytest.mark.skipif(
    "BRIDGE_TEST_SHORT" in os.environ, reason="takes long; unset BRIDGE_TEST_SHORT"
)


@pytest.fixture
async def alice(world: World, word: str) -> AsyncIterator[JsPerson]:
    """Somebody with a strict client of Element's code."""
    if world.kind != "prosody":
        pytest.skip("a minute is spent once: the XMPP server has no part in it")
    program = node.client()
    if program is None:
        pytest.skip("tests/run installs matrix-js-sdk, if there is node and npm")
    async with JsPerson(world.synapse, f"alice-{word}", program, strict=True) as one:
        yield one


@pytest.fixture
async def bob(world: World, word: str, tmp_path: Path) -> AsyncIterator[NioPerson]:
    async with NioPerson(world.synapse, f"bob-{word}", tmp_path / "bob") as one:
        yield one


async def open_to(
    world: World, juliet: XmppPerson, alice: JsPerson, bob: NioPerson, word: str
) -> tuple[str, dict[JsPerson | NioPerson, str]]:
    """Have a room of all and a chat with each, whose words may go on in the clear."""
    room = await alice.asks("create", alias=word)
    await bob.joins(room)
    await juliet.joins(world.hosted(word), "Juliet")
    await alice.asks("sees", room=room, user=world.bot)
    await alice.says(room, ALLOW)
    await until_allowed(juliet, world.hosted(word))
    await alice.asks("lookup", jid=juliet.jid)
    ghost = world.ghost(juliet)
    chats: dict[JsPerson | NioPerson, str] = {
        alice: await alice.asks("create", invite=[ghost], direct=True),
        bob: await bob.starts_chat(ghost),
    }
    for person, chat in chats.items():
        await person.says(chat, "hello")
        await person.says(chat, ALLOW)
        heard = ""  # in whichever order: what had to wait may be allowed meanwhile
        while "hello" not in heard.split("\n") or "go on in the clear" not in heard:
            heard += f"{(await juliet.hears_next(person.puppet(world))).text}\n"
    return room, chats


async def test_all_that_is_said_meanwhile_arrives_under_old_keys_and_new(
    world: World, company: Company, alice: JsPerson, bob: NioPerson, word: str
) -> None:
    juliet, hall = await company.on_xmpp("juliet"), world.hosted(word)
    room, chats = await open_to(world, juliet, alice, bob, word)

    assert await world.end_bridge(20) == 0
    began = time.monotonic()
    for number in range(WORDS):
        for place in (room, chats[alice]):
            await alice.says(place, f"alice {number}")
            await alice.asks("turn", room=place)
        for place in (room, chats[bob]):
            await bob.says(place, f"bob {number}")
            await bob.turns_to_another_key(place)
    await asyncio.sleep(DOWN_S - (time.monotonic() - began))
    await world.start_bridge()

    for number in range(WORDS):
        for name, person in (("alice", alice), ("bob", bob)):
            words = f"{name} {number}"
            await juliet.hears(words, person.localpart, hall)
            await juliet.hears(words, person.puppet(world), person.puppet(world))
    await world.crash("bridge")
    await alice.says(room, "after the crash")
    await juliet.hears("after the crash", alice.localpart, hall)
    assert "already exists" not in world.bridge_log()
    # Bob's device is not signed: that much is between the two of them.
    assert {one["sender"] for one in alice.failures} <= {bob.id}
