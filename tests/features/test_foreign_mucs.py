"""MUCs elsewhere both ways: the real core and XMPP side, a fake Matrix and server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.model.delivery import Delivered, Refusal, Refused
from bridge.model.events import Command, Join, Leave, Rank, Rename
from bridge.model.places import Network, Ref, Room
from bridge.model.records import Kind, Portal
from tests.features.across import Across, across
from tests.unit.xmpp.elsewhere import (
    ALICE,
    ALICES,
    BOB,
    MUC,
    NOW,
    ROOM,
    name_of,
    stanza,
)

HATTER = "hatter@wonder.example/tea"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Across]:
    async with (
        asyncio.TaskGroup() as tasks,
        across(tmp_path, tasks=tasks) as made,
    ):
        made.server.occupants["Hatter"] = HATTER
        yield made


async def opened(world: Across) -> Portal:
    portal = await world.hub.open_foreign(ROOM)
    assert isinstance(portal, Portal)
    await world.settles()
    return portal


async def test_a_portal_is_made_when_the_room_has_let_us_in(world: Across) -> None:
    portal = await opened(world)

    assert (portal.kind, portal.xmpp) == (Kind.FOREIGN, MUC)
    assert "Matrix bridge" in world.server.occupants


async def test_no_portal_is_made_for_a_room_that_is_not_there(world: Across) -> None:
    world.server.exists = False

    assert await world.hub.open_foreign(ROOM) is Refusal.NO_SUCH_ROOM


async def test_both_sides_hear_each_other_once_and_in_order(world: Across) -> None:
    portal = await opened(world)
    for n in range(150):
        world.server.says("Hatter", f"x{n}", f"id{n}")
    await world.settles()
    for n in range(150):
        await world.says(portal.matrix, f"m{n}", f"${n}", (ALICE, BOB)[n % 2])

    assert world.heard() == [f"x{n}" for n in range(150)]
    assert world.server.heard() == [f"m{n}" for n in range(150)]
    assert [type(o) for _, o in world.matrix.settled] == [Delivered] * 150


async def test_two_equal_messages_without_an_id_are_two(world: Across) -> None:
    """Facts/peers 3c.3: Bifröst drops the second."""
    await opened(world)
    world.server.says("Hatter", "ha", "")
    world.server.says("Hatter", "ha", "")
    await world.settles()

    assert world.heard() == ["ha", "ha"]


async def test_a_nick_equal_to_a_name_harms_nobody(world: Across) -> None:
    """Facts/peers 3c.2: Bifröst's process ends."""
    portal = await opened(world)
    world.server.enters("Alice", "another@else.example/x")
    await world.settles()

    await world.says(portal.matrix, "it is me", "$1")

    assert world.server.occupants["Alice[m]"] == ALICES


async def test_a_rename_is_no_second_person(world: Across) -> None:
    """Facts/peers 3c.6."""
    await opened(world)
    world.xmpp._mucs._stays[MUC].watching.announce_late()
    await world.settles()
    world.matrix.applied.clear()
    world.server.leaves("Hatter", status="<status code='303'/>", item="nick='Mad'")
    world.server.enters("Mad", HATTER)
    world.server.leaves("Mad")
    await world.settles()

    assert [type(event) for event in world.matrix.applied] == [Rename, Leave]
    assert len({event.sender for event in world.matrix.applied}) == 1


async def test_whoever_is_there_is_a_member_and_we_are_not(world: Across) -> None:
    await opened(world)
    world.xmpp._mucs._stays[MUC].watching.announce_late()
    await world.settles()

    joined = [event.name for event in world.matrix.applied if isinstance(event, Join)]
    assert joined == ["Hatter"]


async def test_a_refused_message_is_told_to_its_speaker_alone(world: Across) -> None:
    await opened(world)
    world.matrix.answers.append(Refused(Refusal.TOO_LARGE))
    world.server.says("Hatter", "much too much")
    await world.settles()

    told = world.server.written[-1]
    assert (told.get("type"), told.get("to")) == ("chat", f"{MUC}/Hatter")


async def test_a_restart_of_the_server_loses_nothing(world: Across) -> None:
    portal = await opened(world)
    world.server.connected = False
    world.xmpp.down()
    for n in range(60):
        world.server.says("Hatter", f"x{n}", f"id{n}")
    waiting = asyncio.get_running_loop().create_task(
        world.says(portal.matrix, "I waited", "$1")
    )
    await asyncio.sleep(0)
    del world.server.occupants["Matrix bridge"]

    world.server.connected = True
    await world.xmpp.up()
    await waiting
    await world.settles()

    assert world.heard() == [f"x{n}" for n in range(60)]
    assert world.server.heard() == ["I waited"]


async def test_a_plumbed_room_needs_the_word_of_an_admin_there(world: Across) -> None:
    room = Room(Network.MATRIX, "!hall:hs.example")
    await world.happens(
        Command(
            ref=Ref(Network.MATRIX, "$1"),
            room=room,
            sender=ALICE,
            sent_at=NOW,
            words=f"bridge {MUC}",
            rank=Rank.ADMIN,
        )
    )
    assert "!matrix accept" in world.server.heard()[0]

    world.server.says("Hatter", "!matrix accept")
    await world.settles()
    assert world.directory.portal(ROOM) is None
    item = "affiliation='owner' role='moderator'"
    world.server.enters("Queen", "queen@wonder.example/x", item)
    world.server.says("Queen", "!matrix accept")
    await world.settles()

    portal = world.directory.portal(ROOM)
    assert portal is not None
    assert portal.kind is Kind.PLUMBED


async def test_unbridge_takes_all_of_us_out(world: Across) -> None:
    await test_a_plumbed_room_needs_the_word_of_an_admin_there(world)
    await world.says("!hall:hs.example", "hello", "$2")
    assert ALICES in world.server.ours()

    world.server.says("Queen", "!matrix unbridge")
    await world.settles()

    assert world.server.ours() == []
    assert world.directory.portal(ROOM) is None


async def test_a_whisper_to_a_puppet_is_answered(world: Across) -> None:
    portal = await opened(world)
    await world.says(portal.matrix, "hi", "$1")
    world.xmpp.received(
        stanza(
            f"<message type='chat' from='{MUC}/Hatter' to='{ALICES}' id='p'>"
            "<body>psst</body></message>"
        )
    )

    answer = world.server.written[-1]
    assert (name_of(answer), answer.get("type")) == ("message", "error")
