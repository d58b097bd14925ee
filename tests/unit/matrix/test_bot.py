from bridge.matrix.bot import NAME
from bridge.matrix.views import Place
from bridge.matrix.wires import Says, order
from bridge.model.delivery import Refusal
from tests.homeserver import Fault
from tests.unit.matrix.world import ALICE, BOT, GHOST, HALL, JULIET, MatrixWorld

CHAT = "!chat:hs"


def invited(matrix: MatrixWorld, size: int = 2, sender: str = ALICE) -> None:
    server = matrix.server
    server.add(CHAT, sender, "m.room.create", {}, state_key="")
    name = {"name": "The Hall"}
    server.add(CHAT, sender, "m.room.name", name, state_key="", size=size)
    invitation = {"membership": "invite"}
    server.add(CHAT, sender, "m.room.member", invitation, state_key=BOT)
    server.closed.add(CHAT)


async def test_the_bot_is_somebody_with_a_name(matrix: MatrixWorld) -> None:
    assert matrix.server.profiles[BOT] == {"displayname": NAME}


async def test_the_bot_comes_in_where_it_is_invited(matrix: MatrixWorld) -> None:
    invited(matrix)

    assert await matrix.adapter._bot.invited(CHAT, ALICE)

    assert matrix.server.membership(CHAT, BOT) == "join"
    assert await matrix.adapter._presences.find(CHAT, BOT)


async def test_the_bot_stays_out_of_very_large_rooms(matrix: MatrixWorld) -> None:
    """facts E.77: an invitation to a room of ten thousand."""
    invited(matrix, size=10_000)

    assert not await matrix.adapter._bot.invited(CHAT, ALICE)

    assert matrix.server.membership(CHAT, BOT) == "leave"


async def test_nobody_of_a_blocked_server_can_invite_the_bot(
    matrix: MatrixWorld,
) -> None:
    matrix.host.barred.add("@eve:evil.example")
    invited(matrix, sender="@eve:evil.example")

    assert not await matrix.adapter._bot.invited(CHAT, "@eve:evil.example")

    assert matrix.server.membership(CHAT, BOT) == "leave"


async def test_an_invitation_that_was_taken_back_is_no_error(
    matrix: MatrixWorld,
) -> None:
    invited(matrix)
    gone = {"membership": "leave"}
    matrix.server.add(CHAT, ALICE, "m.room.member", gone, state_key=BOT)

    assert not await matrix.adapter._bot.invited(CHAT, ALICE)


async def test_an_alias_that_has_moved_is_not_followed(matrix: MatrixWorld) -> None:
    matrix.room()
    matrix.server.aliases["#hall:hs"] = HALL
    moved = {"room_id": "!elsewhere:hs"}
    matrix.server.faults.append(Fault("/join/", 200, moved))

    seen = await matrix.adapter.enter("#hall:hs", JULIET, "Juliet")

    assert seen is Refusal.NO_SUCH_ROOM


async def test_the_bot_says_what_it_is_good_for(matrix: MatrixWorld) -> None:
    (wire,) = matrix.adapter._bot.hello(HALL)

    says = order(wire.data)
    assert isinstance(says, Says)
    assert "@_xmpp_juliet=40capulet.lit:hs" in bytes(says.content).decode()
    assert "#_xmpp_room_muc.example.org:hs" in bytes(says.content).decode()


async def test_in_a_direct_room_its_ghost_speaks_for_the_bridge(
    matrix: MatrixWorld,
) -> None:
    matrix.link(agent=GHOST)

    (wire,) = matrix.adapter._bot.notice(HALL, "words", to="$1")

    says = order(wire.data)
    assert isinstance(says, Says)
    assert (says.user, says.own) == (GHOST, True)
    assert b'"m.in_reply_to":{"event_id":"$1"}' in bytes(says.content)
    assert b"m.notice" in bytes(says.content)


async def test_the_bot_knows_whether_a_room_is_encrypted(matrix: MatrixWorld) -> None:
    matrix.room()
    assert not await matrix.adapter._bot.is_encrypted(HALL)

    algorithm = {"algorithm": "m.megolm.v1.aes-sha2"}
    matrix.server.add(HALL, ALICE, "m.room.encryption", algorithm, state_key="")
    assert await matrix.adapter._bot.is_encrypted(HALL)

    matrix.server.faults.append(Fault("m.room.name", 502, "bad gateway"))
    assert not await matrix.adapter._bot.is_encrypted(HALL)


async def test_a_room_the_bot_is_in_is_entered_once_more_without_harm(
    matrix: MatrixWorld,
) -> None:
    matrix.room()

    await matrix.adapter._bot.join(Place(HALL, ("hs",)))

    assert matrix.server.membership(HALL, BOT) == "join"
