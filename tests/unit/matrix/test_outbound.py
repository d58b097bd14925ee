from datetime import UTC, datetime

from bridge.matrix.wires import Says, Stands, Titles, order
from bridge.model.delivery import Refusal
from bridge.model.events import Join, Leave, Rename, Subject
from bridge.model.places import Network, Person, Ref, Room
from bridge.model.records import Kind
from tests.unit.matrix.world import (
    ALICE,
    BOT,
    GHOST,
    HALL,
    JULIET,
    MUC,
    ROMEO,
    MatrixWorld,
    route,
    said,
)

NOW = datetime.now(UTC)
REF = Ref(Network.XMPP, "1")
ROOM = Room(Network.XMPP, MUC)


def joined() -> Join:
    return Join(ref=REF, room=ROOM, sender=JULIET, sent_at=NOW, name="Juliet")


def left(person: Person, sender: Person, *, banned: bool = False) -> Leave:
    return Leave(
        ref=REF,
        room=ROOM,
        sender=sender,
        sent_at=NOW,
        name="Romeo",
        person=person,
        banned=banned,
        reason="too loud",
    )


def test_a_message_goes_out_as_the_ghost_under_its_nick(matrix: MatrixWorld) -> None:
    wires = matrix.adapter.prepare(said("hi"), route(matrix.link()))

    assert not isinstance(wires, Refusal)
    (says,) = [order(wire.data) for wire in wires]
    assert isinstance(says, Says)
    assert (says.user, says.room, says.name) == (GHOST, HALL, "Juliet")
    assert says.person == JULIET.id
    assert not says.own


def test_what_is_too_long_for_one_event_becomes_several(matrix: MatrixWorld) -> None:
    wires = matrix.adapter.prepare(said("word " * 40_000), route(matrix.link()))

    assert not isinstance(wires, Refusal)
    assert len(wires) > 1
    assert len({wire.key for wire in wires}) == len(wires)


async def test_who_enters_a_room_we_host_joins_it(matrix: MatrixWorld) -> None:
    matrix.room()

    await matrix.sends(*await matrix.adapter.apply(joined(), route(matrix.link())))

    assert matrix.server.name_of(HALL, GHOST) == "Juliet"


async def test_who_only_listens_in_a_muc_is_seen_too(matrix: MatrixWorld) -> None:
    """The XMPP side tells only of small rooms: joins are slow."""
    matrix.room()
    portal = matrix.link(Kind.FOREIGN)

    await matrix.sends(*await matrix.adapter.apply(joined(), route(portal)))

    assert matrix.server.name_of(HALL, GHOST) == "Juliet"


async def test_a_new_nick_is_shown_where_the_ghost_is(matrix: MatrixWorld) -> None:
    matrix.room()
    portal = matrix.link(Kind.FOREIGN)
    rename = Rename(ref=REF, room=ROOM, sender=JULIET, sent_at=NOW, name="Jule")

    before = await matrix.adapter.apply(rename, route(portal))
    await matrix.says("hi", portal)
    await matrix.sends(*await matrix.adapter.apply(rename, route(portal)))

    assert not before
    assert matrix.server.name_of(HALL, GHOST) == "Jule"


async def test_who_leaves_leaves(matrix: MatrixWorld) -> None:
    matrix.room()
    portal = matrix.link()
    await matrix.says("hi", portal)

    await matrix.sends(*await matrix.adapter.apply(left(JULIET, JULIET), route(portal)))

    assert matrix.server.membership(HALL, GHOST) == "leave"


async def test_who_is_put_out_there_leaves_here_and_tells_why(
    matrix: MatrixWorld,
) -> None:
    portal = matrix.link()

    (wire,) = await matrix.adapter.apply(left(JULIET, ROMEO), route(portal))

    stands = order(wire.data)
    assert isinstance(stands, Stands)
    assert (stands.user, stands.membership) == (GHOST, "leave")
    assert stands.reason == "removed by Romeo: too loud"


async def test_somebody_of_matrix_who_is_banned_there_is_banned_here(
    matrix: MatrixWorld,
) -> None:
    portal = matrix.link(Kind.PLUMBED)
    alice = Person(Network.MATRIX, ALICE)

    (wire,) = await matrix.adapter.apply(left(alice, ROMEO, banned=True), route(portal))

    stands = order(wire.data)
    assert isinstance(stands, Stands)
    assert (stands.user, stands.target, stands.membership) == (BOT, ALICE, "ban")


async def test_a_subject_becomes_the_topic(matrix: MatrixWorld) -> None:
    portal = matrix.link(Kind.FOREIGN)
    subject = Subject(ref=REF, room=ROOM, sender=JULIET, sent_at=NOW, topic="Tea")

    (wire,) = await matrix.adapter.apply(subject, route(portal))

    assert order(wire.data) == Titles(GHOST, BOT, HALL, "Tea", JULIET.id)
