import asyncio

import pytest

from bridge.matrix.client import HomeserverDownError, MatrixError
from bridge.matrix.views import FAR_AT_ONCE_MAX, About, Place, place_of, refusing
from bridge.model.delivery import Refusal
from bridge.model.events import Rank
from bridge.model.places import Network, Person
from tests.homeserver import Fault
from tests.unit.matrix.world import ALICE, BOB, BOT, HALL, MatrixWorld

OPAQUE = "!" + "x" * 43


def test_a_server_behind_a_v12_id_only_helps_to_find_it() -> None:
    """Room version 12: a room id names no server."""
    assert place_of(f"{OPAQUE}:hs") == Place(OPAQUE, ("hs",))
    assert place_of(OPAQUE) == Place(OPAQUE)
    assert place_of("!old:hs:8448") == Place("!old:hs:8448", ("hs:8448",))


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (MatrixError(403, "M_FORBIDDEN"), Refusal.NOT_ALLOWED),
        (MatrixError(404, "M_NOT_FOUND"), Refusal.NO_SUCH_ROOM),
        (MatrixError(400, "M_INVALID_PARAM"), Refusal.NO_SUCH_ROOM),
        (MatrixError(429, "M_LIMIT_EXCEEDED"), Refusal.UNREACHABLE),
        (HomeserverDownError("away"), Refusal.UNREACHABLE),
    ],
)
async def test_a_refusal_says_why(error: Exception, why: Refusal) -> None:
    async def ask() -> str:
        raise error

    assert await refusing(ask()) is why


@pytest.mark.parametrize(
    ("status", "answer", "exists"),
    [
        (200, {}, True),
        (404, {"errcode": "M_NOT_FOUND"}, False),
        (403, {"errcode": "M_FORBIDDEN"}, False),
        (429, {"errcode": "M_LIMIT_EXCEEDED"}, None),
        (502, "bad gateway", None),
        (500, {"errcode": "M_UNKNOWN"}, None),
    ],
)
async def test_nobody_is_said_not_to_exist_by_a_homeserver_in_trouble(
    matrix: MatrixWorld, status: int, answer: object, *, exists: bool | None
) -> None:
    matrix.server.faults.append(Fault("profile", status, answer))

    called = await matrix.adapter.called(Person(Network.MATRIX, ALICE))

    assert (None if called is None else bool(called)) is exists


async def test_slow_servers_of_others_leave_the_way_to_the_homeserver_free(
    matrix: MatrixWorld,
) -> None:
    """Anybody on XMPP may ask what people are called, of servers that never answer."""
    gate, asked = asyncio.Event(), matrix.server.asked
    matrix.server.faults.append(Fault("profile", hold=gate, times=100))
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        for number in range(40):
            slow = Person(Network.MATRIX, f"@p{number}:far.example")
            tasks.create_task(matrix.adapter.called(slow))
        try:
            while len(asked("far.example")) < FAR_AT_ONCE_MAX:  # noqa: ASYNC110 - a list
                await asyncio.sleep(0)
            matrix.server.faults.clear()
            called = await matrix.adapter.called(Person(Network.MATRIX, ALICE))
            waited = len(asked("far.example"))
        finally:
            gate.set()

    assert called is not None
    assert waited == FAR_AT_ONCE_MAX


async def test_somebody_is_called_as_their_profile_says(matrix: MatrixWorld) -> None:
    alice = Person(Network.MATRIX, ALICE)
    matrix.server.profiles[ALICE] = {"displayname": "Alice\nL."}
    ghost = Person(Network.MATRIX, "@_xmpp_juliet=40capulet.lit:hs")

    assert await matrix.adapter.called(alice) == "Alice L."
    assert await matrix.adapter.called(ghost) == ""
    matrix.server.profiles[ALICE] = {}
    assert await matrix.adapter.called(alice) == "alice"


async def test_an_alias_leads_to_a_room_and_servers(matrix: MatrixWorld) -> None:
    matrix.server.aliases["#hall:hs"] = HALL

    place = await matrix.adapter._views.find("#hall:hs", BOT)

    assert place == Place(HALL, ("hs",), "#hall:hs")


async def test_an_alias_that_leads_nowhere_is_not_found(matrix: MatrixWorld) -> None:
    matrix.server.faults.append(Fault("directory", 200, {"room_id": 7}))

    with pytest.raises(MatrixError):
        await matrix.adapter._views.find("#hall:hs", BOT)


async def test_a_room_is_seen_from_outside(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE)
    name = {"name": "The Hall"}
    matrix.server.add(HALL, BOT, "m.room.name", name, state_key="")

    seen = await matrix.adapter._views.outside(Place(HALL, ("hs",)), BOT)

    assert seen == About("The Hall", "", "", public=True, size=2)
    assert await matrix.adapter._views.outside(Place("!no:hs"), BOT) is None


async def test_a_room_is_seen_from_inside(matrix: MatrixWorld) -> None:
    matrix.room()
    for kind, content in (
        ("name", {"name": "The Hall"}),
        ("topic", {"topic": 7}),
        ("canonical_alias", {"alias": "#hall:hs"}),
        ("join_rules", {"join_rule": "invite"}),
        ("encryption", {"algorithm": "m.megolm.v1.aes-sha2"}),
    ):
        matrix.server.add(HALL, BOT, f"m.room.{kind}", content, state_key="")

    seen = await matrix.adapter._views.inside(HALL, BOT)

    topic = matrix.server.rooms[HALL].events[-4]
    assert seen == About(
        "The Hall",
        "#hall:hs",
        encrypted=True,
        topic_by=BOT,
        topic_at_ms=topic["origin_server_ts"],
    )


@pytest.mark.parametrize("at_ms", [None, "now", -1, 10**18])
async def test_a_topic_of_no_time_is_a_topic(
    matrix: MatrixWorld, at_ms: object
) -> None:
    matrix.room()
    topic = matrix.server.add(
        HALL, ALICE, "m.room.topic", {"topic": "Tea"}, state_key=""
    )
    topic["origin_server_ts"] = at_ms

    seen = await matrix.adapter._views.inside(HALL, BOT)

    assert (seen.topic, seen.topic_by, seen.topic_at_ms) == ("Tea", ALICE, 0)


async def test_what_cannot_be_seen_is_an_error(matrix: MatrixWorld) -> None:
    forbidden = {"errcode": "M_FORBIDDEN", "error": "no"}
    matrix.server.faults.append(Fault("m.room.name", 403, forbidden))

    with pytest.raises(MatrixError):
        await matrix.adapter._views.inside(HALL, BOT)


async def test_rank_follows_power(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE, BOB)
    ruling = {"m.room.power_levels": 100}
    levels = {"users": {ALICE: 100, BOB: 50}, "events": ruling}
    matrix.server.add(HALL, BOT, "m.room.power_levels", levels, state_key="")

    ranks = [
        await matrix.adapter._views.rank(HALL, user, BOT)
        for user in (ALICE, BOB, "@carol:hs")
    ]

    assert ranks[0] >= Rank.ADMIN
    assert ranks[1:] == [Rank.MODERATOR, Rank.MEMBER]


async def test_somebody_whose_power_cannot_be_seen_has_none(
    matrix: MatrixWorld,
) -> None:
    matrix.server.faults.append(Fault("m.room.power_levels", 500, "boom"))

    assert await matrix.adapter._views.rank(HALL, ALICE, BOT) is Rank.GUEST


async def test_bridges_tell_of_themselves_in_the_state(matrix: MatrixWorld) -> None:
    old = {"type": "m.bridge", "state_key": "k", "content": {"a": 1}}
    new = {"type": "m.bridge", "state_key": "k", "content": {"a": 2}}
    other = {"type": "m.room.name", "state_key": "", "content": {}}
    parts = {"state": {"events": [old, other]}, "timeline": {"events": [new]}}
    matrix.server.users.add(BOT)
    matrix.server.syncs = {"rooms": {"join": {HALL: parts}}}

    assert await matrix.adapter._views.bridges(HALL, BOT) == [new]
    assert await matrix.adapter._views.bridges("!other:hs", BOT) == []
