import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bridge.matrix.direct import PAGES_MAX, dm_alias
from bridge.matrix.wires import Says, order
from bridge.model.delivery import Refusal
from bridge.model.events import Invite
from bridge.model.places import Network, Person, Ref, Room
from bridge.model.records import Kind, Portal
from tests.homeserver import Fault
from tests.unit.matrix.world import (
    ALICE,
    BOB,
    BOT,
    GHOST,
    JULIET,
    MatrixWorld,
    opened,
)

CHAT = Room(Network.XMPP, "juliet@capulet.lit alice_hs@matrix.example")
ALICE_THERE = Person(Network.MATRIX, ALICE)
ROOM = "!theirs:hs"
EARLY = datetime(2020, 1, 1, tzinfo=UTC)


async def until(there: Callable[[], bool]) -> None:
    """Let others work until it is so."""
    while not there():  # noqa: ASYNC110 - what is waited for tells nobody
        await asyncio.sleep(0)


async def start(matrix: MatrixWorld) -> Portal | Refusal:
    matrix.server.profiles[ALICE] = {"displayname": "Alice"}
    return await matrix.adapter.start_direct(CHAT, JULIET, ALICE_THERE, "Juliet")


def asks_in(matrix: MatrixWorld, *, direct: bool = True) -> Invite:
    """Let Alice make a room and invite Juliet's ghost."""
    server = matrix.server
    server.add(ROOM, ALICE, "m.room.create", {}, state_key="")
    matrix.joins(ROOM, ALICE)
    server.say(ROOM, ALICE, "said before")
    invitation = {"membership": "invite", "is_direct": direct}
    event = server.add(ROOM, ALICE, "m.room.member", invitation, state_key=GHOST)
    server.closed.add(ROOM)
    return Invite(
        ref=Ref(Network.MATRIX, event["event_id"]),
        room=Room(Network.MATRIX, ROOM),
        sender=ALICE_THERE,
        sent_at=EARLY,
        person=JULIET,
        direct=direct,
    )


async def test_who_writes_first_invites_to_a_room_of_two(matrix: MatrixWorld) -> None:
    made = await start(matrix)

    assert isinstance(made, Portal)
    assert (made.kind, made.agent, made.xmpp) == (Kind.DIRECT, GHOST, CHAT.address)
    invitation = matrix.server.rooms[made.matrix].state["m.room.member", ALICE]
    assert invitation["content"] == {"membership": "invite", "is_direct": True}
    assert matrix.server.profiles[GHOST] == {"displayname": "Juliet"}
    alias = matrix.server.rooms[made.matrix].state["m.room.canonical_alias", ""]
    assert alias["content"] == {}


async def test_a_chat_is_not_encrypted_where_ghosts_can_have_no_device(
    matrix: MatrixWorld,
) -> None:
    """Nobody could read what is said there, nor say anything."""
    algorithms = {"algorithms": ["m.megolm.v1.aes-sha2"]}
    matrix.server.keys.device_keys[ALICE] = {"PHONE": algorithms}
    nowhere = {"errcode": "M_NOT_FOUND", "error": "Device not found"}
    matrix.server.faults.append(Fault("/devices/", 404, nowhere, times=100))

    made = await start(matrix)

    assert isinstance(made, Portal)
    assert not made.encrypted


async def test_nothing_is_said_while_a_guest_accepts_at_once(
    matrix: MatrixWorld,
) -> None:
    matrix.adapter._secrecy.audiences.settle_s = 3600.0
    async with asyncio.TaskGroup() as tasks:
        starting = tasks.create_task(start(matrix))
        await until(lambda: ALICE in str(matrix.server.rooms))
        (room,) = matrix.server.rooms
        assert not starting.done()

        matrix.adapter.arrivals([opened(matrix.joins(room, ALICE))])

        assert isinstance(await starting, Portal)


async def test_the_room_of_a_chat_is_found_again_after_a_crash(
    matrix: MatrixWorld,
) -> None:
    first = await start(matrix)
    await matrix.restarts()

    assert await start(matrix) == first
    assert len(matrix.server.asked("createRoom")) == 2
    assert len(matrix.server.rooms) == 1


async def test_a_guest_who_left_meanwhile_is_invited_again(matrix: MatrixWorld) -> None:
    made = await start(matrix)
    assert isinstance(made, Portal)
    gone = {"membership": "leave"}
    matrix.server.add(made.matrix, ALICE, "m.room.member", gone, state_key=ALICE)

    await start(matrix)

    assert matrix.server.membership(made.matrix, ALICE) == "invite"


async def test_a_guest_who_declined_is_not_asked_at_once_again(
    matrix: MatrixWorld,
) -> None:
    made = await start(matrix)
    assert isinstance(made, Portal)
    await matrix.adapter._guests.left(made.matrix, ALICE, declined=True)

    assert await start(matrix) is Refusal.DECLINED


async def test_a_ghost_that_was_put_out_starts_anew(matrix: MatrixWorld) -> None:
    """Bifröst #213: after a ghost was put out nothing ever arrived again."""
    first = await start(matrix)
    assert isinstance(first, Portal)
    gone = {"membership": "leave"}
    matrix.server.add(first.matrix, ALICE, "m.room.member", gone, state_key=GHOST)

    second = await start(matrix)

    assert isinstance(second, Portal)
    assert second.matrix != first.matrix
    assert matrix.server.aliases[dm_alias(CHAT, "hs")] == second.matrix


async def test_nobody_is_invited_who_does_not_exist(matrix: MatrixWorld) -> None:
    nobody = Person(Network.MATRIX, "@nobody:hs")

    why = await matrix.adapter.start_direct(CHAT, JULIET, nobody, "Juliet")

    assert why is Refusal.NO_SUCH_PERSON
    assert not matrix.server.rooms


async def test_who_keeps_their_profile_to_themselves_may_exist(
    matrix: MatrixWorld,
) -> None:
    hidden = {"errcode": "M_FORBIDDEN", "error": "private"}
    matrix.server.faults.append(Fault("/profile/@alice", 403, hidden))

    assert isinstance(await start(matrix), Portal)


@pytest.mark.parametrize("guest", [GHOST, BOT])
async def test_nobody_writes_through_matrix_to_us(
    matrix: MatrixWorld, guest: str
) -> None:
    us = Person(Network.MATRIX, guest)

    why = await matrix.adapter.start_direct(CHAT, JULIET, us, "Juliet")

    assert why is Refusal.NO_SUCH_PERSON


async def test_a_room_that_cannot_be_made_says_why(matrix: MatrixWorld) -> None:
    refused = {"errcode": "M_FORBIDDEN", "error": "no rooms for you"}
    matrix.server.faults.append(Fault("createRoom", 403, refused))

    assert await start(matrix) is Refusal.NOT_ALLOWED


async def test_a_ghost_accepts_an_invitation(matrix: MatrixWorld) -> None:
    invite = asks_in(matrix)

    accepted = await matrix.adapter.accept(invite)

    assert not isinstance(accepted, Refusal)
    assert (accepted[0].kind, accepted[0].agent) == (Kind.DIRECT, GHOST)
    assert accepted[0].via == "hs"
    assert matrix.server.membership(ROOM, GHOST) == "join"


async def test_what_was_said_before_the_ghost_came_is_not_lost(
    matrix: MatrixWorld,
) -> None:
    """facts B.5: events of a room to which a ghost is only invited are not pushed."""
    invite = asks_in(matrix)
    matrix.server.say(ROOM, ALICE, "one")
    matrix.server.say(ROOM, GHOST, "ours")
    matrix.server.say(ROOM, ALICE, "two")

    accepted = await matrix.adapter.accept(invite)

    assert not isinstance(accepted, Refusal)
    raws = [arrival.raw.decode() for arrival in accepted[1]]
    assert ["one" in raws[0], "two" in raws[1]] == [True, True]
    assert len(raws) == 2


async def test_nothing_from_before_the_invitation_crosses(matrix: MatrixWorld) -> None:
    invite = asks_in(matrix)
    room = matrix.server.rooms[ROOM]
    # The invitation came over federation, and is not in the room's history here.
    room.events.remove(room.state["m.room.member", GHOST])
    late = datetime.now(UTC)
    accepted = await matrix.adapter.accept(replace(invite, sent_at=late))

    assert not isinstance(accepted, Refusal)
    assert accepted[1] == []


async def test_a_long_wait_is_read_back_page_by_page(matrix: MatrixWorld) -> None:
    invite = asks_in(matrix)
    for number in range(120):
        matrix.server.say(ROOM, ALICE, f"number {number}")

    accepted = await matrix.adapter.accept(invite)

    assert not isinstance(accepted, Refusal)
    assert len(accepted[1]) == 120
    assert "number 0" in accepted[1][0].raw.decode()


async def test_a_history_that_is_hidden_is_not_read_to_its_beginning(
    matrix: MatrixWorld,
) -> None:
    """Where only members may read, pages are empty, with more behind them."""
    invite = asks_in(matrix)
    hidden = {"chunk": [], "end": "t1"}
    matrix.server.faults.append(Fault("messages", 200, hidden, times=1_000))

    accepted = await matrix.adapter.accept(invite)

    assert not isinstance(accepted, Refusal)
    assert accepted[1] == []
    assert len(matrix.server.asked("/messages")) <= PAGES_MAX


@pytest.mark.parametrize("status", [429, 502])
async def test_a_history_that_cannot_be_read_just_now_is_waited_for(
    matrix: MatrixWorld, status: int
) -> None:
    invite = asks_in(matrix)
    matrix.server.say(ROOM, ALICE, "are you there?")
    trouble = {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 10}
    matrix.server.faults.append(Fault("messages", status, trouble))

    accepted = await matrix.adapter.accept(invite)

    assert not isinstance(accepted, Refusal)
    assert [b"are you there?" in arrival.raw for arrival in accepted[1]] == [True]


async def test_a_history_that_cannot_be_read_costs_only_itself(
    matrix: MatrixWorld,
) -> None:
    invite = asks_in(matrix)
    matrix.server.faults.append(Fault("messages", 403, {"errcode": "M_FORBIDDEN"}))

    accepted = await matrix.adapter.accept(invite)

    assert not isinstance(accepted, Refusal)
    assert accepted[1] == []


async def test_two_in_a_room_without_a_name_are_a_chat(matrix: MatrixWorld) -> None:
    accepted = await matrix.adapter.accept(asks_in(matrix, direct=False))

    assert not isinstance(accepted, Refusal)
    assert accepted[0].kind is Kind.DIRECT


@pytest.mark.parametrize("direct", [True, False])
async def test_more_than_two_are_a_room_whatever_a_client_calls_it(
    matrix: MatrixWorld, *, direct: bool
) -> None:
    """Who is asked in after the ghost is one of them already."""
    invite = asks_in(matrix, direct=direct)
    asked = {"membership": "invite", "is_direct": direct}
    romeo = "@_xmpp_romeo=40montague.lit:hs"
    matrix.server.add(ROOM, ALICE, "m.room.member", asked, state_key=romeo)

    accepted = await matrix.adapter.accept(invite)

    assert not isinstance(accepted, Refusal)
    assert accepted[0].kind is Kind.HOSTED


@pytest.mark.parametrize("what", ["name", "crowd"])
async def test_a_room_is_a_room(matrix: MatrixWorld, what: str) -> None:
    invite = asks_in(matrix, direct=False)
    if what == "crowd":
        matrix.joins(ROOM, BOB)
    else:
        name = {"name": "The Hall"}
        matrix.server.add(ROOM, ALICE, "m.room.name", name, state_key="")

    accepted = await matrix.adapter.accept(invite)

    assert not isinstance(accepted, Refusal)
    assert accepted[0].kind is Kind.HOSTED


async def test_a_ghost_stays_out_of_very_large_rooms(matrix: MatrixWorld) -> None:
    invite = asks_in(matrix, direct=False)
    name = {"name": "The Hall"}
    matrix.server.add(ROOM, ALICE, "m.room.name", name, state_key="", size=10_000)

    assert await matrix.adapter.accept(invite) is Refusal.TOO_LARGE
    assert matrix.server.membership(ROOM, GHOST) == "leave"


async def test_an_encrypted_chat_is_accepted_and_sealed(matrix: MatrixWorld) -> None:
    invite = asks_in(matrix)
    algorithm = {"algorithm": "m.megolm.v1.aes-sha2"}
    matrix.server.add(ROOM, ALICE, "m.room.encryption", algorithm, state_key="")

    accepted = await matrix.adapter.accept(invite)

    assert not isinstance(accepted, Refusal)
    assert accepted[0].encrypted
    assert ROOM in matrix.adapter._sealed


async def test_an_invitation_that_was_taken_back_is_not_accepted(
    matrix: MatrixWorld,
) -> None:
    invite = asks_in(matrix)
    gone = {"membership": "leave"}
    matrix.server.add(ROOM, ALICE, "m.room.member", gone, state_key=GHOST)

    assert await matrix.adapter.accept(invite) is Refusal.NOT_ALLOWED


async def test_an_invitation_is_declined_and_nobody_misses_it(
    matrix: MatrixWorld,
) -> None:
    """E77: also if it was taken back meanwhile."""
    invite = asks_in(matrix)

    await matrix.adapter.decline(invite)
    assert matrix.server.membership(invite.room.address, GHOST) == "leave"

    matrix.server.faults.append(Fault("leave", 403, {"errcode": "M_FORBIDDEN"}))
    await matrix.adapter.decline(invite)


async def test_a_room_is_found_by_the_chat_that_it_is_for(matrix: MatrixWorld) -> None:
    assert await matrix.adapter.begun(CHAT, Kind.DIRECT) == ""
    made = await start(matrix)
    assert isinstance(made, Portal)

    assert await matrix.adapter.begun(CHAT, Kind.DIRECT) == made.matrix


async def test_while_the_homeserver_is_away_no_room_is_said_to_be_missing(
    matrix: MatrixWorld,
) -> None:
    matrix.server.faults.append(Fault("directory", 502, "bad gateway"))

    assert await matrix.adapter.begun(CHAT, Kind.DIRECT) is None


async def test_where_the_bridge_may_not_encrypt_both_sides_are_told(
    matrix: MatrixWorld,
) -> None:
    made = await start(matrix)
    assert isinstance(made, Portal)
    matrix.server.powerless.add(GHOST)

    for exposed in (True, False, False):
        assert not await matrix.adapter.protect(replace(made, exposed=exposed))

    ((room, one),) = matrix.host.later_wires
    told = order(one.data)
    assert isinstance(told, Says)
    assert (room.address, told.room) == (made.matrix, made.matrix)
    assert b"!xmpp dead retry all" in bytes(told.content)
