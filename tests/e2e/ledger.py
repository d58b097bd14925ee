"""Who said what, and what independent observers saw of it.

Senders number their messages; observers who never speak are compared at the end:
nothing lost, nothing double, in order.
"""

import asyncio
import secrets
from bisect import bisect_left
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement

from deploy.lab.heard import Heard
from deploy.lab.matrix_people import MatrixPerson
from deploy.lab.stanzas import bare, stanza_id, tag
from deploy.lab.xmpp_people import XmppPerson

LONG_S = 180.0
RECEIPTS = "urn:xmpp:receipts"
SHOWN = 10


def lines(word: str, start: int, end: int) -> list[str]:
    """Return numbered lines."""
    return [f"{word} {number:04}" for number in range(start, end)]


@dataclass(frozen=True)
class Account:
    """What became of *said* messages; of those that are double, *spare* may be.

    *marked* came again to somebody who was there, but as history: with the id that
    they have it under and the time when it was said, so that clients show it once.
    """

    said: int
    lost: Sequence[str]
    double: Sequence[str]
    wrong: Sequence[tuple[str, str]]
    spare: int = 0
    where: str = ""
    marked: int = 0

    @property
    def crossed(self) -> bool:
        """Whether this is what came from the other network."""
        return self.where.endswith(("XMPP on Matrix", "Matrix on XMPP"))

    @property
    def words(self) -> str:
        """All that is lost, double or out of order; empty if nothing is."""
        words = []
        if self.lost:
            words.append(f"{len(self.lost)} lost: {self.lost[:SHOWN]}")
        if len(self.double) > self.spare:
            words.append(f"{len(self.double)} double: {self.double[:SHOWN]}")
        if self.wrong:
            pairs = self.wrong[:SHOWN]
            words.append(f"{len(self.wrong)} out of order (seen, due): {pairs}")
        return "; ".join(words)


def account(
    said: Sequence[str],
    seen: Iterable[str],
    spare: int = 0,
    loose: Container[str] = (),
    where: str = "",
) -> Account:
    """Compare what was said with what was seen.

    *spare* is how many may come twice. What is *loose* has no order: it was said
    again, after other words, as it had been refused.
    """
    due = set(said)
    seen = [text for text in seen if text in due]
    counts = Counter(seen)
    lost = [text for text in said if text not in counts]
    double = [text for text in counts for _ in range(counts[text] - 1)]
    once = [text for text in counts if text not in loose]
    known = set(once)
    in_order = [text for text in said if text in known]
    pairs = zip(once, in_order, strict=True)
    wrong = [pair for pair in pairs if pair[0] != pair[1]]
    return Account(len(said), lost, double, wrong, spare, where)


def verdict(
    said: Sequence[str],
    seen: Iterable[str],
    spare: int = 0,
    loose: Container[str] = (),
) -> str:
    """Say what is lost, double or out of order; empty if nothing is."""
    return account(said, seen, spare, loose).words


def displaced(said: Sequence[str], seen: Sequence[str]) -> set[str]:
    """Name the fewest of *said* without which the others were seen in their order."""
    place = {text: number for number, text in enumerate(said)}
    ends: list[tuple[int, tuple[str, ...]]] = []
    for text in dict.fromkeys(seen):
        if text not in place:
            continue
        at = bisect_left(ends, place[text], key=lambda end: end[0])
        before = ends[at - 1][1] if at else ()
        ends[at : at + 1] = [(place[text], (*before, text))]
    in_order = set(ends[-1][1]) if ends else set()
    return (set(seen) & set(said)) - in_order


async def speak_on_matrix(
    person: MatrixPerson, room: str, texts: Sequence[str], at_once: int = 1
) -> None:
    """Say all *texts*, up to *at_once* requests at a time."""
    places = asyncio.Semaphore(at_once)

    async def say(text: str) -> None:
        async with places:
            await person.says(room, text)

    async with asyncio.TaskGroup() as tasks:
        for text in texts:
            tasks.create_task(say(text))


class Seat:
    """Somebody's place in a room of XMPP, which they may have to take again."""

    def __init__(self, person: XmppPerson, room: str, nick: str) -> None:
        self.person = person
        self.room = room
        self.history = 2000
        self._nick = nick
        self._sessions: list[list[Heard]] = []
        self._lived: list[int] = []
        self._said: dict[str, str] = {}
        self.again: set[str] = set()

    async def take(self) -> None:
        """Enter the room, reading what was said meanwhile."""
        if self._sessions:  # what came before belongs to the time before
            self._sessions[-1].extend(self.person.all_heard(self.room))
        entered = await self.person.joins(self.room, self._nick, history=self.history)
        self._sessions.append(entered.history)
        self._lived.append(len(entered.history))

    async def say(self, texts: Iterable[str]) -> None:
        """Say *texts* without waiting for them."""
        for text in texts:
            number = await self.person.says_in(self.room, text)
            self._said[number] = text

    async def say_again(self, *, archived: bool) -> int:
        """Say again, under the same ids, what the room never showed.

        As clients do: a message counts as sent when it comes back, or is in the
        archive if the room has one. Returns how many.
        """
        await self.mark("all is shown that will be")
        shown = {heard.id for session in self._sessions for heard in session}
        missing = [number for number in self._said if number not in shown]
        if archived and missing:
            shown |= {heard.id for heard in await self.person.archive(self.room)}
            missing = [number for number in missing if number not in shown]
        self.again |= {self._said[number] for number in missing}
        for number in missing:
            await self.person.says_in(self.room, self._said[number], number)
        return len(missing)

    async def mark(self, text: str) -> None:
        """Say *text* and wait until it comes back."""
        number = await self.person.says_in(self.room, text)
        session = self._sessions[-1]

        def shown() -> bool | None:
            session.extend(self.person.all_heard(self.room))
            return any(heard.id == number for heard in session) or None

        await self.person.until(shown, f"{text!r} to be shown", LONG_S)

    async def has_seen(self, text: str) -> None:
        """Wait until *text* was shown."""
        session = self._sessions[-1]

        def shown() -> bool | None:
            session.extend(self.person.all_heard(self.room))
            return any(heard.text == text for heard in session) or None

        await self.person.until(shown, f"{text!r} to be shown", LONG_S)

    def seen(self) -> list[str]:
        """Return all that was shown; what only history repeats, once."""
        known: set[str] = set()
        texts: list[str] = []
        for heard in (heard for session in self._sessions for heard in session):
            name = self._name(heard)
            if not (name in known and self._from_history(heard)):
                texts.append(heard.text)
            known.add(name)
        return texts

    def marked(self) -> int:
        """Count what came as history though nobody had entered, and was known."""
        known: set[str] = set()
        count = 0
        for session, lived in zip(self._sessions, self._lived, strict=True):
            for place, heard in enumerate(session):
                name = self._name(heard)
                repeats = place >= lived and name in known
                count += repeats and self._from_history(heard)
                known.add(name)
        return count

    def _from_history(self, heard: Heard) -> bool:
        """Tell whether the room says that it had kept it (XEP-0045 §7.2.15)."""
        assert isinstance(heard.raw, Element)
        kept = heard.raw.iterfind(tag("delay", "urn:xmpp:delay"))
        return any(one.get("from") == self.room for one in kept)

    def _name(self, heard: Heard) -> str:
        assert isinstance(heard.raw, Element)
        return stanza_id(heard.raw, self.room) or heard.id


class Writer:
    """Somebody who writes to a puppet, and holds on to what was not received."""

    def __init__(self, person: XmppPerson, puppet: str) -> None:
        self.person = person
        self.again: list[str] = []
        self._puppet = puppet
        self._read = 0
        self._confirmed = 0
        self._receipts: set[str] = set()
        self._said: dict[str, str] = {}

    async def confirm(self) -> None:
        """Say that what came has come, as clients do (XEP-0184)."""
        await self.person.catch_up()
        if self.person.state != "online":
            return  # later, then: else it would be written again by the bridge
        came = self.person.all[self._confirmed :]
        self._confirmed += len(came)
        for stanza in _delivered(came):
            asked = stanza.find(tag("request", RECEIPTS)) is not None
            if asked and bare(stanza.get("from", "")) == self._puppet:
                receipt = Element("message", {"type": "chat", "to": self._puppet})
                about = {"xmlns": RECEIPTS, "id": stanza.get("id", "")}
                SubElement(receipt, "received", about)
                await self.person.send(receipt)

    async def write(self, texts: Iterable[str]) -> None:
        """Write *texts*, asking for a receipt of each (XEP-0184)."""
        await self.confirm()
        for text in texts:
            number = secrets.token_hex(6)
            self._said[number] = text
            await self._send(number)

    async def write_again(self, mark: str) -> None:
        """Write again, under the same ids, what came back or was never received.

        As clients do. Receipts come in order: what has none when that of *mark* is
        here, gets none.
        """
        await self.write([mark])
        await self._is_received(next(reversed(self._said)))
        received = self._received()
        missing = [number for number in self._said if number not in received]
        missed = [self._said[number] for number in missing]
        self.again = list(dict.fromkeys([*self.again, *missed]))
        for number in missing:
            await self._send(number)

    def verdict(self, texts: Sequence[str], seen: Sequence[str]) -> str:
        """Say what of *texts* was lost, or double, or out of order.

        What was written again came when it was written again.
        """
        again, once = set(self.again), [t for t in texts if t not in self.again]
        late = [text for text in seen if text in again]
        return "; ".join(
            words for words in (verdict(once, seen), verdict(self.again, late)) if words
        )

    async def _send(self, number: str) -> None:
        about = {"type": "chat", "to": self._puppet, "id": number}
        message = Element("message", about)
        SubElement(message, "body").text = self._said[number]
        SubElement(message, "request", {"xmlns": RECEIPTS})
        await self.person.send(message)

    async def _is_received(self, number: str) -> None:
        await self.person.until(
            lambda: number in self._received() or None, "a receipt", LONG_S
        )

    def _received(self) -> set[str]:
        for stanza in _delivered(self.person.all[self._read :]):
            receipt = stanza.find(tag("received", RECEIPTS))
            if receipt is not None:
                self._receipts.add(receipt.get("id", ""))
        self._read = len(self.person.all)
        return self._receipts


def _delivered(stanzas: Iterable[Element]) -> Iterator[Element]:
    """Leave out what comes back: some servers return all that was in it."""
    return (stanza for stanza in stanzas if stanza.get("type") != "error")
