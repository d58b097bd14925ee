"""Encrypted rooms: Alice has a device of her own, and talks to the adapter."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bridge.core.ports import Unit
from bridge.matrix.megolm.ports import Encrypted, Plain, SealedRoom
from bridge.matrix.secrecy import Secrecy
from bridge.model.delivery import Arrival, Taken, Unreadable
from bridge.model.events import AnyEvent
from tests.homeserver import Event
from tests.unit.matrix.megolm.party import Party
from tests.unit.matrix.world import (
    ALICE,
    BOT,
    HALL,
    MatrixWorld,
    matrix_world,
    opened,
)

MEGOLM = {"algorithm": "m.megolm.v1.aes-sha2"}


@dataclass
class SecretWorld:
    """A homeserver with keys, the adapter, and Alice, who encrypts."""

    matrix: MatrixWorld
    alice: Party
    number: int = 1000

    @property
    def secrecy(self) -> Secrecy:
        return self.matrix.adapter._secrecy

    def room(self, *members: str, room: str = HALL) -> str:
        """Have an encrypted room."""
        self.matrix.room(room, ALICE, *members)
        self.matrix.server.add(room, ALICE, "m.room.encryption", MEGOLM, state_key="")
        return room

    async def listens(self, user: str = BOT) -> None:
        """Let the feed of *user* be read once."""
        await self.secrecy.feed._turn(user, 0.0)

    async def alice_says(self, words: str, room: str = HALL, **more: object) -> Event:
        """Let Alice encrypt *words* for who is in *room*."""
        content = {"msgtype": "m.text", "body": words, **more}
        there = self.matrix.server.rooms[room].state
        joined = frozenset(key for kind, key in there if kind == "m.room.member")
        sealed = SealedRoom(room, joined - {ALICE}, MEGOLM)
        made = await self.alice.writes(ALICE, sealed, content)
        assert isinstance(made, Encrypted)
        event = self.matrix.server.add(
            room, ALICE, "m.room.encrypted", dict(made.content)
        )
        self.matrix.server.keys.inboxes[ALICE, made.device].clear()
        return event

    async def reads(self, event: Event, key: str = "") -> AnyEvent | Unreadable | None:
        """Let the adapter read *event* in a unit that is committed."""
        self.number += 1
        (arrival,) = self.matrix.adapter.arrivals([opened(event)])
        arrival = Arrival(arrival.room, key or arrival.key, arrival.raw)
        unit = Unit()
        read = await self.matrix.adapter.read(Taken(self.number, arrival), unit)
        await self.matrix.store.commit(unit)
        return read

    async def alice_reads(self, room: str = HALL) -> list[dict[str, Any]]:
        """Return the contents of all that was said in *room*, as Alice reads it."""
        await self.alice.hears(ALICE)
        read = []
        for event in self.matrix.server.rooms[room].events:
            if event["type"] == "m.room.encrypted" and event["sender"] != ALICE:
                plain = await self.alice.reads(event)
                assert isinstance(plain, Plain), plain
                read.append(plain.content)
        return read


@asynccontextmanager
async def secret_world() -> AsyncIterator[SecretWorld]:
    async with matrix_world() as matrix:
        matrix.server.users.add(BOT)
        alice = await Party(matrix.server.keys).start()
        await alice.joins(ALICE)
        matrix.server.users.add(ALICE)
        matrix.adapter._secrecy.opening.wait_s = 0.1
        matrix.adapter._secrecy.audiences.pause_s = 0.0
        yield SecretWorld(matrix, alice)
