from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bridge.core.ports import Unit
from bridge.model.events import Command, Rank
from bridge.model.places import Network, Person, Ref, Room
from bridge.model.records import Kind
from tests.conftest import World
from tests.fakes import TEA_MATRIX, TEA_XMPP

LIBRARY = Room(Network.MATRIX, "!library:hs.example")
BOOKS = Room(Network.XMPP, "books@muc.example")


def command(room: Room, words: str, rank: Rank = Rank.ADMIN) -> Command:
    return Command(
        ref=Ref(room.network, words + room.address + rank.name),
        room=room,
        sender=Person(room.network, "alice"),
        sent_at=datetime.now(UTC),
        name="Alice",
        words=words,
        rank=rank,
    )


async def plumb(world: World) -> None:
    world.xmpp_rooms.mucs.add(BOOKS.address)
    await world.happens(command(LIBRARY, f"bridge {BOOKS.address}"))
    await world.happens(command(BOOKS, "accept"))


async def test_admins_of_both_sides_link_a_room(world: World) -> None:
    await plumb(world)

    portal = world.directory.portal(LIBRARY)
    assert portal is not None
    assert portal.kind is Kind.PLUMBED
    assert portal.xmpp == BOOKS.address
    assert "Alice asks to link" in world.xmpp.said()[0]


async def test_only_admins_may_ask(world: World) -> None:
    world.xmpp_rooms.mucs.add(BOOKS.address)

    await world.happens(command(LIBRARY, f"bridge {BOOKS.address}", Rank.MODERATOR))

    assert world.matrix.said() == ["Only admins of this room may link it."]
    assert world.xmpp.said() == []


async def test_only_admins_of_the_muc_may_agree(world: World) -> None:
    world.xmpp_rooms.mucs.add(BOOKS.address)
    await world.happens(command(LIBRARY, f"bridge {BOOKS.address}"))

    await world.happens(command(BOOKS, "accept", Rank.MEMBER))

    assert world.directory.portal(LIBRARY) is None


async def test_nobody_can_agree_to_what_nobody_asked(world: World) -> None:
    await world.happens(command(BOOKS, "accept"))

    assert world.xmpp.said() == ["Nobody has asked to link this room."]


async def test_a_muc_that_is_not_there_cannot_be_linked(world: World) -> None:
    await world.happens(command(LIBRARY, f"bridge {BOOKS.address}"))

    assert world.matrix.said() == [
        "books@muc.example cannot be entered: there is no such room."
    ]


async def test_what_is_no_address_cannot_be_linked(world: World) -> None:
    await world.happens(command(LIBRARY, "bridge nowhere"))

    assert world.matrix.said() == [
        "nowhere is not the address of a MUC (room@muc.example.org)."
    ]


async def test_a_muc_that_is_linked_cannot_be_linked_again(world: World) -> None:
    await world.happens(command(LIBRARY, f"bridge {TEA_XMPP.address}"))

    assert "linked with another Matrix room" in world.matrix.said()[0]


async def test_another_bridge_in_the_room_is_recognised(world: World) -> None:
    world.matrix_rooms.other_bridge = "Bifröst"
    world.xmpp_rooms.mucs.add(BOOKS.address)

    await world.happens(command(LIBRARY, f"bridge {BOOKS.address}"))

    assert "Another bridge (Bifröst)" in world.matrix.said()[0]


async def test_unbridge_cleans_up_both_sides(world: World) -> None:
    await plumb(world)
    portal = world.directory.portal(LIBRARY)

    await world.happens(command(LIBRARY, "unbridge"))

    assert world.directory.portal(LIBRARY) is None
    assert world.matrix_rooms.departed == [portal]
    assert world.xmpp.said()[-1] == "the puppets leave"
    assert world.matrix.said()[-2:] == ["The link is undone.", "the ghosts leave"]


async def test_the_muc_can_undo_the_link_too(world: World) -> None:
    await plumb(world)

    await world.happens(command(BOOKS, "unbridge"))

    assert world.directory.portal(LIBRARY) is None
    assert "The link was undone from the other side." in world.matrix.said()


async def test_only_admins_undo_a_link(world: World) -> None:
    await plumb(world)

    await world.happens(command(LIBRARY, "unbridge", Rank.MEMBER))

    assert world.directory.portal(LIBRARY) is not None


async def test_everybody_may_ask_how_things_stand(world: World) -> None:
    await world.happens(command(TEA_MATRIX, "status", Rank.GUEST))
    await world.happens(command(LIBRARY, "status", Rank.GUEST))
    await world.happens(command(LIBRARY, "unbridge"))
    await world.happens(command(LIBRARY, "what?"))

    assert world.matrix.said()[0] == (
        "This room is the MUC tea@muc.example, as Matrix sees it."
    )
    assert world.matrix.said()[1:3] == ["This room is not linked with any."] * 2
    assert world.matrix.said()[3].startswith("There is no command what?.\n!xmpp bridge")


async def test_only_who_asks_for_what_there_is_not_is_told_so(world: World) -> None:
    alone = replace(command(LIBRARY, "are you there?"), private=True)

    for asked in (alone, command(LIBRARY, "help"), command(LIBRARY, "")):
        await world.happens(asked)

    assert len(world.matrix.said()) == 3
    assert all(words.startswith("!xmpp bridge") for words in world.matrix.said())


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Kind.HOSTED, "On XMPP this room is juliet@x alice@m."),
        (Kind.DIRECT, "This is a chat between juliet@x and alice@m."),
    ],
)
async def test_what_is_no_link_is_neither_made_one_nor_undone(
    world: World, kind: Kind, words: str
) -> None:
    portal = world.directory.portal(TEA_MATRIX)
    assert portal is not None
    world.directory.put(replace(portal, kind=kind, xmpp="juliet@x alice@m"), Unit())

    for asked in ("status", f"bridge {BOOKS.address}", "unbridge"):
        await world.happens(command(TEA_MATRIX, asked))

    assert world.matrix.said() == [
        words,
        f"This room cannot be linked. {words}",
        f"There is no link to undo. {words}",
    ]


async def test_how_to_undo_a_link_is_said_where_there_is_one(world: World) -> None:
    await plumb(world)

    await world.happens(command(LIBRARY, "bridge other@muc.example"))
    await world.happens(command(LIBRARY, "status"))

    assert world.matrix.said()[-2:] == [
        "This room is linked already; !xmpp unbridge undoes that.",
        f"This room is linked with {BOOKS.address}.",
    ]


@pytest.mark.parametrize(
    "words", ["bridge\nbooks@muc.example", "unbridge\x00", "status\u2028", "x" * 5000]
)
async def test_what_is_not_one_plain_line_is_no_command(
    world: World, words: str
) -> None:
    """E83, S2, S32: CVE-2023-38690, a command within a command."""
    world.xmpp_rooms.mucs.add(BOOKS.address)

    await world.happens(command(LIBRARY, words))

    (answer,) = world.matrix.said()
    assert answer.startswith("!xmpp bridge room@muc.example.org: link")
    assert world.xmpp.said() == []
