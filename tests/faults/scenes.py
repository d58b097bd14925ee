"""What the tests of faults look at: conversations in which much is said.

In each somebody of either network speaks; what they say is numbered. Observers who
never speak are asked at the end what they have seen.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from deploy.lab.heard import NotHeardError
from deploy.lab.matrix_people import MatrixPerson
from deploy.lab.xmpp_people import XmppPerson
from tests.e2e.ledger import LONG_S, Account, Seat, Writer, account, lines

RESCUED_S = 100.0
ENDS = "that was all from Matrix", "that was all from XMPP"


@dataclass(frozen=True)
class Cast:
    """Who speaks on Matrix, and who observes there."""

    alice: MatrixPerson
    bob: MatrixPerson


@dataclass
class Said:
    """What was said in one conversation so far, and when it was accepted."""

    matrix: int = 0
    xmpp: int = 0
    times: dict[str, float] = field(default_factory=dict)

    def on_matrix(self, count: int) -> list[str]:
        """Return the next lines of Matrix."""
        start, self.matrix = self.matrix, self.matrix + count
        return lines("matrix", start, self.matrix)

    def on_xmpp(self, count: int) -> list[str]:
        """Return the next lines of XMPP."""
        start, self.xmpp = self.xmpp, self.xmpp + count
        return lines("xmpp", start, self.xmpp)

    async def speak(self, person: MatrixPerson, room: str, count: int) -> None:
        """Let *person* say the next lines of Matrix."""
        for text in self.on_matrix(count):
            await person.says(room, text)
            self.times[text] = time.time()


class Scene(Protocol):
    """A conversation of any kind.

    *archived* is whether what XMPP says is kept elsewhere while there is no bridge.
    *spare* is how many may come twice on XMPP.
    """

    name: str
    said: Said
    archived: bool
    spare: int

    @property
    def places(self) -> tuple[str, str]:
        """Where what the other network says is seen, on Matrix and on XMPP."""

    @property
    def again(self) -> set[str]:
        """What was said again on XMPP, as it was never shown or received."""

    async def on_matrix(self, count: int) -> None:
        """Let Alice say *count* lines."""

    async def on_xmpp(self, count: int) -> None:
        """Let somebody of XMPP say *count* lines."""

    async def come_back(self) -> None:
        """Enter again, as clients do that were put out; say again what was lost."""

    async def end(self) -> None:
        """Say that this was all, after what was never shown or received."""

    async def accounts(self) -> list[Account]:
        """Compare what was said with what was seen."""


@dataclass
class Gathering:
    """A room with a speaker and a silent observer on each network.

    In a MUC elsewhere the archive is asked what was said. If it is *doubted*, the
    observer is, too: a server that is killed may not have written down what it has
    shown to everybody, or not have shown to everybody what it has written down.
    """

    name: str
    cast: Cast
    room: str
    speaker: Seat
    observer: Seat
    archived: bool
    said: Said = field(default_factory=Said)
    spare: int = 0
    doubted: bool = False

    @property
    def places(self) -> tuple[str, str]:
        return self.room, self.observer.room

    @property
    def again(self) -> set[str]:
        return self.speaker.again

    async def on_matrix(self, count: int) -> None:
        await self.said.speak(self.cast.alice, self.room, count)

    async def on_xmpp(self, count: int) -> None:
        texts = self.said.on_xmpp(count)
        self.said.times |= dict.fromkeys(texts, time.time())
        await self.speaker.say(texts)

    async def come_back(self) -> None:
        await self.speaker.take()
        await self.observer.take()
        await self.speaker.say_again(archived=self.archived)

    async def end(self) -> None:
        await self.speaker.say_again(archived=self.archived)
        await self.cast.alice.says(self.room, ENDS[0])
        await self.speaker.mark(ENDS[1])

    async def accounts(self) -> list[Account]:
        heard = await _until(self.cast.bob, self.room, ENDS)
        for end in ENDS:
            await self.observer.has_seen(end)
        shown, late = await self._shown()
        matrix = lines("matrix", 0, self.said.matrix)
        xmpp = lines("xmpp", 0, self.said.xmpp)
        again, spare = self.again, self.spare
        return [
            account(xmpp, heard, 0, again, f"{self.name}: XMPP on Matrix"),
            account(matrix, heard, 0, (), f"{self.name}: Matrix on Matrix"),
            replace(
                account(matrix, shown, spare, late, f"{self.name}: Matrix on XMPP"),
                marked=self.observer.marked(),
            ),
            account(xmpp, shown, spare, again | late, f"{self.name}: XMPP on XMPP"),
        ]

    async def _shown(self) -> tuple[list[str], set[str]]:
        """Return what XMPP has seen, and what of it has no place in the order."""
        kept: list[str] = []
        if self.archived:
            archive = await self.speaker.person.archive(self.speaker.room)
            kept = [message.text for message in archive]
            if not self.doubted:
                return kept, set()
        await self.observer.mark("seen all")
        seen = self.observer.seen()
        late = [text for text in kept if text not in set(seen)]
        return [*seen, *late], set(late)


@dataclass
class Chat:
    """A direct chat: one crash of the bridge may double one message on XMPP.

    What a server had taken when it was killed, and not given to anybody, comes once
    more to who usually confirms; if that is *doubted*, we wait for it.
    """

    name: str
    alice: MatrixPerson
    room: str
    writer: Writer
    puppet: str
    archived: bool = False
    said: Said = field(default_factory=Said)
    spare: int = 0
    doubted: bool = False

    @property
    def places(self) -> tuple[str, str]:
        return self.room, self.puppet

    @property
    def again(self) -> set[str]:
        return set(self.writer.again)

    async def on_matrix(self, count: int) -> None:
        """Speak; what came is confirmed soon, as clients do, or it would come again."""
        for _ in range(count):
            await self.said.speak(self.alice, self.room, 1)
            await self.writer.confirm()

    async def on_xmpp(self, count: int) -> None:
        texts = self.said.on_xmpp(count)
        self.said.times |= dict.fromkeys(texts, time.time())
        await self.writer.write(texts)

    async def come_back(self) -> None:
        await self.writer.write_again("we are back")

    async def end(self) -> None:
        await self.writer.write_again("that is nearly all")
        await self.alice.says(self.room, ENDS[0])
        await self.writer.write([ENDS[1]])

    async def accounts(self) -> list[Account]:
        seen = await _until(self.writer.person, self.puppet, ENDS[:1])
        heard = await _until(self.alice, self.room, ENDS[1:])
        matrix = lines("matrix", 0, self.said.matrix)
        xmpp = lines("xmpp", 0, self.said.xmpp)
        late = await self._rescued(set(matrix) - set(seen)) if self.doubted else []
        seen += late
        return [
            account(matrix, seen, self.spare, late, f"{self.name}: Matrix on XMPP"),
            account(xmpp, heard, 0, self.again, f"{self.name}: XMPP on Matrix"),
        ]

    async def _rescued(self, missing: set[str]) -> list[str]:
        """Wait for what is *missing*; return what comes, in vain or not."""
        await self.writer.confirm()
        late: list[str] = []
        with suppress(NotHeardError):
            while not missing <= set(late):
                heard = await self.writer.person.hears_next(self.puppet, RESCUED_S)
                late.append(heard.text)
        return late


async def _until(
    person: MatrixPerson | XmppPerson, where: str, ends: Sequence[str]
) -> list[str]:
    """Return all that somebody hears until all *ends* were heard."""
    heard: list[str] = []
    while not set(ends) <= set(heard):
        heard.append((await person.hears_next(where, LONG_S)).text)
    return heard
