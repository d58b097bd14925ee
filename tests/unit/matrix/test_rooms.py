import pytest

from bridge.matrix.wires import Stands, order
from bridge.model.delivery import Description, Member, Refusal
from bridge.model.events import Protection, Rank
from bridge.model.places import Network, Person, Room
from bridge.model.records import Kind, Portal
from tests.homeserver import Fault
from tests.unit.matrix.world import (
    ALICE,
    BOB,
    BOT,
    GHOST,
    HALL,
    JULIET,
    MUC,
    MatrixWorld,
)

ALIAS = "#_xmpp_tea_muc.example:hs"
MEGOLM = {"algorithm": "m.megolm.v1.aes-sha2"}


def hall(matrix: MatrixWorld, **state: object) -> None:
    """Have a room that the bot is not in."""
    matrix.server.add(HALL, ALICE, "m.room.create", {}, state_key="")
    matrix.joins(HALL, ALICE)
    for kind, content in state.items():
        assert isinstance(content, dict)
        matrix.server.add(HALL, ALICE, f"m.room.{kind}", content, state_key="")
    matrix.server.aliases["#hall:hs"] = HALL


async def test_a_room_is_entered_by_its_alias(matrix: MatrixWorld) -> None:
    hall(matrix, name={"name": "The Hall"}, topic={"topic": "Talk"})

    made = await matrix.adapter.enter("#hall:hs", JULIET, "Juliet")

    assert isinstance(made, Portal)
    assert (made.kind, made.matrix, made.agent) == (Kind.HOSTED, HALL, BOT)
    assert (made.alias, made.name, made.topic) == ("#hall:hs", "The Hall", "Talk")
    assert made.via == "hs"
    assert matrix.server.membership(HALL, BOT) == "join"


async def test_a_room_is_entered_by_its_id(matrix: MatrixWorld) -> None:
    hall(matrix, canonical_alias={"alias": "#main:hs"})

    made = await matrix.adapter.enter(HALL, JULIET, "Juliet")

    assert isinstance(made, Portal)
    assert (made.matrix, made.alias) == (HALL, "#main:hs")


async def test_what_cannot_be_entered_says_why(matrix: MatrixWorld) -> None:
    hall(matrix)
    matrix.server.closed.add(HALL)
    enter = matrix.adapter.enter

    closed = await enter("#hall:hs", JULIET, "Juliet")
    nowhere = await enter("#nowhere:hs", JULIET, "Juliet")
    muc = await enter(ALIAS, JULIET, "Juliet")
    matrix.server.faults.append(Fault("directory", 502, "bad gateway"))
    away = await enter("#hall:hs", JULIET, "Juliet")

    assert closed is Refusal.NOT_ALLOWED
    assert nowhere is Refusal.NO_SUCH_ROOM
    assert muc is Refusal.NO_SUCH_ROOM
    assert away is Refusal.UNREACHABLE


@pytest.mark.parametrize("named", [True, False], ids=["seen", "unseen"])
async def test_an_encrypted_room_is_entered_and_sealed(
    matrix: MatrixWorld, *, named: bool
) -> None:
    state = {"name": {"name": "The Hall"}} if named else {}
    hall(matrix, encryption=MEGOLM, **state)

    made = await matrix.adapter.enter("#hall:hs", JULIET, "Juliet")

    assert isinstance(made, Portal)
    assert made.encrypted
    assert matrix.adapter.protection(made) is Protection.END_TO_END


async def test_a_room_is_looked_at_without_entering(matrix: MatrixWorld) -> None:
    hall(matrix, name={"name": "The Hall"})

    seen = await matrix.adapter.look("#hall:hs")

    assert seen == Description("The Hall", public=True)
    assert matrix.server.membership(HALL, BOT) == ""


async def test_a_room_that_shows_nothing_is_still_there(matrix: MatrixWorld) -> None:
    hall(matrix)

    assert await matrix.adapter.look("#hall:hs") == Description("#hall:hs")
    assert await matrix.adapter.look("!no:hs") is Refusal.NO_SUCH_ROOM


async def test_a_room_is_described_by_its_people(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE, BOB, GHOST)
    levels = {"users": {ALICE: 50}, "events": {"m.room.power_levels": 100}}
    matrix.server.add(HALL, BOT, "m.room.power_levels", levels, state_key="")
    rules = {"join_rule": "public"}
    matrix.server.add(HALL, BOT, "m.room.join_rules", rules, state_key="")

    seen = await matrix.adapter.describe(HALL)

    assert seen.public
    assert seen.members == (
        Member(Person(Network.MATRIX, ALICE), "Alice", Rank.MODERATOR),
        Member(Person(Network.MATRIX, BOB), "Bob", Rank.MEMBER),
    )


async def test_a_room_that_cannot_be_seen_is_described_by_nothing(
    matrix: MatrixWorld,
) -> None:
    matrix.server.faults.append(
        Fault("m.room.name", 403, {"errcode": "M_FORBIDDEN", "error": ""})
    )

    assert await matrix.adapter.describe(HALL) == Description()


async def test_a_muc_gets_a_room_that_says_what_it_is(matrix: MatrixWorld) -> None:
    about = Description(name="Tea", topic="Oolong")

    made = await matrix.adapter.found(MUC, about)

    assert isinstance(made, Portal)
    assert (made.kind, made.alias, made.agent) == (Kind.FOREIGN, ALIAS, BOT)
    assert matrix.server.aliases[ALIAS] == made.matrix
    key = "im.xmpp://hs/tea@muc.example"
    for kind in ("m.bridge", "uk.half-shot.bridge"):
        mark = matrix.server.rooms[made.matrix].state[kind, key]["content"]
        assert mark["channel"]["id"] == MUC


async def test_a_muc_is_founded_once(matrix: MatrixWorld) -> None:
    first = await matrix.adapter.found(MUC, Description())
    await matrix.restarts()

    assert await matrix.adapter.found(MUC, Description()) == first


async def test_a_room_that_nobody_can_enter_any_more_is_replaced(
    matrix: MatrixWorld,
) -> None:
    first = await matrix.adapter.found(MUC, Description())
    assert isinstance(first, Portal)
    matrix.server.closed.add(first.matrix)
    gone = {"membership": "leave"}
    matrix.server.add(first.matrix, BOT, "m.room.member", gone, state_key=BOT)

    second = await matrix.adapter.found(MUC, Description())

    assert isinstance(second, Portal)
    assert second.matrix != first.matrix


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_a_room_that_cannot_be_entered_just_now_keeps_its_alias(
    matrix: MatrixWorld, status: int
) -> None:
    """Those who are in it would be cut off from the MUC, and from those who come."""
    first = await matrix.adapter.found(MUC, Description())
    assert isinstance(first, Portal)
    await matrix.restarts()
    refused = {"errcode": "M_UNKNOWN", "error": "not now"}
    matrix.server.faults.append(Fault("/join/", status, refused))

    assert await matrix.adapter.found(MUC, Description()) is Refusal.UNREACHABLE
    assert await matrix.adapter.found(MUC, Description()) == first


async def test_the_room_of_a_muc_is_found_by_it(matrix: MatrixWorld) -> None:
    muc = Room(Network.XMPP, MUC)
    assert await matrix.adapter.begun(muc, Kind.FOREIGN) == ""
    made = await matrix.adapter.found(MUC, Description())
    assert isinstance(made, Portal)

    assert await matrix.adapter.begun(muc, Kind.FOREIGN) == made.matrix


async def test_a_muc_that_is_not_open_to_all_is_not_opened_to_all(
    matrix: MatrixWorld,
) -> None:
    why = await matrix.adapter.found(MUC, Description(public=False))

    assert why is Refusal.NOT_ALLOWED


async def test_a_room_can_be_linked_encrypted_or_not(matrix: MatrixWorld) -> None:
    matrix.room()
    made = await matrix.adapter.linkable(HALL)
    matrix.server.add(HALL, BOT, "m.room.encryption", MEGOLM, state_key="")

    assert isinstance(made, Portal)
    assert made.kind is Kind.PLUMBED
    sealed = await matrix.adapter.linkable(HALL)
    assert isinstance(sealed, Portal)
    assert sealed.encrypted


@pytest.mark.parametrize(
    ("sender", "channel", "other"),
    [
        ("@bifrost:far", MUC, "@bifrost:far"),
        ("@bifrost:far", "TEA@muc.example", "@bifrost:far"),
        ("@bifrost:far", "coffee@muc.example", ""),
        (BOT, MUC, ""),
        ("@bifrost:far", None, ""),
    ],
    ids=str,
)
async def test_another_bridge_is_known_by_what_it_says(
    matrix: MatrixWorld, sender: str, channel: str | None, other: str
) -> None:
    """facts S38: two bridges in one room double everything for ever."""
    matrix.room()
    content = {"bridgebot": sender, "channel": {"id": channel}} if channel else {}
    event = {"type": "m.bridge", "state_key": "", "sender": sender, "content": content}
    matrix.server.syncs = {"rooms": {"join": {HALL: {"state": {"events": [event]}}}}}

    assert await matrix.adapter.foreign_bridge(HALL, MUC) == other


async def test_another_bridge_is_known_by_its_ghosts(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE, "@_bifrost_romeo=2ftea=40muc.example:far")

    assert await matrix.adapter.foreign_bridge(HALL, MUC) == "far"
    assert await matrix.adapter.foreign_bridge(HALL, "other@muc.example") == ""


async def test_our_ghosts_leave_a_room_that_is_unlinked(matrix: MatrixWorld) -> None:
    matrix.room()
    portal = matrix.link(Kind.PLUMBED)
    await matrix.says("hi", portal)

    wires = await matrix.adapter.depart(portal)
    await matrix.sends(*wires)

    assert matrix.server.membership(HALL, GHOST) == "leave"
    assert matrix.server.membership(HALL, BOT) == "join"


async def test_the_bot_leaves_a_room_it_has_made(matrix: MatrixWorld) -> None:
    portal = matrix.link(Kind.FOREIGN)

    (wire,) = await matrix.adapter.depart(portal)

    stands = order(wire.data)
    assert isinstance(stands, Stands)
    assert (stands.user, stands.membership) == (BOT, "leave")
