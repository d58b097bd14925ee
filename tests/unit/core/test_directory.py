from datetime import UTC, datetime

import pytest

from bridge.core.directory import Directory
from bridge.core.ports import Unit
from bridge.model.events import Retitled, Subject
from bridge.model.places import Network, Person, PortalId, Ref, Room
from bridge.model.records import Kind, Portal
from tests.conftest import World
from tests.fakes import TEA_MATRIX, TEA_XMPP

MATRIX, XMPP = Room(Network.MATRIX, "!a:hs"), Room(Network.XMPP, "a@b")


def subject(room: Room) -> Subject:
    return Subject(
        ref=Ref(room.network, "1"),
        room=room,
        sender=Person(room.network, "somebody"),
        sent_at=datetime.now(UTC),
        topic="coffee",
    )


def portal(kind: Kind) -> Portal:
    return Portal(PortalId(1), kind, MATRIX.address, XMPP.address, "", topic="tea")


@pytest.mark.parametrize(
    ("kind", "where", "topic"),
    [
        (Kind.HOSTED, MATRIX, "coffee"),
        (Kind.HOSTED, XMPP, "tea"),
        (Kind.FOREIGN, XMPP, "coffee"),
        (Kind.PLUMBED, MATRIX, "tea"),
    ],
)
def test_what_a_room_is_about_is_for_its_home_to_say(
    kind: Kind, where: Room, topic: str
) -> None:
    directory, unit = Directory([portal(kind)]), Unit()

    directory.note(portal(kind), subject(where), unit)

    (known,) = directory
    assert known.topic == topic
    assert unit.put == ([known] if topic == "coffee" else [])


def test_a_name_is_kept_and_written_once() -> None:
    directory, unit = Directory([portal(Kind.HOSTED)]), Unit()
    said = subject(MATRIX)
    event = Retitled(
        ref=said.ref,
        room=MATRIX,
        sender=said.sender,
        sent_at=said.sent_at,
        title="The tea room",
    )

    for _ in range(2):
        (known,) = directory
        directory.note(known, event, unit)

    assert [getattr(record, "name", "") for record in unit.put] == ["The tea room"]


async def test_a_topic_that_crosses_is_kept_with_its_portal(world: World) -> None:
    await world.happens(subject(TEA_XMPP))

    (kept,) = await world.store.load(Portal)
    assert kept.topic == "coffee"
    assert world.directory.portal(TEA_MATRIX) == kept
    assert [getattr(event, "topic", "") for event in world.matrix.applied] == ["coffee"]
