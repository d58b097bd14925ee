"""Whatever happens in whatever order, and whenever the power goes."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import vodozemac
from hypothesis import HealthCheck, given, settings, strategies as st

from bridge.core.ports import Unit
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

WHAT = ("ghost", "alice", "bot hears", "bob", "restart", "announce", "used up")
Deed = tuple[str, int]
deeds = st.lists(
    st.tuples(st.sampled_from(WHAT), st.integers(0, 16)), min_size=3, max_size=12
)


@dataclass
class Story:
    """What was said, and who of the two others was there."""

    server: FakeKeyServer = field(default_factory=FakeKeyServer)
    by_ghost: list[dict[str, Any]] = field(default_factory=list)
    for_bob: list[dict[str, Any]] = field(default_factory=list)
    by_alice: list[dict[str, Any]] = field(default_factory=list)
    bob_is_in: bool = False

    async def begin(self) -> None:
        self.bridge = await Party(self.server, bridge=True).start()
        self.alice = await Party(self.server).start()
        self.bob = await Party(self.server).start()
        await self.bridge.joins(BOT)
        await self.bridge.joins(GHOST, Role.OCCUPANT)
        await self.alice.joins(ALICE)
        await self.bob.joins(BOB)
        self.came: list[dict[str, Any]] = []

    async def happens(self, deed: Deed) -> None:
        """Let something happen; the power goes at a step, if there are that many."""
        what, at = deed
        self.bridge.step = self.server.step = Fuse(at)
        try:
            await self.act(what)
        except PowerCutError:
            self.bridge.step = self.server.step = lambda _: None
            await self.bridge.start()
        self.bridge.step = self.server.step = lambda _: None

    async def act(self, what: str) -> None:
        match what:
            case "ghost":
                members = (ALICE, BOB) if self.bob_is_in else (ALICE,)
                event = await self.bridge.says(GHOST, room(*members), "x")
                self.by_ghost.append(event)
                if self.bob_is_in:
                    self.for_bob.append(event)
            case "alice":
                self.server.step = lambda _: None
                self.by_alice.append(await self.alice.says(ALICE, room(BOT), "x"))
            case "bot hears":
                await self.listen()
            case "bob":
                self.bob_is_in = not self.bob_is_in
            case "restart":
                await self.bridge.start()
            case "announce":
                await self.tell(changed=[ALICE, BOB])
            case _:
                await self.tell(one_time=0, fallback=False)

    async def listen(self) -> None:
        """Let the feed bring what it has not brought for sure."""
        device = await self.bridge.machine.device(BOT)
        assert device
        self.came += self.server.take(BOT, device)
        await self.bridge.takes(BOT, self.came)
        self.came.clear()

    async def tell(self, **feed: Any) -> None:  # noqa: ANN401 - as Feed has it
        unit = Unit()
        await self.bridge.machine.received(unit, BOT, Feed(**feed))
        await self.bridge.store.commit(unit)
        await self.bridge.machine.catch_up(BOT)

    async def end(self) -> None:
        await self.alice.hears(ALICE)
        await self.bob.hears(BOB)
        await self.listen()
        for party, events in (
            (self.alice, self.by_ghost),
            (self.bob, self.for_bob),
            (self.bridge, self.by_alice),
        ):
            for event in events:
                assert isinstance(await party.reads(event), Plain)


def index(event: dict[str, Any]) -> tuple[str, int]:
    content = event["content"]
    message = vodozemac.MegolmMessage.from_base64(content["ciphertext"])
    return content["session_id"], message.message_index()


async def tell(story: Story, happened: list[Deed]) -> None:
    await story.begin()
    for deed in happened:
        await story.happens(deed)
    await story.end()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(deeds)
def test_all_that_is_said_is_read_and_no_key_is_used_twice(
    happened: list[Deed],
) -> None:
    """Row 5."""
    story = Story()

    asyncio.run(tell(story, happened))

    used = list(map(index, story.by_ghost))
    assert len(set(used)) == len(used)
    assert story.server.refused == []
    assert len(story.server.names) == 4
