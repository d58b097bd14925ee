import asyncio
from dataclasses import replace

import pytest

from bridge.matrix import gone as module
from bridge.matrix.gone import Gone
from bridge.model.delivery import Refusal, Refused
from bridge.model.events import Vanished
from bridge.model.places import Network, Room
from bridge.model.records import Kind
from tests.homeserver import Fault
from tests.unit.matrix.world import ALICE, BOT, GHOST, HALL, MatrixWorld

NO = {"errcode": "M_FORBIDDEN", "error": "no"}
NOBODY_TO_ASK = {"errcode": "M_UNKNOWN", "error": "no servers that are in the room"}
BLOCKED = {"errcode": "M_UNKNOWN", "error": "This room has been blocked on this server"}
STANDS, JOINS = "/state/m.room.member/@xmppbot", "/join/"


@pytest.fixture
def gone(matrix: MatrixWorld) -> Gone:
    """Look at a hosted room in which Alice, the bot and a ghost are."""
    matrix.room(HALL, ALICE, GHOST)
    matrix.server.users.add(GHOST)
    matrix.link()
    return matrix.adapter._gone


def put_out(matrix: MatrixWorld, membership: str) -> None:
    for user in (BOT, GHOST):
        content = {"membership": membership}
        matrix.server.add(HALL, ALICE, "m.room.member", content, state_key=user)


async def test_a_room_that_was_deleted_is_gone(matrix: MatrixWorld, gone: Gone) -> None:
    matrix.server.delete(HALL)

    assert await gone.look(HALL)
    (told,) = matrix.host.told
    assert isinstance(told, Vanished)
    assert told.room == Room(Network.MATRIX, HALL)


async def test_a_room_that_was_deleted_and_blocked_is_gone(
    matrix: MatrixWorld, gone: Gone
) -> None:
    matrix.server.delete(HALL)
    matrix.server.faults.append(Fault(JOINS, 403, BLOCKED, times=2))

    assert await gone.look(HALL)


async def test_whoever_speaks_in_a_room_that_is_gone_is_told_that(
    matrix: MatrixWorld, gone: Gone
) -> None:
    portal = matrix.host.portals[HALL]
    await matrix.says("one", portal)
    matrix.server.delete(HALL)

    assert await matrix.says("two", portal) == [Refused(Refusal.NO_SUCH_ROOM)]
    assert len(matrix.host.told) == 1


async def test_a_room_without_a_portal_is_nobodys_concern(
    matrix: MatrixWorld, gone: Gone
) -> None:
    matrix.server.delete(HALL)
    matrix.host.portals.clear()
    matrix.server.requests.clear()

    assert not await gone.look(HALL)
    assert matrix.server.requests == []


@pytest.mark.parametrize("membership", ["leave", "ban"])
@pytest.mark.parametrize("closed", [True, False])
async def test_a_room_whose_people_put_us_out_is_not_gone(
    matrix: MatrixWorld, gone: Gone, membership: str, *, closed: bool
) -> None:
    portal = matrix.host.portals[HALL]
    await matrix.says("one", portal)
    put_out(matrix, membership)
    if closed:
        matrix.server.closed.add(HALL)

    (outcome,) = await matrix.says("two", portal)

    assert outcome != Refused(Refusal.NO_SUCH_ROOM)
    assert matrix.host.told == []


async def test_a_room_that_bans_us_is_not_gone_though_we_see_nothing_of_it(
    matrix: MatrixWorld, gone: Gone
) -> None:
    """Synapse shows those who left how they stand, but not those who are banned."""
    put_out(matrix, "ban")
    matrix.server.faults.append(Fault(STANDS, 403, NO, times=2))

    assert not await gone.look(HALL)


async def test_a_room_elsewhere_that_put_us_out_is_not_gone(
    matrix: MatrixWorld, gone: Gone
) -> None:
    """With us, its homeserver is out, too, and knows nobody to ask."""
    put_out(matrix, "leave")
    matrix.server.faults.append(Fault(JOINS, 404, NOBODY_TO_ASK, times=2))

    assert not await gone.look(HALL)


async def test_a_ghost_that_may_not_speak_ends_nothing(
    matrix: MatrixWorld, gone: Gone
) -> None:
    portal = matrix.host.portals[HALL]
    matrix.server.faults.append(Fault("/send/", 403, NO, times=2))

    (outcome,) = await matrix.says("one", portal)

    assert outcome == Refused(Refusal.NOT_ALLOWED, "no")
    assert matrix.host.told == []


async def test_a_room_that_refuses_much_is_looked_for_once_in_a_while(
    matrix: MatrixWorld, gone: Gone, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "!other:hs"
    matrix.room(other, ALICE, GHOST)
    matrix.link(room=other)

    for room in (HALL, HALL, other, HALL):
        assert not await gone.look(room)
    assert len(matrix.server.asked("m.room.member")) == 2

    matrix.server.delete(HALL)
    assert not await gone.look(HALL)
    monkeypatch.setattr(module, "FRESH_S", 0.0)
    assert await gone.look(HALL)


@pytest.mark.parametrize("path", [STANDS, JOINS])
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (0, None),
        (401, {"errcode": "M_UNKNOWN_TOKEN"}),
        (403, "<h1>Forbidden</h1>"),
        (404, "<h1>Not Found</h1>"),
        (404, {"errcode": "M_UNRECOGNIZED"}),
        (429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1}),
        (500, {"errcode": "M_UNKNOWN"}),
        (502, "<h1>Bad Gateway</h1>"),
        (503, {"errcode": "M_UNKNOWN"}),
    ],
)
async def test_a_homeserver_that_is_ill_ends_nothing(
    matrix: MatrixWorld, gone: Gone, path: str, status: int, body: object
) -> None:
    matrix.server.delete(HALL)
    matrix.server.faults.append(Fault(path, status, body, times=5))

    assert not await gone.look(HALL)
    assert matrix.host.told == []


async def test_a_homeserver_that_is_not_there_ends_nothing(
    matrix: MatrixWorld, gone: Gone
) -> None:
    matrix.server.delete(HALL)
    await matrix.server.stop()

    assert not await gone.look(HALL)


async def test_a_homeserver_that_has_forgotten_us_ends_nothing(
    matrix: MatrixWorld, gone: Gone
) -> None:
    """Its database may be another, or nothing: perhaps by mistake."""
    matrix.server.delete(HALL)
    matrix.server.users.clear()

    assert not await gone.look(HALL)


async def test_a_homeserver_of_which_one_part_is_late_ends_nothing(
    matrix: MatrixWorld, gone: Gone
) -> None:
    matrix.server.faults += [Fault(STANDS, 403, NO), Fault(JOINS, 404, NOBODY_TO_ASK)]

    assert not await gone.look(HALL)


async def test_it_takes_a_moment_to_be_sure(
    matrix: MatrixWorld, gone: Gone, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[float] = []

    async def pause(wait_s: float) -> None:
        paused.append(wait_s)

    matrix.server.delete(HALL)
    gone.pause_s = 2.0
    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "sleep", pause)
        assert await gone.look(HALL)

    assert [wait_s for wait_s in paused if wait_s > 1] == [2.0]


@pytest.mark.parametrize(
    ("room", "via"), [(HALL, "hs far.example"), ("!hall:far.example", "")]
)
async def test_a_room_that_others_are_in_is_entered_through_them(
    matrix: MatrixWorld, gone: Gone, room: str, via: str
) -> None:
    portal = replace(matrix.link(Kind.HOSTED, room), via=via)
    matrix.host.portals[room] = portal
    matrix.server.rooms.pop(HALL)
    matrix.server.requests.clear()

    assert not await gone.look(room)
    ((_, asked),) = matrix.server.asked(JOINS)
    assert "via=far.example" in asked


async def test_an_alias_that_leads_elsewhere_by_now_is_left_alone(
    matrix: MatrixWorld, gone: Gone
) -> None:
    alias = "#_xmpp_tea_muc.example:hs"
    foreign = replace(matrix.link(Kind.FOREIGN), alias=alias)
    matrix.host.portals[HALL] = foreign
    matrix.server.delete(HALL)
    matrix.server.aliases[alias] = "!notice:hs"

    assert await gone.look(HALL)
    assert matrix.server.aliases[alias] == "!notice:hs"


async def test_an_alias_that_cannot_be_freed_keeps_nothing(
    matrix: MatrixWorld, gone: Gone
) -> None:
    matrix.host.portals[HALL] = replace(matrix.link(Kind.FOREIGN), alias="#tea:hs")
    matrix.server.aliases["#tea:hs"] = HALL
    matrix.server.delete(HALL, aliases=False)
    matrix.server.faults.append(Fault("/directory/", 500, {"errcode": "M_UNKNOWN"}))

    assert await gone.look(HALL)
    assert len(matrix.host.told) == 1
