import asyncio
import json

from bridge.matrix.sending import LIMITED, ROOMS_AT_ONCE_MAX
from bridge.matrix.wires import Says, Stands, Titles, content, wire
from bridge.model.delivery import (
    Delivered,
    Later,
    Outcome,
    Refusal,
    Refused,
    Wire,
)
from bridge.model.places import Network, Ref
from bridge.model.records import Kind
from tests.homeserver import Fault
from tests.unit.matrix.world import (
    ALICE,
    BOT,
    GHOST,
    HALL,
    JULIET,
    MatrixWorld,
    parcel,
)

FORBIDDEN = {"errcode": "M_FORBIDDEN", "error": "You may not post here"}


def says(words: str, *, own: bool = False) -> Wire:
    said = content({"msgtype": "m.text", "body": words})
    return wire(Says(GHOST, HALL, said, "Juliet", JULIET.id, own=own))


def leaves(user: str, target: str) -> Wire:
    return wire(Stands(user, HALL, target, "leave", reason="bye"))


async def test_a_message_is_known_by_its_event(matrix: MatrixWorld) -> None:
    matrix.room()

    outcomes = await matrix.sends(says("good night"))

    event = matrix.server.rooms[HALL].events[-1]
    assert outcomes == [Delivered((Ref(Network.MATRIX, event["event_id"]),))]
    assert (event["sender"], event["content"]["body"]) == (GHOST, "good night")
    assert "device_id=XMPPBRIDGE" in matrix.server.requests[-1][1]


async def test_the_second_message_is_one_request(matrix: MatrixWorld) -> None:
    matrix.room()
    await matrix.sends(says("one"))
    matrix.server.requests.clear()

    await matrix.sends(says("two"))

    assert len(matrix.server.requests) == 1


async def test_what_is_sent_twice_is_there_once(matrix: MatrixWorld) -> None:
    matrix.room()
    again = says("once")
    matrix.server.faults.append(Fault("/send/", after=True))

    outcomes = await matrix.sends(again, again)
    await matrix.restarts()
    outcomes += await matrix.sends(again)

    assert isinstance(outcomes[0], Later)
    assert outcomes[1] == outcomes[2]
    assert matrix.server.bodies(HALL) == ["once"]


async def test_equal_words_are_there_as_often_as_they_were_said(
    matrix: MatrixWorld,
) -> None:
    """facts/peers 3c.3: two messages of one id, or of none, are two messages."""
    matrix.room()

    await matrix.sends(says("hi"), says("hi"))

    assert matrix.server.bodies(HALL) == ["hi", "hi"]


async def test_a_limit_says_how_long_to_wait(matrix: MatrixWorld) -> None:
    matrix.room()
    limit = {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 4000}
    matrix.server.faults.append(Fault("/send/", 429, limit))

    assert await matrix.sends(says("hi")) == [Later(4.0, LIMITED)]


async def test_a_ghost_that_was_put_out_comes_back_if_it_may(
    matrix: MatrixWorld,
) -> None:
    matrix.room()
    await matrix.sends(says("one"))
    gone = {"membership": "leave"}
    matrix.server.add(HALL, ALICE, "m.room.member", gone, state_key=GHOST)

    await matrix.sends(says("two"))

    assert matrix.server.bodies(HALL) == ["one", "two"]


async def test_a_ghost_that_is_banned_tells_so(matrix: MatrixWorld) -> None:
    matrix.room()
    gone = {"membership": "ban"}
    matrix.server.add(HALL, ALICE, "m.room.member", gone, state_key=GHOST)

    outcomes = await matrix.sends(says("hi"))

    assert outcomes == [Refused(Refusal.NOT_ALLOWED, "You are not invited")]


async def test_a_ghost_that_may_not_speak_tells_so(matrix: MatrixWorld) -> None:
    matrix.room()
    matrix.server.faults.append(Fault("/send/", 403, FORBIDDEN, times=2))

    outcomes = await matrix.sends(says("hi"))

    assert outcomes == [Refused(Refusal.NOT_ALLOWED, "You may not post here")]


async def test_a_homeserver_that_was_set_up_anew_learns_of_the_ghost_again(
    matrix: MatrixWorld,
) -> None:
    matrix.room()
    await matrix.sends(says("one"))
    matrix.server.devices.clear()
    error = {"errcode": "M_UNKNOWN_DEVICE", "error": "no such device"}
    matrix.server.faults.append(Fault("/send/", 400, error))

    await matrix.sends(says("two"))

    assert matrix.server.bodies(HALL) == ["one", "two"]
    assert (GHOST, "XMPPBRIDGE") in matrix.server.devices


async def test_every_other_refusal_is_told_and_final(matrix: MatrixWorld) -> None:
    """Row 11."""
    matrix.room()
    for status, errcode, why in (
        (413, "M_TOO_LARGE", Refusal.TOO_LARGE),
        (400, "M_BAD_JSON", Refusal.REJECTED),
        (404, "M_NOT_FOUND", Refusal.REJECTED),
    ):
        error = {"errcode": errcode, "error": "no"}
        matrix.server.faults.append(Fault("/send/", status, error))

        (outcome,) = await matrix.sends(says("hi"))

        assert isinstance(outcome, Refused)
        assert outcome.why is why


async def test_a_message_that_cannot_be_digested_is_given_up(
    matrix: MatrixWorld,
) -> None:
    matrix.room()
    error = {"errcode": "M_UNKNOWN", "error": "Internal server error"}
    poison = says("poison")
    for _ in range(4):
        matrix.server.faults.append(Fault("/send/", 500, error))
        assert isinstance((await matrix.sends(poison))[0], Later)
    await matrix.sends(says("food"))
    matrix.server.faults.append(Fault("/send/", 500, error))

    (outcome,) = await matrix.sends(poison)

    assert isinstance(outcome, Refused)


async def test_a_wrong_token_loses_nothing(matrix: MatrixWorld) -> None:
    matrix.room()
    error = {"errcode": "M_UNKNOWN_TOKEN", "error": "who are you"}
    matrix.server.faults.append(Fault("/send/", 401, error))

    (outcome,) = await matrix.sends(says("hi"))

    assert isinstance(outcome, Later)


async def test_nothing_is_sent_in_the_clear_to_a_room_that_is_encrypted_now(
    matrix: MatrixWorld,
) -> None:
    matrix.room()
    await matrix.adapter._sealed.add(HALL)

    outcomes = await matrix.sends(says("secret"), says("no secret", own=True))

    assert all(isinstance(one, Delivered) for one in outcomes)
    assert matrix.server.bodies(HALL) == []
    said = [e for e in matrix.server.rooms[HALL].events if "state_key" not in e]
    assert [event["type"] for event in said] == ["m.room.encrypted"] * 2
    assert "secret" not in str(said)


async def test_a_guest_who_declined_is_not_written_to(matrix: MatrixWorld) -> None:
    matrix.room()
    matrix.link(Kind.DIRECT, agent=GHOST)
    await matrix.adapter._guests.left(HALL, ALICE, declined=True)

    assert await matrix.sends(says("hi")) == [Refused(Refusal.DECLINED)]


async def test_a_guest_who_left_is_invited_before_they_are_written_to(
    matrix: MatrixWorld,
) -> None:
    """Bifröst #213, #217: whoever left a chat never heard again of the other."""
    matrix.room(HALL, GHOST)
    matrix.server.users.add(GHOST)
    matrix.link(Kind.DIRECT, agent=GHOST)
    await matrix.adapter._guests.left(HALL, ALICE, declined=False)

    await matrix.sends(says("come back"))

    assert matrix.server.membership(HALL, ALICE) == "invite"
    assert matrix.server.bodies(HALL) == ["come back"]


async def test_a_ghost_leaves_only_where_it_is(matrix: MatrixWorld) -> None:
    matrix.room()
    await matrix.sends(says("hi"))

    await matrix.sends(leaves(GHOST, GHOST), leaves(GHOST, GHOST))

    assert matrix.server.membership(HALL, GHOST) == "leave"
    assert await matrix.adapter._presences.find(HALL, GHOST) is None
    assert len(matrix.server.asked(r"state/m.room.member")) == 2


async def test_a_leave_that_did_not_arrive_is_repeated(matrix: MatrixWorld) -> None:
    matrix.room()
    await matrix.sends(says("hi"))
    matrix.server.faults.append(Fault("m.room.member", 502, "bad gateway"))
    leave = leaves(GHOST, GHOST)

    outcomes = await matrix.sends(leave, leave)

    assert isinstance(outcomes[0], Later)
    assert matrix.server.membership(HALL, GHOST) == "leave"


async def test_who_is_put_out_of_the_muc_is_put_out_here_if_that_is_allowed(
    matrix: MatrixWorld,
) -> None:
    matrix.room(HALL, ALICE)
    matrix.server.faults.append(Fault("m.room.member", 403, FORBIDDEN))
    kick = leaves(BOT, ALICE)

    outcomes = await matrix.sends(kick, kick)

    assert outcomes == [Delivered(), Delivered()]
    assert matrix.server.membership(HALL, ALICE) == "leave"


async def test_a_topic_that_stands_already_is_not_set_again(
    matrix: MatrixWorld,
) -> None:
    matrix.room()
    order = Titles(GHOST, BOT, HALL, "Tea")

    await matrix.sends(wire(order), wire(order))

    topics = [
        e for e in matrix.server.rooms[HALL].events if e["type"] == "m.room.topic"
    ]
    assert [(t["sender"], t["content"]["topic"]) for t in topics] == [(BOT, "Tea")]


async def test_a_topic_is_set_by_whoever_set_it_there_if_they_may(
    matrix: MatrixWorld,
) -> None:
    matrix.room()

    await matrix.sends(says("hi"), wire(Titles(GHOST, BOT, HALL, "Tea")))
    matrix.server.powerless.add(GHOST)
    await matrix.sends(wire(Titles(GHOST, BOT, HALL, "Coffee")))

    senders = [event["sender"] for event in matrix.server.rooms[HALL].events[-2:]]
    assert senders == [GHOST, BOT]


async def test_a_topic_nobody_may_set_is_refused(matrix: MatrixWorld) -> None:
    matrix.room()
    matrix.server.powerless.add(BOT)

    (outcome,) = await matrix.sends(wire(Titles(GHOST, BOT, HALL, "Tea")))

    assert isinstance(outcome, Refused)


async def test_the_bytes_on_the_wire_are_the_bytes_on_disk(matrix: MatrixWorld) -> None:
    matrix.room()
    kept = says("ünïcode 🎈")

    await matrix.sends(kept)

    body = matrix.server.rooms[HALL].events[-1]["content"]
    assert json.dumps(body) in json.dumps(json.loads(kept.data))


async def test_nothing_overtakes_what_has_to_wait(matrix: MatrixWorld) -> None:
    matrix.room()
    parcels = [parcel(says(words)) for words in ("one", "two", "three")]
    limit = {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 4000}
    matrix.server.faults.append(Fault(parcels[1].wire.key, 429, limit))
    outcomes: list[Outcome | Later] = []

    while len(outcomes) < 2:
        outcomes += await matrix.adapter.send(parcels[len(outcomes) :])

    assert [type(outcome) for outcome in outcomes] == [Delivered, Later]
    assert matrix.server.bodies(HALL) == ["one"]


async def test_rooms_that_are_slow_to_enter_hold_up_no_other(
    matrix: MatrixWorld,
) -> None:
    """Joins are what homeservers are slowest at; some take as long as we wait."""
    matrix.room()
    await matrix.sends(says("one"))
    said = content({"msgtype": "m.text", "body": "late"})
    matrix.server.faults.append(
        Fault("/state/m.room.member", hang=True, times=2 * ROOMS_AT_ONCE_MAX)
    )
    rooms = [matrix.room(f"!slow{n}:hs") for n in range(2 * ROOMS_AT_ONCE_MAX)]
    async with asyncio.TaskGroup() as tasks:
        entering = [
            tasks.create_task(
                matrix.sends(wire(Says(GHOST, room, said, "Juliet", JULIET.id)))
            )
            for room in rooms
        ]
        await asyncio.sleep(0)  # they have begun

        async with asyncio.timeout(10):
            outcomes = await matrix.sends(says("two"))

        for task in entering:
            task.cancel()
    assert isinstance(outcomes[0], Delivered)
    assert matrix.server.bodies(HALL) == ["one", "two"]
