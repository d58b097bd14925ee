import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest

from bridge.core.ports import StoreUnavailableError, Unit
from bridge.matrix import audit as module
from bridge.matrix.appservice import RawEvent
from bridge.matrix.audit import Audit
from bridge.matrix.client import Homeserver
from bridge.matrix.codec.envelope import raw_event
from bridge.model.records import Cursor
from tests.homeserver import AS_TOKEN, Event, FakeHomeserver, Fault, HeldRoom

BOT = "@bot:hs"
ROOM = "!r:hs"


class Shelf:
    """The part of a store that an audit needs."""

    def __init__(self) -> None:
        self.cursors: dict[str, Cursor] = {}
        self.broken = False

    async def load(self, kind: type[Cursor]) -> Sequence[Cursor]:
        if self.broken:
            raise StoreUnavailableError
        return [Cursor("other", "x", "y"), *self.cursors.values()]

    def commit(self, unit: Unit) -> "asyncio.Future[frozenset[int]]":
        future: asyncio.Future[frozenset[int]] = (
            asyncio.get_running_loop().create_future()
        )
        if self.broken:
            future.set_exception(StoreUnavailableError())
            return future
        for record in unit.put:
            assert isinstance(record, Cursor)
            self.cursors[record.key] = record
        for record in unit.drop:
            assert isinstance(record, Cursor)
            self.cursors.pop(record.key, None)
        future.set_result(frozenset())
        return future


class Watched:
    """A homeserver with rooms, and the audit of them."""

    def __init__(self) -> None:
        self.fake = FakeHomeserver()
        self.fake.users.add(BOT)
        self.shelf = Shelf()
        self.kept: list[str] = []
        self.broken = False
        self.rescued = asyncio.Event()

    async def start(self) -> None:
        await self.fake.start()
        self.homeserver = Homeserver(self.fake.url, AS_TOKEN, "hs")
        self.restarts()
        self.opens(ROOM)

    def restarts(self) -> None:
        """Begin anew, with what is on disk."""
        self.audit = Audit(self.homeserver, self.shelf, self.keep)  # type: ignore[arg-type]

    def opens(self, room: str) -> None:
        join = {"membership": "join"}
        self.fake.add(room, BOT, "m.room.member", join, state_key=BOT)

    async def keep(self, events: Sequence[RawEvent]) -> None:
        if self.broken:
            raise StoreUnavailableError
        self.kept.extend(event.event_id for event in events)
        self.rescued.set()

    def says(self, count: int, room: str = ROOM) -> list[str]:
        """Say things that are not pushed."""
        said = [self.fake.say(room, "@alice:hs", str(i)) for i in range(count)]
        return [event["event_id"] for event in said]

    def pushes(self, room: str = ROOM) -> str:
        event = self.fake.say(room, "@alice:hs", "pushed")
        self.audit.note([pushed(event)])
        return str(event["event_id"])

    async def reads(self, *rooms: str) -> list[str]:
        self.kept.clear()
        await self.audit.audit([(room, BOT) for room in rooms or (ROOM,)])
        return list(self.kept)


def pushed(event: Event) -> RawEvent:
    opened = raw_event(msgspec.json.encode(event))
    assert isinstance(opened, RawEvent)
    return opened


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    watched = Watched()
    await watched.start()
    yield watched
    await watched.homeserver.close()
    await watched.fake.stop()


async def test_at_first_sight_nothing_is_carried(watched: Watched) -> None:
    watched.says(5)

    assert await watched.reads() == []
    assert set(watched.shelf.cursors) == {ROOM}


async def test_what_was_not_pushed_comes_in_its_order(watched: Watched) -> None:
    await watched.reads()
    lost = watched.says(3)
    watched.pushes()

    assert await watched.reads() == lost
    assert await watched.reads() == []


async def test_a_gap_behind_what_was_pushed_later_is_found(watched: Watched) -> None:
    """Synapse loses some, restarts, and pushes the next ones."""
    watched.pushes()
    lost = watched.says(2)
    watched.pushes()
    lost += watched.says(1)
    watched.pushes()

    assert await watched.reads() == lost


async def test_one_look_is_enough_when_nothing_is_missing(watched: Watched) -> None:
    await watched.reads()
    watched.pushes()
    watched.fake.requests.clear()

    await watched.reads()

    assert len(watched.fake.requests) == 1


async def test_a_long_gap_is_read_page_by_page(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE_EVENTS", 30)
    await watched.reads()
    lost = watched.says(100)

    assert await watched.reads() == lost


async def test_a_very_long_gap_is_read_in_turns(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE_EVENTS", 25)
    monkeypatch.setattr(module, "RESCUED_MAX", 50)
    await watched.reads()
    lost = watched.says(80)

    first, second = await watched.reads(), await watched.reads()

    assert (first, second) == (lost[:50], lost[50:])


async def test_the_mark_outlives_a_restart(watched: Watched) -> None:
    await watched.reads()
    watched.restarts()
    lost = watched.says(2)

    assert await watched.reads() == lost


async def test_the_first_mark_of_a_room_outlives_a_crash(watched: Watched) -> None:
    await watched.reads()  # what earlier runs knew is known
    watched.audit.note([pushed(watched.fake.add("!new:hs", "@alice:hs", "m.x", {}))])

    assert "!new:hs" in watched.shelf.cursors


async def test_a_mark_on_disk_is_older_and_counts(watched: Watched) -> None:
    await watched.reads()
    watched.restarts()
    lost = watched.says(2)
    watched.pushes()

    assert await watched.reads() == lost


async def test_a_mark_that_is_gone_brings_no_old_history(watched: Watched) -> None:
    watched.says(30)
    watched.shelf.cursors[ROOM] = Cursor("audit", ROOM, "$purged 1700000090000")
    recent = watched.fake.say(
        ROOM, "@alice:hs", "new", origin_server_ts=1_700_000_100_000
    )

    assert await watched.reads() == [recent["event_id"]]
    assert watched.shelf.cursors[ROOM].value.startswith(recent["event_id"])


async def test_a_mark_with_a_space_is_a_mark(watched: Watched) -> None:
    """Up to room version 2 servers choose the ids of their events."""
    odd = watched.fake.say(ROOM, "@mallory:evil", "hi", event_id="$a b:evil")
    watched.audit.note([pushed(odd)])
    await watched.reads()
    lost = watched.says(30)

    assert await watched.reads() == lost


async def test_a_room_that_cannot_be_read_stops_no_other(watched: Watched) -> None:
    """Not in one, an error in the next, and one that answers nonsense."""
    rooms = [f"!r{number}:hs" for number in range(12)]
    for room in rooms[1:]:
        watched.opens(room)
        watched.pushes(room)
    watched.fake.rooms[rooms[0]] = HeldRoom()
    lost = {room: watched.says(1, room) for room in rooms}
    watched.fake.faults.append(Fault("r1%3Ahs|r1:hs", 502, ""))
    watched.fake.faults.append(Fault("r2:hs", 429, {"retry_after_ms": 10}))
    watched.fake.faults.append(Fault("r3:hs", 200, {"chunk": [{}, 5]}))

    kept = await watched.reads(*rooms)

    assert set(kept) >= {name for room in rooms[4:] for name in lost[room]}
    assert watched.audit._due >= {rooms[1], rooms[2]}
    assert rooms[0] not in watched.audit._due


async def test_what_cannot_be_kept_is_read_again(watched: Watched) -> None:
    await watched.reads()
    lost = watched.says(2)
    watched.broken = True
    await watched.reads()
    watched.broken = False

    assert await watched.reads() == lost


async def test_rooms_that_had_traffic_are_read_now_and_then(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROUND_EVERY", 2)
    watched.opens("!quiet:hs")
    await watched.reads(ROOM, "!quiet:hs")
    lost = watched.says(1)
    watched.pushes()
    watched.fake.requests.clear()
    rooms = [(ROOM, BOT), ("!quiet:hs", BOT)]

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(watched.audit.run(lambda: rooms, 0.001))
        await watched.rescued.wait()
        running.cancel()

    assert watched.kept == lost
    assert watched.fake.asked("quiet") == []


async def test_a_store_that_is_gone_for_a_while_loses_no_room(
    watched: Watched,
) -> None:
    watched.shelf.broken = True
    watched.pushes()

    await watched.audit._save()
    await watched.audit._round([(ROOM, BOT)])
    watched.shelf.broken = False
    lost = watched.says(1)
    await watched.audit._round([(ROOM, BOT)])

    assert watched.kept == lost
    assert ROOM in watched.shelf.cursors


async def test_rooms_that_are_bridged_no_more_are_forgotten(watched: Watched) -> None:
    watched.opens("!gone:hs")
    watched.pushes()
    watched.pushes("!gone:hs")
    await watched.reads(ROOM, "!gone:hs")
    assert set(watched.shelf.cursors) == {ROOM, "!gone:hs"}

    await watched.audit._round([(ROOM, BOT)])

    assert set(watched.shelf.cursors) == {ROOM}
    assert set(watched.audit._marks) == {ROOM}


async def test_what_was_missing_is_counted(watched: Watched) -> None:
    rescued: list[int] = []
    watched.audit.on_rescued = rescued.append
    await watched.reads()
    watched.says(3)

    await watched.reads()

    assert rescued == [3]


async def test_memory_of_what_was_pushed_is_bounded(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEEN_MAX", 10)
    for _ in range(30):
        watched.pushes()

    assert len(watched.audit._seen) == 10


async def test_a_push_before_the_first_audit_does_not_hide_what_was_missed(
    watched: Watched,
) -> None:
    watched.pushes()
    await watched.reads()
    missed = watched.says(2)
    watched.restarts()
    watched.pushes()

    await watched.audit._save()
    watched.restarts()

    assert (await watched.reads())[:2] == missed


async def test_what_is_pushed_late_is_looked_for_twice_more(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN_AFTER_S", (0.0, 0.0))
    looked: list[int] = []

    def rooms() -> list[tuple[str, str]]:
        looked.append(1)
        return []

    await watched.audit.look_again(rooms)

    assert len(looked) == 2
