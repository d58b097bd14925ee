"""Dead letters: what was refused for now, kept whole so that it can be sent again.

Only what could still arrive is kept: a person may be let in, a permission given, a
server mended. What the far side cannot take whatever happens is gone when its sender
has been told.
"""

import asyncio
import json
import time
from asyncio import Future
from collections import OrderedDict
from collections.abc import Callable, Sequence

from bridge.core.counters import Counters
from bridge.core.directory import Directory
from bridge.core.ports import Store, Unit
from bridge.model.delivery import Parcel, Refusal, Refused, Wire
from bridge.model.places import Network, PortalId, Room
from bridge.model.records import DeadLetter, Portal

REVIVABLE = frozenset(
    ("WOULD_EXPOSE", "UNENCRYPTABLE", "UNREACHABLE", "REJECTED", "IN_DOUBT")
)
"""The refusals that may be no longer true some day."""

KEPT_DAYS = 30
KEPT_MS = KEPT_DAYS * 24 * 3600 * 1000
LANE_MAX = 1_000
TOTAL_MAX = 10_000
PAGE = 100


class Letters:
    """Keeps what died, and lets it live again; *buried* counts what this run kept.

    *protects* tells whether what leaves for a side of a portal is sealed on its way
    out, or refused once more.
    """

    def __init__(
        self,
        store: Store,
        directory: Directory,
        counters: Counters,
        protects: Callable[[Network, Portal], bool],
    ) -> None:
        self._store = store
        self._directory = directory
        self._counters = counters
        self._protects = protects
        self._asked: dict[tuple[PortalId, str], int] = {}
        self._under_way: set[Future[frozenset[int]]] = set()
        self._revived: OrderedDict[int, None] = OrderedDict()
        self.buried = 0

    def bury(self, unit: Unit, parts: Sequence[Parcel], refused: Refused) -> None:
        """Keep *parts*, which are the rest of a message, if they may yet arrive."""
        if not parts or not is_revivable(parts[0], refused):
            return
        room = self._directory.far_of(parts[0])
        number = self._store.number()
        unit.put.append(letter_of(number, parts, room, refused, now_ms()))
        self._counters.add("dead", refused.why.name)
        self.buried += 1

    def revive(self, letter: DeadLetter, unit: Unit) -> bool:
        """Let *unit* send a letter at the end of its lane; False if it may not leave.

        It has the keys that it always had, so what did arrive after all does not
        arrive twice. A letter that somebody else has read, too, is sent once.
        """
        if letter.id in self._revived:
            return False
        portal = self._directory.by_id(letter.portal)
        exposing = letter.why == Refusal.WOULD_EXPOSE.name
        if exposing and not self._may_leave(letter, portal):
            return False
        unit.parcels.extend(parcels_of(letter, self._store.number))
        unit.drop.append(letter)
        self._revived[letter.id] = None
        if len(self._revived) > TOTAL_MAX:
            self._revived.popitem(last=False)
        self._counters.add("revived")
        return True

    def spare(self, unit: Unit) -> None:
        """Take note that *unit*, which revives letters, will not be written."""
        for one in unit.drop:
            if isinstance(one, DeadLetter):
                self._revived.pop(one.id, None)

    def forget(self, letter: DeadLetter, unit: Unit) -> None:
        """Let *unit* drop a letter."""
        unit.drop.append(letter)
        self._counters.add("dropped")

    async def retry(self, portal: Portal, why: Refusal, unit: Unit) -> int:
        """Let *unit* send all that was refused in *portal* because of *why*.

        What is refused meanwhile is told by ``comes_late``.
        """
        self._asked[portal.id, why.name] = self._store.number()
        while self._under_way:
            await asyncio.wait(self._under_way)
        letters = await self.of_lane(str(portal.id))
        found = [letter for letter in letters if letter.why == why.name]
        return sum(1 for letter in found if self.revive(letter, unit))

    def follow(self, unit: Unit, written: "Future[frozenset[int]]") -> None:
        """Take note that *unit* is being *written*: letters may be among it."""
        for one in unit.put:
            if isinstance(one, DeadLetter):
                self._under_way.add(written)
                written.add_done_callback(self._under_way.discard)
                return

    def comes_late(self, parcel: Parcel, refused: Refused) -> bool:
        """Tell whether others like *parcel* were sent again while it was refused."""
        return parcel.id < self._asked.get((parcel.portal, refused.why.name), 0)

    async def of_lane(self, lane: str) -> Sequence[DeadLetter]:
        """Read all letters of a lane: there are at most ``LANE_MAX`` or so."""
        letters: list[DeadLetter] = []
        after = 0
        while page := await self._store.letters(lane, after, PAGE):
            letters += page
            after = page[-1].id
        return letters

    def _may_leave(self, letter: DeadLetter, portal: Portal | None) -> bool:
        """Tell whether what would have been exposed may be tried again."""
        if portal is None:
            return False
        return portal.exposed or self._protects(letter.network, portal)


def now_ms() -> int:
    """Tell the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def letter_of(
    number: int, parcels: Sequence[Parcel], room: Room, refused: Refused, at_ms: int
) -> DeadLetter:
    """Write the letter of a message, whose last *parcels* were refused for *room*."""
    first = parcels[0]
    return DeadLetter(
        number,
        first.network,
        first.lane,
        first.portal,
        room.address,
        refused.why.name,
        at_ms,
        first.seq,
        first.receipt,
        refused.detail.encode(),
        _packed([parcel.wire for parcel in parcels]),
    )


def parcels_of(letter: DeadLetter, number: Callable[[], int]) -> Sequence[Parcel]:
    """Write parcels that go to the end of the lane, under the keys they always had."""
    wires = _unpacked(letter.wires)
    return [
        Parcel(
            number(),
            letter.network,
            letter.lane,
            wire,
            letter.receipt,
            place == len(wires),
            letter.seq,
            letter.portal,
        )
        for place, wire in enumerate(wires, 1)
    ]


def is_revivable(parcel: Parcel, refused: Refused) -> bool:
    """Tell whether *parcel* is worth keeping: it is somebody's, and may yet arrive."""
    return bool(parcel.seq) and refused.why.name in REVIVABLE


def expired(letters: Sequence[DeadLetter], now_ms: int) -> Sequence[DeadLetter]:
    """List those of all *letters*, by id, that are too old or too many."""
    gone = {letter.id for letter in letters if now_ms - letter.died_ms > KEPT_MS}
    of_lane: dict[str, int] = {}
    total = 0
    for letter in reversed(letters):
        if letter.id in gone:
            continue
        total += 1
        of_lane[letter.lane] = of_lane.get(letter.lane, 0) + 1
        if total > TOTAL_MAX or of_lane[letter.lane] > LANE_MAX:
            gone.add(letter.id)
    return [letter for letter in letters if letter.id in gone]


def _packed(wires: Sequence[Wire]) -> bytes:
    # Latin-1 has a character for each byte.
    parts = [[wire.key, wire.data.decode("latin-1"), wire.archived] for wire in wires]
    return json.dumps(parts).encode()


def _unpacked(packed: bytes) -> Sequence[Wire]:
    return [
        Wire(key, data.encode("latin-1"), archived)
        for key, data, archived in json.loads(packed)
    ]
