import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

import pytest
from typing_extensions import override

from bridge.core.ports import Unit
from bridge.matrix import sweeping
from bridge.matrix.megolm.ports import Unknown
from bridge.matrix.sweeping import Sweeping
from bridge.model.records import Record
from tests.fakes_store import FakeStore
from tests.unit.matrix.megolm.party import room
from tests.unit.matrix.secret import SecretWorld, secret_world
from tests.unit.matrix.world import ALICE, BOT, GHOST

R = TypeVar("R", bound=Record)


@pytest.fixture
async def secret(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SecretWorld]:
    monkeypatch.setattr(sweeping, "PAUSE_S", 0.001)
    async with secret_world() as world:
        world.matrix.server.users.add(GHOST)
        yield world


async def swept(secret: SecretWorld) -> None:
    """Let each ghost be asked for once."""
    feed = secret.secrecy.feed
    feed._connected = True
    await Sweeping(secret.matrix.store, feed, BOT)._sweep()


async def test_what_nobody_asks_for_is_fetched_and_kept(secret: SecretWorld) -> None:
    await secret.secrecy.welcome(GHOST)
    here = room(GHOST, ALICE)
    event = await secret.alice.says(ALICE, here, "hello")
    device = await secret.secrecy.machine.device(GHOST)
    assert device
    inbox = secret.matrix.server.keys.inboxes[GHOST, device]
    assert len(inbox) == 1

    await swept(secret)
    await secret.secrecy.feed.pull(GHOST)  # what was read is forgotten with the next

    assert inbox == []
    opened = await secret.secrecy.machine.decrypt(Unit(), event)
    assert not isinstance(opened, Unknown)


async def test_an_earlier_runs_ghosts_are_swept_and_the_bot_is_not(
    secret: SecretWorld,
) -> None:
    await secret.listens()
    await secret.secrecy.welcome(GHOST)
    await secret.matrix.restarts()
    secret.matrix.server.requests.clear()

    await swept(secret)

    ((_, path),) = secret.matrix.server.asked("simplified")
    assert "_xmpp_juliet" in path


class OddStore(FakeStore):
    """Fails as nobody foresaw, each time it is read."""

    reads = 0

    @override
    async def load(self, kind: type[R]) -> Sequence[R]:
        self.reads += 1
        raise ValueError("odd")


async def test_a_round_that_fails_oddly_is_not_the_last(
    secret: SecretWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "EVERY_S", 0.0)
    store = OddStore()

    async with asyncio.TaskGroup() as tasks:
        rounds = Sweeping(store, secret.secrecy.feed, BOT).run()
        running = tasks.create_task(rounds)
        while store.reads < 2:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        running.cancel()


async def test_while_the_homeserver_is_away_nobody_is_asked_for(
    secret: SecretWorld,
) -> None:
    await secret.secrecy.welcome(GHOST)
    feed = secret.secrecy.feed
    assert not feed.connected

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(Sweeping(secret.matrix.store, feed, BOT).run())
        for _ in range(20):
            await asyncio.sleep(0.001)
        running.cancel()

    assert feed.pulls == 0
