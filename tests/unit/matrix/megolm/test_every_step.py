"""Whatever is under way with keys, the power goes at each of its steps in turn.

A step is a request before it has its effect, one whose answer is lost, a commit that
was not made, one of which nobody heard. What follows has to go on as if nothing was.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bridge.core.ports import Unit
from bridge.matrix.megolm import account, healing, letters
from bridge.matrix.megolm.own import Own
from bridge.matrix.megolm.ports import Feed, Plain, Role
from tests.unit.matrix.megolm.key_server import FakeKeyServer
from tests.unit.matrix.megolm.party import (
    ALICE,
    BOB,
    BOT,
    GHOST,
    Fuse,
    Party,
    PowerCutError,
    room,
)
from tests.unit.matrix.megolm.ratchets import spoken, used_twice

PEOPLE = (ALICE, BOB)
ALL = room(GHOST, BOT, *PEOPLE)
HERE = room(GHOST, BOT, ALICE)


class Scene:
    """A bridge with a bot and a ghost, and two people; *said* is all that left."""

    def __init__(self) -> None:
        self.server = FakeKeyServer()
        self.bridge = Party(self.server, bridge=True)
        self.people = {user: Party(self.server) for user in PEOPLE}
        self.said: list[dict[str, Any]] = []
        self.refusals_max = 0
        self.identities: dict[str, Any] = {}

    async def begin(self) -> None:
        await self.bridge.start()
        for user, party in self.people.items():
            await (await party.start()).joins(user)
        await self.bridge.joins(BOT)
        await self.bridge.joins(GHOST, Role.OCCUPANT)
        self.identities = dict(self.server.identities)

    async def says(self, where: Any = ALL) -> None:  # noqa: ANN401 - a room
        self.said.append(await self.bridge.says(GHOST, where, "x"))

    async def hears(self, **feed: Any) -> None:  # noqa: ANN401 - as Feed has it
        unit = Unit()
        await self.bridge.machine.received(unit, BOT, Feed(**feed))
        await self.bridge.store.commit(unit)
        await self.bridge.machine.catch_up(BOT)

    async def own(self, user: str) -> Own:
        return await self.bridge.machine._accounts.get(user)

    async def device(self, user: str) -> str:
        found = await self.bridge.machine.device(user)
        assert found
        return found


Act = Callable[[Scene], Awaitable[None]]


async def nothing(_: Scene) -> None:
    """Have nothing to prepare."""


async def first_words(scene: Scene) -> None:
    """A session is made, two people are given its key, each by their own letter."""
    await scene.says()


async def more_words(scene: Scene) -> None:
    await scene.says()
    await scene.says()


async def words_without_bob(scene: Scene) -> None:
    """Somebody has left: another session."""
    await scene.says(HERE)


async def words_to_alice(scene: Scene) -> None:
    await scene.says(HERE)


async def a_new_ghost_speaks(scene: Scene) -> None:
    """From its device on, all is new."""
    event = await scene.bridge.says("@_xmpp_romeo:hs", ALL, "x")
    scene.said.append(event)


async def keys_run_out(scene: Scene) -> None:
    device = await scene.device(BOT)
    scene.server.one_time[BOT, device].clear()
    scene.server.fallback_unused[BOT, device] = False


async def restocking(scene: Scene) -> None:
    """The feed tells what is missing; after a crash it tells that again."""
    there = len(scene.server.one_time[BOT, await scene.device(BOT)])
    unused = scene.server.fallback_unused[BOT, await scene.device(BOT)]
    await scene.hears(one_time=there, fallback=unused)


async def a_copy_was_there(scene: Scene, rounds: int = 1) -> None:
    """Another instance, on a copy of the database, has uploaded keys of its own."""
    copy = Party(scene.server, bridge=True)
    copy.disk.records.update(scene.bridge.disk.records)
    await copy.start()
    await keys_run_out(scene)
    for _ in range(rounds):
        await copy.machine.received(Unit(), BOT, Feed(one_time=0))
        await copy.machine.catch_up(BOT)
    scene.refusals_max = 2 * rounds


async def a_copy_was_busy(scene: Scene) -> None:
    """It has taken the next names as well, so that no other keys help."""
    await a_copy_was_there(scene, 2)


async def clashing(scene: Scene) -> None:
    await scene.hears(one_time=0)


async def device_removed(scene: Scene) -> None:
    device = await scene.device(GHOST)
    await scene.server.delete_device(GHOST, device)


async def session_broken(scene: Scene) -> None:
    """Alice writes by a session that the bot has lost."""
    alice = scene.people[ALICE]
    await alice.says(ALICE, room(BOT, ALICE), "x")
    own = await alice.machine._accounts.get(ALICE)
    bot = await scene.own(BOT)
    bot.broken[own.curve] = ALICE


async def mending(scene: Scene) -> None:
    own = await scene.people[ALICE].machine._accounts.get(ALICE)
    (await scene.own(BOT)).broken[own.curve] = ALICE
    await scene.bridge.machine.catch_up(BOT)


async def backup_restored(scene: Scene) -> None:
    await scene.says()


async def recovering(scene: Scene) -> None:
    if scene.bridge.machine._accounts.epoch == 0:
        await scene.bridge.machine.recover()
    await scene.bridge.joins(BOT)
    await scene.says()


SCENES: list[tuple[Act, Act]] = [
    (nothing, first_words),
    (first_words, more_words),
    (first_words, words_without_bob),
    (words_to_alice, first_words),
    (nothing, a_new_ghost_speaks),
    (keys_run_out, restocking),
    (a_copy_was_there, clashing),
    (a_copy_was_busy, clashing),
    (device_removed, first_words),
    (session_broken, mending),
    (backup_restored, recovering),
]


async def play(before: Act, act: Act, at: int) -> bool:
    """Play a scene with the power cut at step *at*; tell whether it went that far."""
    scene = Scene()
    await scene.begin()
    await before(scene)
    scene.bridge.step = scene.server.step = Fuse(at)
    went = False
    try:
        await act(scene)
    except PowerCutError:
        went = True
    scene.bridge.step = scene.server.step = lambda _: None
    if went:
        await scene.bridge.start()
        await act(scene)
    await scene.says()
    await check(scene)
    return went


async def check(scene: Scene) -> None:
    """All that left is read, nothing was used twice, and everybody is who they were."""
    names = sorted({user for user, _ in scene.server.names})
    changed = [user for user in names if user not in PEOPLE]
    for user, party in scene.people.items():
        await party.hears(user, changed=changed)
        own = await party.machine._accounts.get(user)
        assert own.broken == {}
    for event in scene.said:
        assert isinstance(await scene.people[ALICE].reads(event), Plain)
    assert isinstance(await scene.people[BOB].reads(scene.said[-1]), Plain)
    places = list(map(spoken, scene.said))
    assert len(set(places)) == len(places)
    assert used_twice(scene.server.txns.values()) == []
    assert len(scene.server.names) == len(names), "more devices than users"
    for user, identity in scene.identities.items():
        assert scene.server.identities[user] == identity
    refused = [one for one in scene.server.refused if "exists" in one]
    assert bool(refused) == bool(scene.refusals_max)
    assert len(refused) <= scene.refusals_max


@pytest.mark.parametrize(("before", "act"), SCENES, ids=lambda one: one.__name__)
async def test_at_whatever_step_it_ends_it_goes_on(
    before: Act, act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 32, S24: no key is lost, doubled or refused, no ratchet turns twice."""
    monkeypatch.setattr(letters, "BATCH_MAX", 1)
    monkeypatch.setattr(account, "FALLBACK_S", 0)
    monkeypatch.setattr(healing, "EVERY_S", 0)
    at = 1
    while await play(before, act, at):
        at += 1

    assert at > 2
