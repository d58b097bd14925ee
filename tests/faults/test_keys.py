"""The bridge dies between any two steps by which keys, and then words, leave or come.

Each step is a request to Synapse: it is killed before that gets there, or when it has
had its effect and the answer is not there yet.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Company
from tests.e2e.ledger import Seat, account, lines
from tests.e2e.nio_people import NioPerson, Said
from tests.e2e.rooms import reachable, until_allowed
from tests.faults import book
from tests.faults.proxy import Way
from tests.faults.world import FaultyWorld, Ways
from tests.unit.matrix.megolm.ratchets import spoken

ALLOW = "!xmpp plaintext allow"
SPRUNG_S = 60.0
DONE_S = 0.3
"""How long Synapse may take for what it was asked, once it has answered anybody."""
END = "that was all"

QUERY = rb"POST /_matrix/client/v3/keys/query\b"
STEPS = (
    rb"PUT /_matrix/client/v3/devices/XMPP[0-9A-F]{8}\b",
    rb"POST /_matrix/client/v3/keys/device_signing/upload\b",
    rb"POST /_matrix/client/v3/keys/upload\b",
    QUERY,
    rb"POST /_matrix/client/v3/keys/claim\b",
    rb"PUT /_matrix/client/v3/sendToDevice/",
    rb"PUT /_matrix/client/v3/rooms/[^/]*/send/m\.room\.encrypted/",
)
KEY_COMES = rb"(?s).*to_device.*m\.room\.encrypted"


@dataclass
class Salon:
    """An encrypted room that Alice has made, and all who come into it from XMPP."""

    world: FaultyWorld
    ways: Ways
    company: Company
    alice: NioPerson
    room: str
    hall: str
    host: Seat
    folder: Path
    ends: AsyncExitStack
    heard: list[Said] = field(default_factory=list)
    again: set[str] = field(default_factory=set)
    said: dict[str, int] = field(default_factory=lambda: {"xmpp": 0, "matrix": 0})

    def line(self, whose: str) -> str:
        """Return the next line of a network."""
        number = self.said[whose]
        self.said[whose] = number + 1
        return lines(whose, number, number + 1)[0]

    async def somebody_comes(self, step: bytes, *, answered: bool) -> None:
        """Let somebody new come in and speak, and the bridge fall at *step*."""
        if step == QUERY:
            await self._bob_comes()
        person = await self.company.on_xmpp("romeo")
        seat = Seat(person, self.hall, f"Romeo {self.said['xmpp']}")
        words = self.line("xmpp")
        spoken: list[str] = []

        async def speaks() -> None:
            await seat.take()
            spoken.append(words)
            await seat.say(spoken)

        there, back = self.ways.homeserver.there, self.ways.homeserver.back
        await self._fall(there, back if answered else there, step, speaks())
        await reachable(person, self.alice.puppet(self.world))
        await seat.take()
        if not spoken:
            await seat.say([words])
        await self.host.take()
        await seat.say_again(archived=False)
        self.again |= seat.again
        await self.listen("all is shown that will be")

    async def _bob_comes(self) -> None:
        """Bring in somebody whose devices the bridge does not know."""
        number = self.said["xmpp"]
        localpart = f"bob-{number}-{secrets.token_hex(3)}"
        bob = NioPerson(self.world.synapse, localpart, self.folder / localpart)
        await (await self.ends.enter_async_context(bob)).joins(self.room)
        await self.alice.sees(self.room, bob.id)

    async def a_key_comes(self, wait_s: float) -> None:
        """Let Alice speak by another key, and the bridge fall as it gets that."""
        back = self.ways.homeserver.back
        await self.alice.turns_to_another_key(self.room)
        words = self.line("matrix")
        speaks = self.alice.says(self.room, words)
        await self._fall(back, None if wait_s else back, KEY_COMES, speaks, wait_s)
        await reachable(self.host.person, self.alice.puppet(self.world))
        await self.host.take()
        await self.host.has_seen(words)

    async def alice_answers(self) -> None:
        """Let Alice say something, by another key, that has to arrive."""
        words = self.line("matrix")
        await self.alice.turns_to_another_key(self.room)
        await self.alice.says(self.room, words)
        await self.host.has_seen(words)

    async def listen(self, until: str) -> None:
        """Let Alice hear what there is, until she hears that."""
        heard = len(self.heard)
        while until not in [one.words for one in self.heard[heard:]]:
            self.heard.append(await self.alice.hears_next())

    async def _fall(
        self,
        watched: Way,
        held: Way | None,
        step: bytes,
        act: Coroutine[Any, Any, object],
        wait_s: float = DONE_S,
    ) -> None:
        """Kill the bridge when *step* is seen on a *watched* way, as *act* goes on."""
        sprung = asyncio.Event()

        def watch(piece: bytes) -> None:
            if not sprung.is_set() and re.match(step, piece):
                if held is not None:
                    held.hold()
                sprung.set()

        watched.watch = watch
        async with asyncio.TaskGroup() as tasks:
            acting = tasks.create_task(act)
            try:
                async with asyncio.timeout(SPRUNG_S):
                    await sprung.wait()
                    if held is not None:
                        await held.blocks()
            except TimeoutError:
                pytest.fail(f"{step!r} was never seen")
            await asyncio.sleep(wait_s)
            await self.world.kill("bridge")
            if watched is self.ways.homeserver.there:
                acting.cancel()  # it may wait for the bridge
        watched.watch = lambda _: None
        await self.ways.homeserver.cut()
        self.ways.homeserver.release()
        await self.world.start_bridge()

    async def wrong(self) -> list[str]:
        """Say all that is wrong."""
        await self.host.mark(END)
        await self.listen(END)
        heard = [one.words for one in self.heard]
        shown = self.host.seen()
        accounts = [
            account(
                lines("xmpp", 0, self.said["xmpp"]),
                heard,
                0,
                self.again,
                "XMPP on Matrix",
            ),
            account(
                lines("matrix", 0, self.said["matrix"]), shown, 0, (), "Matrix on XMPP"
            ),
        ]
        book.note(accounts)
        places = [spoken(one) for one in await self.alice.raw(self.room)]
        clear = [one.words for one in self.heard if not one.secret]
        return [
            *(f"{one.where}: {one.words}" for one in accounts if one.words),
            *(f"in the clear: {words}" for words in clear),
            *(f"unreadable: {event}" for event in self.alice.unreadable),
            *(f"used twice: {one}" for one in places if places.count(one) > 1),
        ]


@pytest.fixture
async def salon(
    world: FaultyWorld, ways: Ways, company: Company, word: str, tmp_path: Path
) -> AsyncIterator[Salon]:
    async with AsyncExitStack() as ends:
        alice = NioPerson(world.synapse, f"alice-{word}", tmp_path / "alice")
        await ends.enter_async_context(alice)
        room, hall = await alice.makes_room(word), world.hosted(word)
        host = Seat(await company.on_xmpp("juliet"), hall, "Juliet")
        await host.take()
        await alice.sees(room, world.bot)
        await alice.says(room, ALLOW)
        await until_allowed(host.person, hall)
        yield Salon(world, ways, company, alice, room, hall, host, tmp_path, ends)


Fault = Callable[[Salon], Awaitable[None]]


async def killed_before_it_asks(salon: Salon) -> None:
    """Kill the bridge before Synapse gets a request about keys (row 5)."""
    for step in STEPS:
        await salon.somebody_comes(step, answered=False)
        await salon.alice_answers()


async def killed_before_it_is_answered(salon: Salon) -> None:
    """Kill it when Synapse has done as asked, before the answer comes (rows 5, 32)."""
    for step in STEPS:
        await salon.somebody_comes(step, answered=True)
        await salon.alice_answers()


async def killed_as_keys_come(salon: Salon) -> None:
    """Kill the bridge when a key is brought, or has just been (rows 5, 12)."""
    for wait_s in (0.0, 0.001, 0.01, 0.05):
        await salon.a_key_comes(wait_s)


FAULTS: list[Fault] = [
    killed_before_it_is_answered,
    killed_before_it_asks,
    killed_as_keys_come,
]


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_key_is_lost_nor_a_word_lost_doubled_or_clear(
    salon: Salon, fault: Fault
) -> None:
    await fault(salon)

    assert await salon.wrong() == []
    assert "already exists" not in salon.world.bridge_log()
