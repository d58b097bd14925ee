from collections.abc import AsyncIterator

import pytest

from bridge.core.ports import Unit
from bridge.model.delivery import (
    Delivered,
    Refusal,
    Refused,
    Taken,
    Unreadable,
)
from bridge.model.events import Command, Message, Rank
from tests.unit.xmpp.elsewhere import (
    LISTENER,
    MUC,
    ROOM,
    parcels,
)
from tests.unit.xmpp.mucs_world import MucsWorld, tea_time


@pytest.fixture
async def world() -> AsyncIterator[MucsWorld]:
    async with tea_time(visited=True) as made:
        yield made


@pytest.mark.parametrize(
    ("item", "rank"),
    [
        ("affiliation='owner' role='moderator'", Rank.OWNER),
        ("affiliation='admin' role='moderator'", Rank.ADMIN),
        ("affiliation='none' role='moderator'", Rank.MODERATOR),
        ("affiliation='none' role='participant'", Rank.MEMBER),
        ("affiliation='none' role='visitor'", Rank.GUEST),
    ],
)
async def test_a_command_has_the_rank_of_who_gives_it(
    world: MucsWorld, item: str, rank: Rank
) -> None:
    world.server.enters("Queen", "queen@wonder.example/x", item)
    world.server.says("Queen", "!matrix accept")
    await world.settle()

    (event,) = await world.events()
    assert isinstance(event, Command)
    assert (event.words, event.rank, event.private) == ("accept", rank, False)


async def test_a_command_from_the_archive_needs_its_occupant_to_be_there(
    world: MucsWorld,
) -> None:
    world.server.features = world.server.features[:3]
    world.disconnect()
    world.server.occupants["Queen"] = "knave@wonder.example/x"
    world.server.says("Queen", "!matrix unbridge")
    world.server.occupants["Queen"] = "queen@wonder.example/x"

    await world.connect()

    (event,) = await world.events()
    assert isinstance(event, Command)
    assert event.rank is Rank.GUEST


async def test_whoever_was_not_heard_is_told_in_private(world: MucsWorld) -> None:
    world.server.says("Hatter", "hello")
    await world.settle()
    (event,) = await world.events()
    assert isinstance(event, Message)

    receipt = world.mucs.receipt(event)
    wires = world.mucs.settle(receipt, Refused(Refusal.TOO_LARGE, "by far"))
    outcomes = await world.mucs.send(parcels(wires))

    told = world.server.written[-1]
    assert outcomes == [Delivered()]
    assert (told.get("type"), told.get("to")) == ("chat", f"{MUC}/Hatter")
    assert told.get("from") == LISTENER
    assert "(by far)" in world.server.heard()[-1]
    assert world.mucs.settle(receipt, Delivered()) == ()


async def test_nobody_else_is_told_if_they_have_gone(world: MucsWorld) -> None:
    world.server.says("Hatter", "hello")
    await world.settle()
    (event,) = await world.events()
    assert isinstance(event, Message)
    world.server.leaves("Hatter")
    world.server.enters("Hatter", "knave@wonder.example/x")
    await world.settle()

    wires = world.mucs.settle(world.mucs.receipt(event), Refused(Refusal.NOT_ALLOWED))

    assert wires == ()


async def test_an_encrypted_message_is_refused_not_lost(world: MucsWorld) -> None:
    secret = "<encrypted xmlns='eu.siacs.conversations.axolotl'><payload/></encrypted>"
    world.server.says("Hatter", "I sent an OMEMO message", more=secret)
    await world.settle()

    (arrival,) = world.intake.arrivals.values()
    read = await world.mucs.read(Taken(1, arrival), Unit())
    assert isinstance(read, Unreadable)
    assert read.why is Refusal.ENCRYPTED
    assert world.mucs.settle(read.receipt, Refused(read.why))


async def test_a_notice_is_the_bridges_own_and_comes_back_to_nobody(
    world: MucsWorld,
) -> None:
    wires = world.mucs.notice(ROOM, "somebody asks")

    outcomes = await world.mucs.send(parcels(wires))
    await world.settle()

    assert [type(outcome) for outcome in outcomes] == [Delivered]
    assert world.server.written[-1].get("from") == LISTENER
    assert await world.events() == []


async def test_a_message_of_many_parts_has_a_name_for_each(world: MucsWorld) -> None:
    wires = world.wires("x" * 200_000)

    assert [wire.key for wire in wires] == ["$1", "$1/2"]


async def test_what_says_nothing_makes_no_event(world: MucsWorld) -> None:
    world.server.says("Hatter", " ")
    await world.settle()

    assert await world.events() == []
    assert len(world.intake.arrivals) == 1


async def test_a_message_without_any_name_gets_one(world: MucsWorld) -> None:
    world.server.features = world.server.features[:1]
    world.disconnect()
    await world.connect()
    world.server.says("Hatter", "one", "")
    world.server.says("Hatter", "one", "")
    await world.settle()

    first, second = await world.events()
    assert isinstance(first, Message)
    assert first.ref != second.ref
    assert first.aliases == ()
