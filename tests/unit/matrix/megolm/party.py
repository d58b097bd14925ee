"""Two parties who talk through a homeserver: each a machine, a disk and users."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bridge.core.ports import Unit
from bridge.matrix.megolm.machine import Machine
from bridge.matrix.megolm.ports import (
    Encrypted,
    Feed,
    News,
    Opened,
    Plain,
    Role,
    SealedRoom,
    Strictness,
)
from tests.fakes_store import Disk, FakeStore
from tests.unit.matrix.megolm.key_server import FakeKeyServer, Wild

ROOM = "!room:hs"
GHOST = "@_xmpp_juliet:hs"
BOT = "@xmppbot:hs"
ALICE = "@alice:hs"
BOB = "@bob:hs"


class PowerCutError(Exception):
    """The process is gone at once."""


@dataclass
class Fuse:
    """Cuts the power at the step of that number."""

    at: int
    steps: int = 0

    def __call__(self, _: str) -> None:
        self.steps += 1
        if self.steps == self.at:
            raise PowerCutError


class SteppingStore(FakeStore):
    """A store that can lose power before and after each commit."""

    def __init__(self, disk: Disk, step: Callable[[str], None]) -> None:
        super().__init__(disk)
        self._step = step

    def commit(self, unit: Unit) -> "asyncio.Future[frozenset[int]]":
        self._step("before commit")
        return super().commit(unit)

    def _commit(self, unit: Unit, answer: "asyncio.Future[frozenset[int]]") -> None:
        written: asyncio.Future[frozenset[int]] = answer.get_loop().create_future()
        super()._commit(unit, written)
        if error := written.exception():
            answer.set_exception(error)
            return
        try:
            self._step("after commit")
        except PowerCutError as cut:
            answer.set_exception(cut)
        else:
            answer.set_result(written.result())


def is_ours(mxid: str) -> bool:
    return mxid.startswith(("@_xmpp_", "@xmppbot"))


def room(*members: str, **more: Wild) -> SealedRoom:
    return SealedRoom(ROOM, frozenset(members), **more)


def text(words: str) -> dict[str, Any]:
    return {"msgtype": "m.text", "body": words}


@dataclass
class Party:
    """A machine that can be killed and started again from its disk."""

    server: FakeKeyServer
    strictness: Strictness = Strictness.PINNED
    bridge: bool = False
    disk: Disk = field(default_factory=Disk)
    number: int = 0
    step: Callable[[str], None] = lambda _: None

    async def start(self) -> "Party":
        """Start, also again: what is not on disk is gone."""
        self.store = SteppingStore(self.disk, self._step)
        ours = is_ours if self.bridge else (lambda _: False)
        self.machine = Machine(self.server, self.store, ours, self.strictness)
        await self.machine.start()
        return self

    def _step(self, name: str) -> None:
        self.step(name)

    async def joins(self, user: str, role: Role = Role.BOT) -> str:
        return await self.machine.ensure(user, role)

    async def says(self, user: str, where: SealedRoom, words: str) -> dict[str, Any]:
        """Say *words*; return the event."""
        content = await self.writes(user, where, text(words))
        assert isinstance(content, Encrypted)
        return self.event(user, where.id, content.content)

    async def writes(self, user: str, where: SealedRoom, content: Wild) -> Wild:
        unit = Unit()
        sealed = await self.machine.encrypt(
            unit, user, where, "m.room.message", content
        )
        await self.store.commit(unit)
        return sealed

    def event(self, user: str, where: str, content: Wild) -> dict[str, Any]:
        self.number += 1
        return {
            "type": "m.room.encrypted",
            "event_id": f"${user}-{self.number}",
            "room_id": where,
            "sender": user,
            "content": dict(content),
        }

    async def hears(self, user: str, **more: Wild) -> News:
        """Take in what came to the device of *user*."""
        device = await self.machine.device(user)
        assert device is not None
        return await self.takes(user, self.server.take(user, device), **more)

    async def takes(self, user: str, events: Wild, **more: Wild) -> News:
        unit = Unit()
        feed = Feed(to_device=events, **more)
        news = await self.machine.received(unit, user, feed)
        await self.store.commit(unit)
        await self.machine.catch_up(user)
        return news

    async def reads(self, event: dict[str, Any]) -> Opened:
        unit = Unit()
        opened = await self.machine.decrypt(unit, event)
        await self.store.commit(unit)
        return opened

    async def understands(self, event: dict[str, Any]) -> str:
        """Return the words of *event*."""
        opened = await self.reads(event)
        assert isinstance(opened, Plain), opened
        return str(opened.content["body"])
