import asyncio

import pytest

from bridge.matrix import upgrades
from bridge.model.delivery import Refusal
from bridge.model.events import Replaced
from bridge.model.places import Network, Person
from bridge.model.records import Kind, Portal
from tests.homeserver import Event, Fault
from tests.unit.matrix.world import ALICE, BOT, GHOST, HALL, MatrixWorld

NEW = "!new:hs"


def made_new(matrix: MatrixWorld, predecessor: object, **more: object) -> None:
    create = {"predecessor": predecessor}
    matrix.server.add(NEW, ALICE, "m.room.create", create, state_key="")
    matrix.server.add(NEW, ALICE, "m.room.name", {"name": "New"}, state_key="", **more)
    matrix.joins(NEW, ALICE)


def tombstone(matrix: MatrixWorld, there: object = NEW, key: str = "") -> Event:
    content = {"body": "moved", "replacement_room": there}
    return matrix.server.add(HALL, ALICE, "m.room.tombstone", content, state_key=key)


async def asked_twice(matrix: MatrixWorld, path: str) -> None:
    while len(matrix.server.asked(path)) <= 1:  # noqa: ASYNC110 - nobody tells us
        await asyncio.sleep(0)


async def follow(matrix: MatrixWorld, portal: Portal) -> Portal | Refusal:
    return await matrix.adapter.follow(portal, NEW, Person(Network.MATRIX, ALICE))


async def test_a_tombstone_is_read(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE)
    matrix.link()

    event = await matrix.reads(tombstone(matrix))

    assert isinstance(event, Replaced)
    assert event.address == NEW


@pytest.mark.parametrize("there", [None, 5, "", "#new:hs", HALL, []])
async def test_a_tombstone_that_names_no_room_says_nothing(
    matrix: MatrixWorld, there: object
) -> None:
    """E76."""
    matrix.room(HALL, ALICE)
    matrix.link()

    assert await matrix.reads(tombstone(matrix, there)) is None
    assert await matrix.reads(tombstone(matrix, key="x")) is None


async def test_a_room_that_says_so_is_followed(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE)
    made_new(matrix, {"room_id": HALL, "event_id": "$1"})

    moved = await follow(matrix, matrix.link())

    assert isinstance(moved, Portal)
    assert (moved.matrix, moved.name, moved.agent) == (NEW, "New", BOT)
    assert matrix.server.membership(NEW, BOT) == "join"


async def test_a_ghost_that_is_the_agent_goes_itself(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE, GHOST)
    matrix.server.users.add(GHOST)
    made_new(matrix, {"room_id": HALL})

    moved = await follow(matrix, matrix.link(Kind.HOSTED, agent=GHOST))

    assert isinstance(moved, Portal)
    assert matrix.server.membership(NEW, GHOST) == "join"
    assert matrix.server.membership(NEW, BOT) == ""


@pytest.mark.parametrize(
    "predecessor", [None, "x", {}, {"room_id": "!other:hs"}, {"room_id": [HALL]}]
)
async def test_a_room_that_does_not_say_so_is_not_followed(
    matrix: MatrixWorld, predecessor: object
) -> None:
    """E76, S31: CVE-2021-32659."""
    matrix.room(HALL, ALICE)
    made_new(matrix, predecessor)

    assert await follow(matrix, matrix.link()) is Refusal.NOT_ALLOWED
    assert matrix.server.membership(NEW, BOT) == "leave"
    assert await matrix.adapter._presences.find(NEW, BOT) is None


async def test_a_room_that_cannot_be_entered_is_not_followed(
    matrix: MatrixWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrades, "INVITED_S", 0.0)
    matrix.room(HALL, ALICE)
    made_new(matrix, {"room_id": HALL})
    matrix.server.closed.add(NEW)

    assert await follow(matrix, matrix.link()) is Refusal.NOT_ALLOWED


async def test_a_room_that_is_too_large_is_not_followed(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE)
    made_new(matrix, {"room_id": HALL}, size=10_000)

    assert await follow(matrix, matrix.link()) is Refusal.TOO_LARGE
    assert matrix.server.membership(NEW, BOT) == ""


async def test_a_room_into_which_we_are_asked_a_moment_later_is_followed(
    matrix: MatrixWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients that replace a private room invite those who were in the old one."""
    monkeypatch.setattr(upgrades, "INVITED_EVERY_S", 0.01)
    matrix.room(HALL, ALICE)
    made_new(matrix, {"room_id": HALL})
    matrix.server.closed.add(NEW)

    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(follow(matrix, matrix.link()))
        await asked_twice(matrix, "/join/")
        asked_in = {"membership": "invite"}
        matrix.server.add(NEW, ALICE, "m.room.member", asked_in, state_key=BOT)
        moved = await following

    assert isinstance(moved, Portal)
    assert matrix.server.membership(NEW, BOT) == "join"


async def test_a_homeserver_that_is_away_for_a_moment_is_asked_again(
    matrix: MatrixWorld,
) -> None:
    matrix.room(HALL, ALICE)
    made_new(matrix, {"room_id": HALL})
    matrix.server.faults.append(Fault("/join/", 502))

    assert isinstance(await follow(matrix, matrix.link()), Portal)
