import asyncio
from pathlib import Path

import pytest

from bridge import marks
from bridge.core.ports import Unit
from bridge.marks import CURSOR, Mark, Marks
from bridge.matrix.client import Homeserver
from bridge.model.records import Cursor
from tests.fakes_store import Disk, FakeStore
from tests.homeserver import AS_TOKEN, FakeHomeserver, Fault

BOT = "@xmppbot:hs"


class Place:
    """A database, the file beside the configuration, and the homeserver."""

    def __init__(self, folder: Path, server: FakeHomeserver) -> None:
        self.file = folder / "bridge.mark"
        self.server = server
        self.homeserver = Homeserver(server.url, AS_TOKEN, "hs")
        self.store = FakeStore()

    def marks(self) -> Marks:
        return Marks(self.store, self.homeserver, BOT, self.file)

    async def runs(self) -> Mark | None:
        """Start, as after a stop; tell which later run there was."""
        one = self.marks()
        found = await one.overtaken()
        await one.count_up()
        return found

    async def restore(self) -> None:
        """Put the database of the first start back."""
        self.store = FakeStore(Disk())
        await self.store.commit(Unit(put=[Cursor(CURSOR, "", Mark(1, 1, 1).write())]))

    async def mark(self) -> Mark:
        found = await self.store.find(Cursor, CURSOR, "")
        assert found is not None
        return Mark.read(found.value)


@pytest.fixture
async def place(tmp_path: Path):  # type: ignore[no-untyped-def]  # noqa: ANN201
    server = FakeHomeserver()
    server.users.add(BOT)
    await server.start()
    here = Place(tmp_path, server)
    yield here
    await here.homeserver.close()
    await server.stop()


async def test_the_newest_database_is_known_for_it(place: Place) -> None:
    for _ in range(3):
        assert await place.runs() is None

    assert (await place.mark()).count == 3
    assert place.server.account_data[BOT, marks.TYPE] == {
        "mark": (await place.mark()).write()
    }
    assert Mark.read(place.file.read_text()) == await place.mark()


@pytest.mark.parametrize("left", ["file", "homeserver"])
async def test_a_restored_copy_is_found_out_by_either(place: Place, left: str) -> None:
    for _ in range(2):
        await place.runs()
    newest = await place.mark()
    await place.restore()
    if left == "file":
        place.server.account_data.clear()
    else:
        place.file.unlink()

    assert await place.marks().overtaken() == newest
    assert await place.runs() == newest
    assert await place.runs() is None


async def test_a_copy_made_while_it_ran_is_found_out_too(place: Place) -> None:
    await place.runs()
    here = place.marks()
    await here.overtaken()
    place.store.number()
    running = asyncio.create_task(here.run(every_s=0))  # noqa: RUF100, TID251
    async with asyncio.timeout(5):
        while Mark.read(place.file.read_text()).count == 1:
            place.store.number()
            await asyncio.sleep(0)
    running.cancel()
    await place.restore()

    assert await place.marks().overtaken() is not None


async def test_a_new_database_is_no_old_copy(place: Place) -> None:
    await place.runs()
    await place.runs()
    place.store = FakeStore(Disk())

    assert await place.runs() is None

    assert (await place.mark()).count == 3


async def test_a_quiet_bridge_writes_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = place.marks()
    await here.count_up()
    rounds: list[float] = []

    async def at_once(pause_s: float) -> None:
        rounds.append(pause_s)
        if len(rounds) == 5:
            raise asyncio.CancelledError

    monkeypatch.setattr(marks, "sleep", at_once)
    with pytest.raises(asyncio.CancelledError):
        await here.run()

    assert (await place.mark()).count == 1


async def test_what_is_away_or_broken_stops_nothing(place: Place) -> None:
    place.server.faults = [Fault("account_data", 502, times=2)]
    place.file.mkdir()

    assert await place.runs() is None

    assert (await place.mark()).count == 1


async def test_a_disk_that_is_full_is_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[float] = []

    async def at_once(pause_s: float) -> None:
        rounds.append(pause_s)
        place.store.number()
        if len(rounds) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(marks, "sleep", at_once)
    place.store.broken = True
    with pytest.raises(asyncio.CancelledError):
        await place.marks().run()

    assert len(rounds) == 3


@pytest.mark.parametrize("text", ["", "1 2", "a b c", "1 2 ٣", "1 2 3 4"])
def test_what_is_no_mark_is_the_lowest(text: str) -> None:
    assert Mark.read(text) == Mark()
