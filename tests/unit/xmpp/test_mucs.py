import asyncio
from collections.abc import AsyncIterator

import pytest

from bridge.model.delivery import (
    Delivered,
    Later,
    Refusal,
    Refused,
)
from bridge.model.events import Command, Leave, Message, Rename
from bridge.model.places import Network, Person, Ref, Room
from bridge.model.records import Cursor, Puppet
from tests.unit.xmpp.elsewhere import (
    ALICE,
    ALICES,
    BOB,
    BOBS,
    LISTENER,
    MUC,
    NOW,
    TEA,
    build,
    name_of,
    parcels,
    route,
)
from tests.unit.xmpp.mucs_world import MucsWorld, join, tea_time


@pytest.fixture
async def world() -> AsyncIterator[MucsWorld]:
    async with tea_time(visited=True) as made:
        yield made


async def test_what_an_occupant_says_arrives_under_their_occupant_id(
    world: MucsWorld,
) -> None:
    stanza_id = world.server.says("Hatter", "more tea?")
    await world.settle()

    (event,) = await world.events()
    assert isinstance(event, Message)
    assert event.sender.id == f"{MUC}//id-of-hatter@wonder.example"
    assert event.name == "Hatter"
    assert event.aliases == (Ref(Network.XMPP, f"{MUC}#{stanza_id}"),)
    assert list(world.intake.arrivals) == [f"{MUC}#{stanza_id}"]


async def test_people_come_in_when_they_first_speak(world: MucsWorld) -> None:
    assert ALICES not in world.server.ours()
    wires = world.wires("hello")

    (outcome,) = await world.mucs.send(parcels(wires))

    assert world.server.occupants["Alice"] == ALICES
    assert outcome == Delivered((Ref(Network.XMPP, f"{MUC}#s1"),))
    assert await world.events() == []
    record = await world.store.find(Puppet, MUC, ALICE.id)
    assert record == Puppet(MUC, ALICE.id, "Alice", joined=True)


async def test_sixty_four_messages_of_two_people_go_out_in_one_write(
    world: MucsWorld,
) -> None:
    people = (ALICE, BOB)
    wires = [
        wire for n in range(100) for wire in world.wires(str(n), f"${n}", people[n % 2])
    ]
    sent = parcels(wires)

    outcomes = await world.mucs.send(sent)

    assert [type(outcome) for outcome in outcomes] == [Delivered] * 64
    assert world.server.heard() == [str(n) for n in range(64)]
    assert world.server.ids == [parcel.id for parcel in sent[:64]]


async def test_a_nick_that_somebody_has_gets_a_suffix(world: MucsWorld) -> None:
    world.server.enters("alice", "someone@else.example/x")
    await world.settle()

    await world.mucs.send(parcels(world.wires("hello")))

    assert world.server.occupants["Alice[m]"] == ALICES


async def test_somebody_who_is_banned_is_told_so(world: MucsWorld) -> None:
    world.server.refuses[ALICES.partition("/")[0]] = "forbidden"
    mixed = [
        *world.wires("no", "$1"),
        *world.wires("yes", "$2", BOB),
    ]

    outcomes = await world.mucs.send(parcels(mixed))

    assert outcomes[0] == Refused(Refusal.NOT_ALLOWED, "they are banned from the room")
    assert isinstance(outcomes[1], Delivered)
    assert world.server.occupants["Bob"] == BOBS


async def test_a_message_the_room_sends_back_is_refused_in_its_words(
    world: MucsWorld,
) -> None:
    world.server.bounces["$1"] = "forbidden"

    outcomes = await world.mucs.send(parcels(world.wires("hello")))

    assert outcomes == [Refused(Refusal.NOT_ALLOWED, "forbidden")]


@pytest.mark.parametrize("to", [ALICES, LISTENER])
async def test_only_the_room_itself_can_send_a_message_back(
    world: MucsWorld, to: str
) -> None:
    """Who reads the first part of a long message knows what the next is called."""
    await world.mucs.send(parcels(world.wires("hello")))
    world.server.swallows.add(ALICES)

    async with asyncio.TaskGroup() as tasks:
        long = parcels(world.wires("a long one", "$2"))
        sending = tasks.create_task(world.mucs.send(long))
        await world.settle()
        world.server.deliver(
            f"<message type='error' from='{MUC}/Hatter' to='{to}' id='$2'/>"
        )
        await world.settle()
        world.server.says("Alice", "a long one", "$2")

    assert [type(outcome) for outcome in sending.result()] == [Delivered]


async def test_who_fell_out_without_a_word_comes_in_again_and_says_it_again(
    world: MucsWorld,
) -> None:
    await world.mucs.send(parcels(world.wires("one", "$1")))
    del world.server.occupants["Alice"]

    (outcome,) = await world.mucs.send(parcels(world.wires("two", "$2")))

    assert isinstance(outcome, Delivered)
    assert world.server.occupants["Alice"] == ALICES


async def test_nothing_is_said_before_we_are_in(world: MucsWorld) -> None:
    world.disconnect()

    outcomes = await world.mucs.send(parcels(world.wires("hello")))

    assert outcomes == [Later(1.0)]
    assert world.server.heard() == []


async def test_what_was_said_while_we_were_away_is_read_in_the_archive_first(
    world: MucsWorld,
) -> None:
    world.disconnect()
    for n in range(120):
        world.server.says("Hatter", str(n), f"x{n}")
    await world.settle()
    assert await world.bodies() == []

    await world.connect()
    world.server.says("Hatter", "live", "x999")
    await world.settle(400)

    assert await world.bodies() == [*(str(n) for n in range(120)), "live"]


async def test_after_a_crash_what_had_come_is_not_said_again(world: MucsWorld) -> None:
    wires = world.wires("hello")
    async with asyncio.TaskGroup() as tasks:
        await world.mucs.send(parcels(world.wires("0", "$0")))
        world.mucs._save(world.stay)
        await world.settle()
        sending = tasks.create_task(world.mucs.send(parcels(wires)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert world.server.heard() == ["0", "hello"]
        world.disconnect()
        fresh = world.restart(tasks)
        await fresh.mucs.start()
        await fresh.connect()

        outcomes = await fresh.mucs.send(parcels(wires))
        await sending
        fresh.mucs.close()

    assert [type(outcome) for outcome in outcomes] == [Delivered]
    assert world.server.heard() == ["0", "hello"]
    assert await fresh.bodies() == []


async def test_the_cursor_does_not_pass_what_is_still_being_said(
    world: MucsWorld,
) -> None:
    world.mucs._save(world.stay)
    await world.settle()
    before = await world.store.find(Cursor, "muc", MUC)
    world.server.swallows.add(BOBS)
    mixed = [
        *world.wires("one", "$1"),
        *world.wires("lost", "$2", BOB),
    ]

    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(world.mucs.send(parcels(mixed)))
        await world.settle()
        world.mucs._save(world.stay)
        await world.settle()
        during = await world.store.find(Cursor, "muc", MUC)
        world.disconnect()
        await sending

    assert before is not None
    assert during == before


async def test_the_cursor_does_not_pass_what_is_yet_to_be_said_again(
    world: MucsWorld,
) -> None:
    mouth = world.mucs._mouths[MUC]
    heard = world.stay.hearing.mark
    world.server.connected = False
    world.disconnect()

    outcomes = await world.mucs.send(parcels(world.wires("hello", "$1")))

    assert [type(outcome) for outcome in outcomes] == [Later]
    assert mouth.floor is heard


async def test_where_we_began_to_listen_is_noted_at_once(world: MucsWorld) -> None:
    cursor = await world.store.find(Cursor, "muc", MUC)

    assert cursor is not None


async def test_a_first_visit_carries_no_history(world: MucsWorld) -> None:
    async with asyncio.TaskGroup() as tasks:
        world.server.says("Hatter", "old news")
        other = join(build(tasks))
        other.server.archive = world.server.archive
        other.server.occupants["Hatter"] = "hatter@wonder.example/tea"

        await other.mucs.visit(MUC)
        await other.settle()

        assert await other.bodies() == []
        assert other.stay.hearing.mark.stanza_id == "s1"


@pytest.mark.parametrize(
    ("muc", "why"),
    [
        ("no muc", Refusal.NO_SUCH_ROOM),
        ("muc.example", Refusal.NO_SUCH_ROOM),
        ("#a#b@bridge.example", Refusal.NO_SUCH_ROOM),
        ("Tea@muc.example", Refusal.NO_SUCH_ROOM),
    ],
)
async def test_only_a_muc_elsewhere_can_be_visited(muc: str, why: Refusal) -> None:
    async with asyncio.TaskGroup() as tasks:
        assert await join(build(tasks)).mucs.visit(muc) is why


async def test_a_room_that_is_not_there_is_not_made_by_a_visit() -> None:
    async with asyncio.TaskGroup() as tasks:
        world = join(build(tasks))
        world.server.exists = False

        assert await world.mucs.visit(MUC) is Refusal.NO_SUCH_ROOM
        assert world.server.written == []
        assert not world.mucs.knows(MUC)


async def test_nothing_is_kept_of_a_room_that_is_not_linked_but_commands(
    world: MucsWorld,
) -> None:
    world.host.portals.clear()

    world.server.says("Hatter", "hello")
    world.server.says("Hatter", "!matrix accept")
    await world.settle()

    assert [type(event) for event in await world.events()] == [Command]


async def test_a_puppet_leaves_with_its_person(world: MucsWorld) -> None:
    await world.mucs.send(parcels(world.wires("bye")))
    leave = Leave(
        ref=Ref(Network.MATRIX, "$leave"),
        room=Room(Network.MATRIX, TEA.matrix),
        sender=ALICE,
        sent_at=NOW,
        person=ALICE,
    )

    outcomes = await world.mucs.send(parcels(await world.mucs.apply(leave, route())))
    await world.settle()

    assert outcomes == [Delivered()]
    assert ALICES not in world.server.ours()
    assert await world.store.find(Puppet, MUC, ALICE.id) == Puppet(
        MUC, ALICE.id, "Alice"
    )


async def test_a_puppet_is_renamed_with_its_person(world: MucsWorld) -> None:
    await world.mucs.send(parcels(world.wires("hi")))
    rename = Rename(
        ref=Ref(Network.MATRIX, "$rename"),
        room=Room(Network.MATRIX, TEA.matrix),
        sender=ALICE,
        sent_at=NOW,
        name="Alison",
    )

    await world.mucs.send(parcels(await world.mucs.apply(rename, route())))
    await world.mucs.send(parcels(world.wires("ho", "$2")))
    await world.settle()

    assert world.server.occupants["Alison"] == ALICES
    assert await world.events() == []


async def test_an_unbridged_room_sees_all_of_us_leave(world: MucsWorld) -> None:
    await world.mucs.send(parcels(world.wires("bye")))

    wires = await world.mucs.depart(TEA)
    for parcel in parcels(wires):
        assert await world.mucs.send([parcel]) == [Delivered()]
    await world.settle()

    assert world.server.ours() == []
    assert not world.mucs.knows(MUC)
    assert list(await world.store.load(Puppet)) == []
    assert list(await world.store.load(Cursor)) == []


async def test_a_private_message_is_answered_that_it_cannot_cross(
    world: MucsWorld,
) -> None:
    world.server.deliver(
        f"<message type='chat' from='{MUC}/Hatter' to='{ALICES}' id='p1'>"
        "<body>psst</body></message>"
    )
    await world.settle()

    answer = world.server.written[-1]
    assert (answer.get("type"), answer.get("to")) == ("error", f"{MUC}/Hatter")
    assert name_of(answer[0][0]) == "feature-not-implemented"


async def test_we_come_back_when_we_are_put_out(world: MucsWorld) -> None:
    world.server.leaves("Matrix bridge", status="<status code='307'/>")
    await world.settle(100)

    assert world.server.occupants["Matrix bridge"] == LISTENER
    assert world.stay.live


async def test_a_restart_enters_the_rooms_we_were_in(world: MucsWorld) -> None:
    async with asyncio.TaskGroup() as tasks:
        fresh = world.restart(tasks)
        await fresh.mucs.start()
        await fresh.connect()

        assert fresh.mucs.knows(MUC)
        assert fresh.stay.live
        fresh.mucs.close()


async def test_who_is_put_out_of_the_room_is_put_out_of_the_other(
    world: MucsWorld,
) -> None:
    await world.mucs.send(parcels(world.wires("hi")))
    item = "affiliation='outcast' role='none'"
    world.server.leaves("Alice", status="<status code='301'/>", item=item)
    await world.settle()

    (event,) = (e for e in world.host.told if isinstance(e, Leave))
    assert event.person == ALICE
    assert event.banned
    assert event.sender == Person(Network.XMPP, MUC)
