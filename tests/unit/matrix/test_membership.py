import pytest

from bridge.matrix.bot import MEMBERS_MAX
from bridge.model.delivery import Unreadable
from bridge.model.events import (
    AnyEvent,
    Command,
    Invite,
    Join,
    Leave,
    Rank,
    Rename,
    Repictured,
)
from bridge.model.pictures import recognise
from bridge.model.places import Network, Person
from bridge.model.records import Kind
from tests.homeserver import Event
from tests.unit.matrix.world import (
    ALICE,
    BOB,
    BOT,
    GHOST,
    HALL,
    JULIET,
    MatrixWorld,
    with_previous,
)
from tests.unit.model.test_pictures import png

ALICE_THERE, BOB_THERE = Person(Network.MATRIX, ALICE), Person(Network.MATRIX, BOB)


def changes(
    matrix: MatrixWorld, sender: str, target: str, membership: str, **more: object
) -> Event:
    content = {"membership": membership, **more}
    return matrix.server.add(HALL, sender, "m.room.member", content, state_key=target)


async def test_somebody_comes_in(matrix: MatrixWorld) -> None:
    matrix.room(HALL, BOB)
    matrix.link()

    event = await matrix.reads(matrix.joins(HALL, ALICE, "Alice W."))

    assert isinstance(event, Join)
    assert (event.sender, event.name) == (ALICE_THERE, "Alice W.")
    assert event.room.address == HALL


async def test_somebody_of_a_known_name_comes_in(matrix: MatrixWorld) -> None:
    matrix.room(HALL, BOB)
    matrix.link()
    await matrix.adapter._members.of(HALL)

    event = await matrix.reads(matrix.joins(HALL, ALICE, "Bob"))

    assert isinstance(event, Join)
    assert event.name == "Bob (@alice:hs)"


async def test_somebody_changes_their_name(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE)
    matrix.link()
    joined = matrix.joins(HALL, ALICE, "Alicia")

    told = await matrix.reads(
        with_previous(joined, membership="join", displayname="Alice")
    )
    again = await matrix.reads(matrix.joins(HALL, ALICE, "Ally"))

    assert isinstance(told, Rename)
    assert told.name == "Alicia"
    assert isinstance(again, Rename)


async def test_where_nothing_changed_there_is_nothing_to_tell(
    matrix: MatrixWorld,
) -> None:
    matrix.room(HALL, ALICE)
    matrix.link()
    joined = matrix.joins(HALL, ALICE, "Alice")

    event = await matrix.reads(
        with_previous(joined, membership="join", displayname="Alice")
    )

    assert event is None


async def test_somebody_shows_another_picture(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE)
    matrix.link()
    matrix.server.profiles[ALICE] = {"avatar_url": "mxc://hs/face"}
    matrix.server.media |= {"face": png(1, 1), "mask": png(2, 2)}
    before = await matrix.adapter.pictured(ALICE_THERE)
    matrix.server.profiles[ALICE] = {"avatar_url": "mxc://hs/mask"}
    shown = {"displayname": "Alice", "avatar_url": "mxc://hs/mask"}

    event = await matrix.reads(
        with_previous(
            changes(matrix, ALICE, ALICE, "join", **shown),
            membership="join",
            displayname="Alice",
            avatar_url="mxc://hs/face",
        )
    )

    assert isinstance(event, Repictured)
    assert (event.sender, event.name) == (ALICE_THERE, "Alice")
    assert before == recognise(png(1, 1))
    assert await matrix.adapter.pictured(ALICE_THERE) == recognise(png(2, 2))


async def test_somebody_goes(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE)
    matrix.link()
    await matrix.adapter._members.of(HALL)

    left = changes(matrix, ALICE, ALICE, "leave", reason="tea")
    event = await matrix.reads(with_previous(left, membership="join"))

    assert isinstance(event, Leave)
    assert (event.person, event.sender) == (ALICE_THERE, ALICE_THERE)
    assert event.reason == "tea"
    assert not event.banned
    assert ALICE not in await matrix.adapter._members.of(HALL)


async def test_somebody_is_banned_by_somebody(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE, BOB)
    matrix.link()

    banned = changes(matrix, BOB, ALICE, "ban")
    event = await matrix.reads(with_previous(banned, membership="join"))

    assert isinstance(event, Leave)
    assert (event.person, event.sender) == (ALICE_THERE, BOB_THERE)
    assert event.banned
    assert event.name == "Bob"


@pytest.mark.parametrize(
    ("sender", "before", "now"),
    [
        (BOB, "ban", "leave"),
        (BOB, "leave", "ban"),
        (BOB, "knock", "leave"),
        (BOB, "invite", "leave"),
        (BOB, "leave", "invite"),
        (ALICE, "leave", "knock"),
    ],
)
async def test_what_makes_no_difference_to_the_others_is_not_told(
    matrix: MatrixWorld, sender: str, before: str, now: str
) -> None:
    matrix.room(HALL, BOB)
    matrix.link()

    changed = changes(matrix, sender, ALICE, now)

    assert await matrix.reads(with_previous(changed, membership=before)) is None


async def test_a_guest_who_declines_is_remembered(matrix: MatrixWorld) -> None:
    matrix.room(HALL, GHOST)
    matrix.link(Kind.DIRECT, agent=GHOST)

    left = changes(matrix, ALICE, ALICE, "leave")
    event = await matrix.reads(with_previous(left, membership="invite"))

    assert isinstance(event, Leave)
    assert event.declined
    assert HALL in matrix.adapter._guests


async def test_a_guest_who_comes_back_is_noted(matrix: MatrixWorld) -> None:
    matrix.room(HALL, GHOST)
    matrix.link(Kind.DIRECT, agent=GHOST)
    left = changes(matrix, ALICE, ALICE, "leave")
    await matrix.reads(with_previous(left, membership="join"))
    assert HALL in matrix.adapter._guests

    await matrix.reads(matrix.joins(HALL, ALICE))

    assert HALL not in matrix.adapter._guests


@pytest.mark.parametrize("before", ["invite", "join"])
async def test_somebody_else_who_does_not_stay_in_a_chat_is_not_asked_back(
    matrix: MatrixWorld, before: str
) -> None:
    """What is written to Alice must not wait for Bob, whom she has asked in."""
    matrix.room(HALL, GHOST, ALICE)
    await matrix.adapter._guests.begins(HALL, ALICE)
    matrix.link(Kind.DIRECT, agent=GHOST)

    left = changes(matrix, BOB, BOB, "leave")
    event = await matrix.reads(with_previous(left, membership=before))

    assert isinstance(event, Leave)
    assert not event.declined
    assert HALL not in matrix.adapter._guests


async def test_where_nobody_knows_whose_chat_it_is_it_is_theirs_who_are_there(
    matrix: MatrixWorld,
) -> None:
    matrix.server.users.add(GHOST)
    matrix.room(HALL, GHOST, ALICE)
    matrix.link(Kind.DIRECT, agent=GHOST)

    left = changes(matrix, BOB, BOB, "leave")
    await matrix.reads(with_previous(left, membership="invite"))

    assert HALL not in matrix.adapter._guests


@pytest.mark.parametrize("direct", [True, False])
async def test_a_ghost_is_invited(matrix: MatrixWorld, *, direct: bool) -> None:
    invited = changes(matrix, ALICE, GHOST, "invite", is_direct=direct)

    event = await matrix.reads(invited)

    assert isinstance(event, Invite)
    assert (event.sender, event.person) == (ALICE_THERE, JULIET)
    assert event.direct is direct
    assert event.ref.id == invited["event_id"]


async def test_a_ghost_is_put_out(matrix: MatrixWorld) -> None:
    matrix.room(HALL, BOB)
    portal = matrix.link()
    await matrix.says("hi", portal)

    kicked = changes(matrix, BOB, GHOST, "leave", reason="spam")
    event = await matrix.reads(with_previous(kicked, membership="join"))

    assert isinstance(event, Leave)
    assert (event.person, event.sender) == (JULIET, BOB_THERE)
    assert await matrix.adapter._presences.find(HALL, GHOST) is None


async def test_an_invitation_of_a_ghost_is_taken_back(matrix: MatrixWorld) -> None:
    taken_back = changes(matrix, BOB, GHOST, "leave")

    event = await matrix.reads(with_previous(taken_back, membership="invite"))

    assert event is None


async def test_a_ghost_of_a_long_name_is_known_by_what_was_noted(
    matrix: MatrixWorld,
) -> None:
    person = Person(Network.XMPP, "x" * 300 + "@capulet.lit")
    assert await matrix.adapter.exists(person.id)
    mxid = matrix.adapter._outbound.ghost(person.id)

    event = await matrix.reads(changes(matrix, ALICE, mxid, "invite"))
    nobody = await matrix.reads(changes(matrix, ALICE, "@_xmpp_==:hs", "invite"))

    assert isinstance(event, Invite)
    assert event.person == person
    assert nobody is None


async def test_the_bot_comes_in_and_says_hello(matrix: MatrixWorld) -> None:
    matrix.joins(HALL, ALICE)
    matrix.server.closed.add(HALL)

    event = await matrix.reads(changes(matrix, ALICE, BOT, "invite"))

    assert event is None
    assert matrix.server.membership(HALL, BOT) == "join"
    ((room, _),) = matrix.host.later_wires
    assert room.address == HALL


async def test_the_bot_says_nothing_where_it_does_not_come_in(
    matrix: MatrixWorld,
) -> None:
    matrix.joins(HALL, ALICE)
    size = MEMBERS_MAX + 1
    name = {"name": "The Hall"}
    matrix.server.add(HALL, ALICE, "m.room.name", name, state_key="", size=size)

    await matrix.reads(changes(matrix, ALICE, BOT, "invite"))

    assert not matrix.host.later_wires


async def test_the_bot_in_an_encrypted_room_seals_it(matrix: MatrixWorld) -> None:
    matrix.joins(HALL, ALICE)
    algorithm = {"algorithm": "m.megolm.v1.aes-sha2"}
    matrix.server.add(HALL, ALICE, "m.room.encryption", algorithm, state_key="")

    await matrix.reads(changes(matrix, ALICE, BOT, "invite"))

    assert HALL in matrix.adapter._sealed


async def test_a_chat_whose_room_an_admin_has_closed_is_over(
    matrix: MatrixWorld,
) -> None:
    """Synapse lets everybody leave of their own, as it seems; ghosts, too."""
    matrix.room(HALL, ALICE, GHOST)
    matrix.link(Kind.DIRECT, agent=GHOST)

    event = await matrix.reads(changes(matrix, GHOST, GHOST, "leave"))

    assert isinstance(event, Leave)
    assert event.person == JULIET


async def test_a_chat_that_has_begun_again_in_the_same_room_goes_on(
    matrix: MatrixWorld,
) -> None:
    """What is read again may be of a time when it was over."""
    matrix.server.users.add(GHOST)
    matrix.room(HALL, ALICE, GHOST)
    matrix.link(Kind.DIRECT, agent=GHOST)
    left = changes(matrix, GHOST, GHOST, "leave")
    matrix.joins(HALL, GHOST)

    assert await matrix.reads(left) is None


async def test_a_ghost_that_leaves_what_is_no_chat_of_its_own_says_nothing(
    matrix: MatrixWorld,
) -> None:
    matrix.room(HALL, ALICE, GHOST)
    assert await matrix.reads(changes(matrix, GHOST, GHOST, "leave")) is None
    matrix.link(Kind.HOSTED)
    assert await matrix.reads(changes(matrix, GHOST, GHOST, "leave")) is None
    matrix.link(Kind.DIRECT, agent=GHOST)
    assert await matrix.reads(changes(matrix, GHOST, GHOST, "join")) is None


@pytest.mark.parametrize("kind", [Kind.PLUMBED, Kind.HOSTED])
async def test_who_puts_the_bot_out_undoes_the_link(
    matrix: MatrixWorld, kind: Kind
) -> None:
    matrix.room(HALL, BOB)
    matrix.link(kind)

    event = await matrix.reads(changes(matrix, BOB, BOT, "leave"))

    if kind is Kind.HOSTED:
        assert event is None
    else:
        assert isinstance(event, Command)
        assert (event.words, event.rank) == ("unbridge", Rank.ADMIN)


@pytest.mark.parametrize(
    "broken",
    [
        {"state_key": ""},
        {"state_key": "somebody"},
        {"content": 7},
        {"content": {}},
        {"content": {"membership": "enthusiast"}},
    ],
    ids=str,
)
async def test_a_member_event_that_is_none_says_nothing(
    matrix: MatrixWorld, broken: Event
) -> None:
    """facts E.74."""
    event = {**changes(matrix, ALICE, BOB, "join"), **broken}

    assert await matrix.reads(event) is None


async def test_a_name_of_a_hundred_kilobytes_is_cut(matrix: MatrixWorld) -> None:
    matrix.room(HALL)
    matrix.link()

    event = await matrix.reads(matrix.joins(HALL, ALICE, "x" * 100_000))

    assert named(event) == "x" * 100


def named(event: AnyEvent | Unreadable | None) -> str:
    assert isinstance(event, Join)
    return event.name
