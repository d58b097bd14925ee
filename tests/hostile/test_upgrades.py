"""Rooms that are replaced, truly or not, on the whole bridge."""

import pytest

from bridge.core.ports import Unit
from bridge.model.places import Network, PortalId, Room
from bridge.model.records import Kind, Portal
from tests.hostile.stage import Stage
from tests.unit.matrix.world import ALICE, BOT, HALL

NEW = "!new:hs"
SAID = "m.room.message"


def made_new(stage: Stage, old: str = HALL) -> None:
    create = {"predecessor": {"room_id": old}}
    stage.server.add(NEW, ALICE, "m.room.create", create, state_key="")
    joined = {"membership": "join", "displayname": "Alice"}
    stage.server.add(NEW, ALICE, "m.room.member", joined, state_key=ALICE)


async def replaced(stage: Stage) -> None:
    content = {"replacement_room": NEW}
    event = stage.server.add(HALL, ALICE, "m.room.tombstone", content, state_key="")
    await stage.happens(event)


async def test_s31_a_room_that_was_replaced_goes_on(stage: Stage) -> None:
    """S31, E76."""
    made_new(stage)
    await replaced(stage)

    await stage.happens(
        stage.server.add(NEW, ALICE, SAID, {"msgtype": "m.text", "body": "here"})
    )
    await stage.romeo_says("and here", "1")

    assert stage.heard() == ["here", "and here"]
    assert stage.server.bodies(NEW) == ["here", "and here"]
    (portal,) = stage.directory
    assert (portal.id, portal.matrix) == (PortalId(1), NEW)


@pytest.mark.parametrize("old", ["!other:hs", ""])
async def test_e76_a_room_that_knows_nothing_of_it_is_not_followed(
    stage: Stage, old: str
) -> None:
    """E76, S31: those on XMPP are told, and what is said in the old room still goes."""
    made_new(stage, old)

    await replaced(stage)

    (words,) = stage.heard()
    assert "was replaced" in words
    assert stage.server.membership(NEW, BOT) == "leave"
    await stage.goes_on()


async def test_s31_a_room_that_is_linked_is_not_taken_over(stage: Stage) -> None:
    made_new(stage)
    other = Portal(PortalId(2), Kind.PLUMBED, NEW, "books@muc.example", BOT)
    stage.directory.put(other, Unit())

    await replaced(stage)

    assert stage.directory.portal(Room(Network.MATRIX, NEW)) == other
    await stage.goes_on()
