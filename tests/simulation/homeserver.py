"""A homeserver as Synapse is to an appservice (facts F2 to F4).

It pushes transactions one after another, and again until it gets a 200. When it
restarts it forgets what was waiting behind the one in flight. It knows a message
again by device and txnId. It can be slow, refuse, fail, or answer into the void.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tests.simulation.ledger import Ledger
from tests.simulation.net import DownError, Lost, Net, ServerError

TRANSACTION_MAX = 10
GIVE_UP_S = 60.0
BACK_OFF_S_MAX = 30.0


@dataclass(frozen=True)
class Happened:
    """An event of a room; *ours* if a ghost sent it."""

    id: str
    room: str
    sender: str
    kind: str
    body: str
    ours: bool = False


class RefusedError(ServerError):
    """The homeserver will never take this."""


class LimitedError(ServerError):
    """The homeserver has had enough for the moment."""


class Listener(Protocol):
    """Who takes transactions."""

    def push(self, events: Sequence[Happened]) -> "asyncio.Future[bool]":
        """Take *events*; True once they are safe."""


@dataclass
class Moods:
    """How often the homeserver fails, and how."""

    fails: float = 0.0
    loses_answer: float = 0.0
    limits: float = 0.0
    push_lost: float = 0.0
    push_again: float = 0.0


@dataclass
class MatrixRoom:
    """A room; *since* is the place from which on events are pushed, if they are."""

    events: list[Happened] = field(default_factory=list)
    pushed: bool = True


class SimHomeserver:
    """See above."""

    def __init__(self, net: Net, ledger: Ledger, moods: Moods) -> None:
        self.up = True
        self.rooms: dict[str, MatrixRoom] = {}
        self.aliases: dict[str, str] = {}
        self.on_made: Callable[[str], None] = lambda _room: None
        self.listener: Callable[[], Listener | None] = lambda: None
        self.moods = moods
        self._net = net
        self._ledger = ledger
        self._queue: list[Happened] = []
        self._txn: list[Happened] = []
        self._known: dict[tuple[str, str], str] = {}
        self._poked = asyncio.Event()
        self._back_off_s = 0.5
        self._count = 0

    def idle(self) -> bool:
        """Tell whether all was pushed."""
        return not self._queue and not self._txn

    def happens(self, room: str, sender: str, kind: str, body: str) -> str:
        """Let somebody of Matrix do something."""
        return self._append(room, sender, kind, body, ours=False)

    def restart(self) -> None:
        """Fall, and forget what waits in memory."""
        self.up = False
        # A lost invitation is seen by who made it: the ghost does not come.
        lost = [event for event in self._queue if event.kind != "invite"]
        self._ledger.forgotten({event.body for event in lost})
        self._queue = [event for event in self._queue if event.kind == "invite"]

    def ping(self) -> None:
        """Push at once (the appservice asks for it)."""
        self._check()
        self._back_off_s = 0.5
        self._poked.set()

    def send(self, device: str, room: str, txn: str, body: str) -> "str | Lost":
        """Take a message of a ghost; return its event id."""
        self._check()
        dice = self._net.dice
        if dice.chance(self.moods.limits):
            raise LimitedError
        if dice.chance(self.moods.fails):
            raise DownError("500")
        if not body.startswith("told "):
            _judge(body)
        known = self._known.get((device, txn))
        if known is None:
            known = self._append(room, device, "say", body, ours=True)
            self._known[device, txn] = known
        return Lost() if dice.chance(self.moods.loses_answer) else known

    def make(self, alias: str) -> str:
        """Make a room, or find the one of that alias."""
        self._check()
        room = self.aliases.setdefault(alias, f"!{alias.replace(' ', '_')}")
        if room not in self.rooms:
            self.rooms[room] = MatrixRoom()
            self.on_made(room)
        return room

    def find(self, alias: str) -> str:
        """Name the room of that alias; empty if there is none."""
        self._check()
        return self.aliases.get(alias, "")

    def enter(self, room: str) -> None:
        """Let a ghost in: from now on the room's events are pushed."""
        self._check()
        self.rooms[room].pushed = True

    def read(self, room: str) -> list[Happened]:
        """List what happened in a room."""
        self._check()
        return list(self.rooms[room].events)

    async def run(self) -> None:
        """Push, for ever."""
        while True:
            if not self.up or self.idle():
                await self._pause(1.0)
                continue
            if not self._txn:
                self._txn = self._queue[:TRANSACTION_MAX]
                del self._queue[: len(self._txn)]
            if await self._push(list(self._txn)):
                self._txn = []
                self._back_off_s = 0.5
            else:
                await self._pause(self._back_off_s)
                self._back_off_s = min(self._back_off_s * 2, BACK_OFF_S_MAX)

    async def _push(self, events: Sequence[Happened]) -> bool:
        listener = self.listener()
        dice = self._net.dice
        await asyncio.sleep(dice.delay(self._net.latency_s))
        if listener is None or not self.up or dice.chance(self.moods.push_lost):
            return False
        answer = listener.push(events)
        try:
            async with asyncio.timeout(GIVE_UP_S):
                taken = await answer
        except TimeoutError:
            return False
        await asyncio.sleep(dice.delay(self._net.latency_s))
        return taken and not dice.chance(self.moods.push_again)

    async def _pause(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._poked.wait()
        except TimeoutError:
            return
        finally:
            self._poked.clear()

    def _check(self) -> None:
        if not self.up:
            raise DownError("connection refused")

    def _append(
        self, room: str, sender: str, kind: str, body: str, *, ours: bool
    ) -> str:
        self._count += 1
        event = Happened(f"${self._count}", room, sender, kind, body, ours)
        place = self.rooms.setdefault(room, MatrixRoom())
        place.events.append(event)
        if kind == "invite":
            place.pushed = False
            self._queue.append(event)
        elif place.pushed:
            self._queue.append(event)
        self._poked.set()
        return event.id


def _judge(body: str) -> None:
    if "poison" in body:
        raise DownError("500 for ever")
    if "forbidden" in body:
        raise RefusedError
