import pytest

from bridge.model.delivery import Description, Member
from bridge.model.events import Rank
from bridge.model.places import Network, Person, PortalId
from bridge.model.records import Kind, Portal
from bridge.xmpp.codec.prep import resourceprep
from bridge.xmpp.muc.presence import Stencils
from bridge.xmpp.muc.room import HostedRoom, occupant_id
from tests.unit.xmpp.muc.world import ALICE, BOB, DOMAIN, ROMEO, TEA


@pytest.fixture
def room() -> HostedRoom:
    portal = Portal(PortalId(1), Kind.HOSTED, "!1:hs.example", TEA, "@bot")
    return HostedRoom(portal, DOMAIN, b"secret", Stencils(DOMAIN))


def person(name: str) -> Person:
    return Person(Network.MATRIX, f"@{name}:hs.example")


@pytest.mark.parametrize(
    "called",
    [
        "",
        " ",
        "\U0001f98a",
        "\x00\x07",
        "a" * 5000,
        "\u202egnol",
        "\u0645\u0631\u062d\u0628\u0627",
        "x" * 63 + " y",
        "line\nbreak",
        "<&'\">",
    ],
)
def test_every_name_gives_a_nick_even_to_many(room: HostedRoom, called: str) -> None:
    """E 5, 6, 18: servers take every nick as it is, and no two are the same."""
    seats = [room.seat(person(f"p{n}"), called, Rank.MEMBER) for n in range(20)]

    nicks = [seat.nick for seat in seats]
    assert len(set(nicks)) == len(room.seats) == 20
    assert all(resourceprep(nick) == nick for nick in nicks)


def test_names_that_look_alike_are_told_apart(room: HostedRoom) -> None:
    room.seat(ALICE, "Alice", Rank.MEMBER)

    assert room.nick(BOB, "\u0410lice") == "\u0410lice (bob)"
    assert room.nick(BOB, "ALICE") == "ALICE (bob)"
    assert room.nick(ALICE, "alice") == "alice"


def test_members_are_seated_once(room: HostedRoom) -> None:
    room.leave(room.seat(BOB, "Bob", Rank.MEMBER))
    members = [
        Member(ALICE, "Alice"),
        Member(BOB, "Bob"),
        Member(Person(Network.XMPP, "ghost@x"), "ghost"),
    ]

    room.fill(members)
    room.fill(members)

    assert list(room.people) == [ALICE.id]


def test_a_room_that_becomes_private_shows_who_is_who(room: HostedRoom) -> None:
    seat = room.seat(ALICE, "Alice", Rank.MEMBER)
    before = room.presence(seat).to(ROMEO)

    room.describe(Description("Tea", public=False))

    assert b"alice_hs.example" not in before
    assert b"alice_hs.example" in room.presence(seat).to(ROMEO)


def test_an_occupant_id_says_nothing_of_who_it_is() -> None:
    """XEP-0421 §4: the same for a person, another in another room."""
    mine = occupant_id(b"secret", TEA, ALICE.id)

    assert mine == occupant_id(b"secret", TEA, ALICE.id)
    others = {
        occupant_id(b"other", TEA, ALICE.id),
        occupant_id(b"secret", "x", ALICE.id),
        occupant_id(b"secret", TEA, BOB.id),
    }
    assert mine not in others
    assert len(others) == 3
