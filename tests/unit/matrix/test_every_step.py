"""What is said in encrypted rooms, however it ends between any two of its steps.

From the parcel to the answer of the homeserver, and from the key to the event: what
is found on disk then goes on, and everything is said, and heard, once.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from bridge.matrix.megolm import letters
from bridge.matrix.wires import Says, content, wire
from bridge.model.delivery import Delivered
from bridge.model.events import Message
from bridge.model.records import Kind
from tests.unit.matrix.death import Death
from tests.unit.matrix.megolm.ratchets import spoken, used_twice
from tests.unit.matrix.secret import SecretWorld, secret_world
from tests.unit.matrix.world import ALICE, BOB, BOT, GHOST, HALL, parcel

Scene = Callable[[SecretWorld], Awaitable[None]]

NEWCOMER = "@_xmpp_romeo=40montague.lit:hs"


def says(words: str, user: str = GHOST) -> Says:
    said = content({"msgtype": "m.text", "body": words})
    return Says(user, HALL, said, "Juliet", "juliet@capulet.lit")


async def send(secret: SecretWorld, number: int, said: Says) -> None:
    """Have *said* on disk, and send it."""
    one = replace(parcel(wire(said)), id=number)
    secret.matrix.store.disk.outbox[number] = one
    (outcome,) = await secret.matrix.adapter.send([one])
    assert isinstance(outcome, Delivered)
    del secret.matrix.store.disk.outbox[number]


async def first_words(_: SecretWorld) -> None:
    """The ghost has no device, and nobody has a key."""


async def later_words(secret: SecretWorld) -> None:
    await send(secret, 1, says("before"))


async def words_to_who_came_in(secret: SecretWorld) -> None:
    await send(secret, 1, says("before"))
    await secret.alice.joins(BOB)
    secret.matrix.joins(HALL, BOB)
    secret.secrecy.audiences.forget(HALL)


async def words_by_a_device_that_is_gone(secret: SecretWorld) -> None:
    await send(secret, 1, says("before"))
    (device,) = secret.matrix.server.keys.device_keys[GHOST]
    secret.matrix.server.lost.add(device)


async def words_of_another(secret: SecretWorld) -> None:
    await send(secret, 1, says("before", NEWCOMER))


SPEAKING = [
    first_words,
    later_words,
    words_to_who_came_in,
    words_by_a_device_that_is_gone,
    words_of_another,
]


async def speak(before: Scene, at: int) -> bool:
    """Say something that ends at step *at*; tell whether it went that far."""
    async with secret_world() as secret:
        secret.room()
        secret.matrix.link()
        await secret.matrix.adapter._sealed.add(HALL)
        await before(secret)
        death = Death(secret.matrix, at)
        await death.during(send(secret, 7, says("meanwhile")))
        await death.is_over()
        for number, left in dict(secret.matrix.store.disk.outbox).items():
            (outcome,) = await secret.matrix.adapter.send([left])
            assert isinstance(outcome, Delivered)
            del secret.matrix.store.disk.outbox[number]
        await send(secret, 8, says("after"))
        await check(secret)
        return death.came


async def check(secret: SecretWorld) -> None:
    said = [c["body"] for c in await secret.alice_reads()]
    assert said in (["meanwhile", "after"], ["before", "meanwhile", "after"])
    server = secret.matrix.server
    hidden = [e for e in server.rooms[HALL].events if e["type"] == "m.room.encrypted"]
    places = list(map(spoken, hidden))
    assert len(set(places)) == len(places)
    assert used_twice(server.keys.txns.values()) == []
    assert [one for one in server.keys.refused if "exists" in one] == []
    assert len(server.keys.device_keys[GHOST]) == 1
    assert server.bodies(HALL) == []
    own = await secret.alice.machine._accounts.get(ALICE)
    assert own.broken == {}


@pytest.mark.parametrize("before", SPEAKING)
async def test_at_whatever_step_it_ends_it_is_said_once(
    before: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S17, S24: row 5, and the same ciphertext under the same name (C.5)."""
    monkeypatch.setattr(letters, "BATCH_MAX", 1)
    at = 1
    while await speak(before, at):
        at += 1

    assert at > 4


async def hear(agent: str, at: int) -> bool:
    """Hear something, while it ends at step *at*; tell whether it went that far."""
    async with secret_world() as secret:
        secret.room()
        secret.matrix.link()
        if agent != BOT:
            secret.matrix.server.users.add(agent)
            secret.matrix.link(Kind.DIRECT, agent=agent)
            secret.matrix.joins(HALL, agent)
        await secret.listens(agent)
        event = await secret.alice_says("hello")
        death = Death(secret.matrix, at)
        await death.during(_listen_and_read(secret, agent, event))
        came = death.came
        await death.is_over()
        await secret.listens(agent)
        for _ in "12":
            read = await secret.reads(event)
            assert isinstance(read, Message), read
            assert read.content.body.plain == "hello"
        copied = await secret.reads({**event, "event_id": "$copy"})
        assert not isinstance(copied, Message)
        own = await secret.secrecy.machine._accounts.get(agent)
        assert own.broken == {}
        assert secret.matrix.server.keys.refused == []
        return came


async def _listen_and_read(secret: SecretWorld, agent: str, event: Any) -> None:  # noqa: ANN401
    await secret.listens(agent)
    await secret.reads(event)


@pytest.mark.parametrize("agent", [BOT, GHOST], ids=["bot", "ghost"])
async def test_at_whatever_step_it_ends_it_is_heard(agent: str) -> None:
    """S17: what was read is marked with what came of it, and a copy is known."""
    at = 1
    while await hear(agent, at):
        at += 1

    assert at > 4
