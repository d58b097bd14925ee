import asyncio
from dataclasses import dataclass, field

import pytest

from bridge.model.pictures import NO_PICTURE, Picture
from bridge.model.places import Person
from bridge.xmpp import avatars as module
from bridge.xmpp.avatars import Avatars
from bridge.xmpp.codec import avatar
from bridge.xmpp.codec.avatar import DATA, METADATA
from bridge.xmpp.disco import Disco
from bridge.xmpp.omemo.means import NotNowError
from bridge.xmpp.persons import Persons
from tests.unit.xmpp.elsewhere import DOMAIN, build

ALICE = "alice_hs.example@matrix.example"
BOB = "bob_hs.example@matrix.example"
NOBODY = "nobody@matrix.example"
RELAY = "relay@matrix.example"
FACE = Picture(b"face", "image/png", 96, 96)
MASK = Picture(b"mask", "image/jpeg", 96, 96)


@dataclass
class Matrix:
    """A homeserver that shows people; None while it is away."""

    faces: dict[str, Picture] | None = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def pictured(self, mxid: str) -> Picture | None:
        self.asked.append(mxid)
        if self.gate is not None:
            await self.gate.wait()
        return None if self.faces is None else self.faces.get(mxid, NO_PICTURE)


@pytest.fixture
def matrix() -> Matrix:
    return Matrix({"@alice:hs.example": FACE})


@pytest.fixture
def avatars(matrix: Matrix) -> Avatars:
    return Avatars(matrix.pictured)


async def test_a_picture_is_in_two_nodes_under_one_name(avatars: Avatars) -> None:
    """XEP-0084 §3.1: the item of both is the SHA-1 of the data."""
    name = avatar.identifier(FACE)

    assert await avatars.nodes(ALICE) == (METADATA, DATA)
    assert await avatars.items(ALICE, METADATA, "") == ((name, avatar.metadata(FACE)),)
    assert await avatars.items(ALICE, DATA, "") == ((name, avatar.data(FACE)),)
    assert await avatars.items(ALICE, "another", "") is None
    assert await avatars.photo(ALICE) == (avatar.photo(FACE),)


@pytest.mark.parametrize("account", [BOB, NOBODY, RELAY])
async def test_who_shows_none_has_no_nodes(avatars: Avatars, account: str) -> None:
    assert await avatars.nodes(account) == ()
    assert await avatars.items(account, METADATA, "") is None
    assert await avatars.items(account, DATA, "") is None
    assert await avatars.photo(account) == ()


async def test_the_homeserver_is_not_asked_about_who_is_not_there(
    avatars: Avatars, matrix: Matrix
) -> None:
    await avatars.nodes(RELAY)
    await avatars.nodes(NOBODY)

    assert matrix.asked == []


async def test_nobody_is_said_to_show_none_while_the_homeserver_is_away(
    avatars: Avatars, matrix: Matrix
) -> None:
    matrix.faces = None

    with pytest.raises(NotNowError):
        await avatars.items(ALICE, METADATA, "")
    assert await avatars.nodes(ALICE) == ()
    assert await avatars.photo(ALICE) == ()
    assert avatars.hint(ALICE) == ()


async def test_a_presence_names_only_what_was_looked_at(avatars: Avatars) -> None:
    """XEP-0153 §4.1: who does not know yet says nothing."""
    assert avatars.hint(ALICE) == ()
    await avatars.nodes(ALICE)
    await avatars.nodes(BOB)

    assert avatars.hint(ALICE) == (avatar.hint(avatar.identifier(FACE)),)
    assert avatars.hint(BOB) == (avatar.hint(""),)
    assert avatars.hint(RELAY) == ()


async def test_a_change_is_noticed_once(avatars: Avatars, matrix: Matrix) -> None:
    await avatars.nodes(ALICE)
    matrix.faces = {"@alice:hs.example": MASK}
    changes = [await avatars.has_changed(ALICE) for _ in range(2)]
    matrix.faces = {}
    changes += [await avatars.has_changed(ALICE) for _ in range(2)]

    assert changes == [True, False, True, False]
    assert avatars.hint(ALICE) == (avatar.hint(""),)


async def test_who_asks_early_keeps_nobody_from_hearing_of_a_change(
    avatars: Avatars, matrix: Matrix
) -> None:
    await avatars.nodes(ALICE)
    matrix.faces = {"@alice:hs.example": MASK}
    await avatars.items(ALICE, METADATA, "")

    assert await avatars.has_changed(ALICE)


async def test_nobody_is_looked_at_of_whom_nobody_was_told(
    avatars: Avatars, matrix: Matrix
) -> None:
    assert not await avatars.has_changed(ALICE)
    assert matrix.asked == []


async def test_while_the_homeserver_is_away_nothing_has_changed(
    avatars: Avatars, matrix: Matrix
) -> None:
    await avatars.nodes(ALICE)
    matrix.faces = None

    assert not await avatars.has_changed(ALICE)


async def test_nobody_waits_long_for_a_list(
    avatars: Avatars, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients list the nodes of others on the way to their devices."""
    monkeypatch.setattr(module, "LISTED_S", 0.01)
    matrix.gate = asyncio.Event()

    assert await avatars.nodes(ALICE) == ()
    matrix.gate.set()
    assert await avatars.nodes(ALICE)


async def test_nobody_waits_long_for_a_card(
    avatars: Avatars, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody is called is known long before."""
    monkeypatch.setattr(module, "CARD_S", 0.01)
    matrix.gate = asyncio.Event()

    async with asyncio.timeout(5):
        assert await avatars.photo(ALICE) == ()
    matrix.gate.set()
    assert await avatars.photo(ALICE)


async def test_slow_pictures_leave_room_for_other_questions(
    avatars: Avatars, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE_MAX", 1)
    matrix.gate = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(avatars.items(ALICE, METADATA, ""))
        await asyncio.sleep(0)
        with pytest.raises(NotNowError):
            await avatars.items(BOB, METADATA, "")
        matrix.gate.set()

    assert first.result()
    assert await avatars.items(BOB, METADATA, "") is None


async def test_not_everything_that_was_told_is_remembered(
    avatars: Avatars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOLD_MAX", 1)
    await avatars.nodes(ALICE)
    await avatars.nodes(BOB)

    assert avatars.hint(ALICE) == ()
    assert avatars.hint(BOB)


async def test_a_picture_that_breaks_us_stops_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The task in which it is looked at is one of the whole bridge."""

    async def breaks(_: Person) -> Picture | None:
        raise RuntimeError

    async with asyncio.TaskGroup() as tasks:
        world = build(tasks)
        persons = Persons(world.means, Disco(DOMAIN).puppet)
        await persons._avatars.nodes(ALICE)
        monkeypatch.setattr(world.host, "pictured", breaks)
        persons.repictured(ALICE)
        await world.settle()

    assert f"the picture of {ALICE} cannot be looked at" in caplog.text
