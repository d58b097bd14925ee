import asyncio
from collections.abc import AsyncIterator, Callable
from xml.etree.ElementTree import Element

import pytest

from bridge.model.delivery import Delivered, Description, Later, Refusal, Refused
from tests.unit.xmpp.elsewhere import (
    ALICE,
    ALICES,
    BOB,
    BOBS,
    LISTENER,
    MUC,
    ROOM,
    STANZAS,
    build,
    parcels,
)
from tests.unit.xmpp.mucs_world import MucsWorld, join


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MucsWorld]:
    monkeypatch.setattr("bridge.xmpp.saying.SHOWN_S", 0.01)
    async with asyncio.TaskGroup() as tasks:
        made = join(build(tasks))
        assert isinstance(await made.mucs.visit(MUC), Description)
        yield made
        made.mucs.close()


async def test_at_first_we_claim_no_more_than_the_run_before(world: MucsWorld) -> None:
    """What it had left comes a few at a time, and may all have been shown."""
    mouth = world.mucs._mouths[MUC]
    mark = world.stay.hearing.mark
    mouth.hold()

    await world.mucs.send(parcels(world.wires("hello")))
    held = mouth.floor
    mouth.release()

    assert held is mark
    assert mouth.floor is None


async def test_what_the_room_swallows_is_refused_in_the_end(world: MucsWorld) -> None:
    await world.mucs.send(parcels(world.wires("one")))
    world.server.swallows.add(ALICES)

    outcomes = await world.mucs.send(parcels(world.wires("two", "$2")))

    assert outcomes == [Refused(Refusal.REJECTED, "the room did not show the message")]
    assert ("ping", f"{MUC}/Alice") in world.server.asked


async def test_if_we_had_fallen_out_the_archive_tells_that_it_was_shown(
    world: MucsWorld,
) -> None:
    await world.mucs.send(parcels(world.wires("one")))
    del world.server.occupants["Matrix bridge"]

    outcomes = await world.mucs.send(parcels(world.wires("two", "$2")))

    assert [type(outcome) for outcome in outcomes] == [Delivered]
    assert world.server.heard() == ["one", "two"]
    assert world.server.occupants["Matrix bridge"] == LISTENER


async def test_a_lost_stream_leaves_what_was_not_shown_for_later(
    world: MucsWorld,
) -> None:
    people = (ALICE, BOB)
    wires = [
        wire
        for n, person in enumerate(people)
        for wire in world.wires(str(n), f"${n}", person)
    ]
    world.server.swallows.add(BOBS)
    await world.mucs.send(parcels(world.wires("-", "$-")))

    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(world.mucs.send(parcels(wires)))
        await asyncio.sleep(0)
        world.disconnect()

    assert [type(outcome) for outcome in sending.result()][-1] is Later


async def test_a_passing_trouble_of_the_room_is_tried_again(world: MucsWorld) -> None:
    world.server.refuses[ALICES.partition("/")[0]] = "remote-server-timeout"

    outcomes = await world.mucs.send(parcels(world.wires("one")))

    assert outcomes == [Later(1.0)]


async def test_one_who_keeps_falling_out_is_refused(world: MucsWorld) -> None:
    world.server.bounces["$1"] = "not-acceptable"

    outcomes = await world.mucs.send(parcels(world.wires("one")))

    assert outcomes == [Refused(Refusal.REJECTED, "not acceptable")]


async def test_what_the_bridge_itself_says_is_said_again_once_it_is_back(
    world: MucsWorld,
) -> None:
    """XEP-0045 §7.4: the room may have forgotten us, as when its server fell."""
    del world.server.occupants["Matrix bridge"]

    outcomes = await world.mucs.send(parcels(world.mucs.notice(ROOM, "words")))

    assert [type(outcome) for outcome in outcomes] == [Delivered]
    assert world.server.heard() == ["words", "words"]
    assert world.server.occupants["Matrix bridge"] == LISTENER


@pytest.fixture
async def thaw(world: MucsWorld, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Freeze the MUC: it answers nothing until this is called."""
    await world.mucs.send(parcels(world.wires("one")))
    asked, heard = world.server.iq, world.server._hear

    async def iq(*_: object) -> Element:
        raise TimeoutError

    monkeypatch.setattr(world.server, "iq", iq)
    monkeypatch.setattr(world.server, "_hear", lambda *_: None)

    def again() -> None:
        monkeypatch.setattr(world.server, "iq", asked)
        monkeypatch.setattr(world.server, "_hear", heard)

    return again


async def test_what_a_frozen_room_has_is_neither_given_up_nor_said_twice(
    world: MucsWorld,
    thaw: Callable[[], None],
) -> None:
    said = parcels(world.wires("two", "$2"))

    outcomes = [await world.mucs.send(said) for _ in range(3)]
    thaw()
    world.server.says("Alice", "two", "$2")
    last = await world.mucs.send(said)

    assert outcomes == [[Later(2.0, MUC)]] * 3
    assert [type(outcome) for outcome in last] == [Delivered]
    assert world.server.heard() == ["one", "two"]


async def test_what_a_frozen_room_has_lost_is_said_again(
    world: MucsWorld, thaw: Callable[[], None]
) -> None:
    said = parcels(world.wires("two", "$2"))
    await world.mucs.send(said)

    thaw()
    world.server.occupants.pop("Alice")
    outcomes = await world.mucs.send(said)

    assert [type(outcome) for outcome in outcomes] == [Delivered]
    assert world.server.heard() == ["one", "two", "two"]


@pytest.mark.usefixtures("thaw")
async def test_what_comes_back_late_from_a_frozen_room_is_refused_in_its_words(
    world: MucsWorld,
) -> None:
    said = parcels(world.wires("two", "$2"))
    await world.mucs.send(said)

    world.server.deliver(
        f"<message type='error' from='{MUC}' to='{ALICES}' id='$2'>"
        f"<error type='cancel'><forbidden xmlns='{STANZAS}'/></error></message>"
    )
    await world.settle()

    refused = Refused(Refusal.NOT_ALLOWED, "forbidden")
    assert await world.mucs.send(said) == [refused]


@pytest.mark.usefixtures("thaw")
async def test_a_room_that_only_leaves_us_without_an_answer_is_not_frozen(
    world: MucsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.xmpp.saying.SHOWN_S", 0.1)
    async with asyncio.TaskGroup() as tasks:
        two = parcels(world.wires("two", "$2"))
        sending = tasks.create_task(world.mucs.send(two))
        await asyncio.sleep(0.01)
        world.server.occupants["Hatter"] = "hatter@wonder.example/tea"
        world.server.says("Hatter", "tea")

    (refused,) = sending.result()
    assert isinstance(refused, Refused)
