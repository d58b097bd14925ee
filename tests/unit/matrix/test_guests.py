import pytest

from bridge.matrix import guests
from bridge.matrix.client import MatrixError
from bridge.matrix.guests import DeclinedError
from bridge.model.records import Kind
from tests.homeserver import Fault
from tests.unit.matrix.world import ALICE, BOB, GHOST, JULIET, MatrixWorld

CHAT = "!chat:hs"


async def with_ghost(matrix: MatrixWorld) -> None:
    matrix.server.users.add(GHOST)
    matrix.server.add(CHAT, GHOST, "m.room.create", {}, state_key="")
    await matrix.adapter._presences.enter(CHAT, GHOST, JULIET.id, "Juliet")


async def test_a_guest_who_left_is_invited_again_once(matrix: MatrixWorld) -> None:
    await with_ghost(matrix)
    await matrix.adapter._guests.left(CHAT, ALICE, declined=False)
    await matrix.restarts()

    await matrix.adapter._guests.recall(CHAT, GHOST)
    await matrix.adapter._guests.recall(CHAT, GHOST)

    assert matrix.server.membership(CHAT, ALICE) == "invite"
    assert len(matrix.server.asked("invite")) == 1


@pytest.mark.parametrize("kind", ["m.room.message", "m.room.encrypted"])
async def test_what_was_said_while_they_went_out_asks_them_back(
    matrix: MatrixWorld, kind: str
) -> None:
    await with_ghost(matrix)
    leave = matrix.server.add(
        CHAT, ALICE, "m.room.member", {"membership": "leave"}, state_key=ALICE
    )
    await matrix.adapter._guests.left(CHAT, ALICE, declined=False)
    await matrix.adapter._guests.miss(CHAT, GHOST, leave["event_id"])
    assert matrix.server.membership(CHAT, ALICE) == "leave"

    matrix.server.add(CHAT, GHOST, kind, {"body": "still there?"})
    await matrix.adapter._guests.miss(CHAT, GHOST, leave["event_id"])

    assert matrix.server.membership(CHAT, ALICE) == "invite"


async def test_a_guest_who_declined_is_left_in_peace_for_a_while(
    matrix: MatrixWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_ghost(matrix)
    await matrix.adapter._guests.left(CHAT, ALICE, declined=True)
    with pytest.raises(DeclinedError):
        await matrix.adapter._guests.recall(CHAT, GHOST)

    monkeypatch.setattr(guests, "PEACE_S", -1)
    await matrix.adapter._guests.left(CHAT, ALICE, declined=True)
    await matrix.adapter._guests.recall(CHAT, GHOST)

    assert matrix.server.membership(CHAT, ALICE) == "invite"


async def test_a_guest_who_came_back_needs_no_invitation(matrix: MatrixWorld) -> None:
    await matrix.adapter._guests.left(CHAT, ALICE, declined=False)
    await matrix.adapter._guests.came(CHAT, BOB)
    assert CHAT in matrix.adapter._guests
    await matrix.adapter._guests.came(CHAT, ALICE)
    await matrix.restarts()

    assert CHAT not in matrix.adapter._guests


async def test_whose_chat_it_is_is_known_after_a_restart(matrix: MatrixWorld) -> None:
    assert matrix.adapter._guests.whose(CHAT) is None
    await matrix.adapter._guests.begins(CHAT, ALICE)
    await matrix.restarts()

    assert matrix.adapter._guests.whose(CHAT) == ALICE


async def test_whose_a_chat_was_is_forgotten_with_it(matrix: MatrixWorld) -> None:
    guests, other = matrix.adapter._guests, "!other:hs"
    for room in (CHAT, other):
        await guests.begins(room, ALICE)
        await guests.left(room, ALICE, declined=True)

    await matrix.adapter.depart(matrix.link(Kind.DIRECT, CHAT))

    assert (guests.whose(CHAT), CHAT in guests) == (None, False)
    await matrix.restarts()
    guests = matrix.adapter._guests
    assert (guests.whose(CHAT), CHAT in guests) == (None, False)
    assert (guests.whose(other), other in guests) == (ALICE, True)


async def test_a_guest_who_is_there_after_all_is_no_error(matrix: MatrixWorld) -> None:
    await with_ghost(matrix)
    there = {"errcode": "M_FORBIDDEN", "error": f"{ALICE} is already in the room."}
    banned = {"errcode": "M_FORBIDDEN", "error": f"{ALICE} is banned from the room"}
    matrix.server.faults += [Fault("invite", 403, there), Fault("invite", 403, banned)]

    await matrix.adapter._guests.invite(CHAT, GHOST, ALICE)
    with pytest.raises(MatrixError):
        await matrix.adapter._guests.invite(CHAT, GHOST, ALICE)
