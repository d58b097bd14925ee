"""Two hundred messages each way, and in their middle something breaks.

Nothing lost, nothing double, order kept; in direct chats towards XMPP at most one
duplicate for each crash of the bridge.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from deploy.lab.matrix_people import MatrixPerson
from deploy.lab.world import World
from deploy.lab.xmpp_people import XmppPerson
from tests.e2e.conftest import Company
from tests.e2e.ledger import (
    LONG_S,
    Seat,
    Writer,
    displaced,
    lines,
    speak_on_matrix,
    verdict,
)
from tests.e2e.rooms import reachable

BEFORE, DURING, ALL = 75, 125, 200
PUT_BACK_MAX = 10
"""So many, at most, does a server give to a connection while it is closing it."""
END = "that was all"

Fault = Callable[[World], Coroutine[Any, Any, None]]


async def crash_bridge(world: World) -> None:
    await world.crash("bridge")


async def restart_xmpp(world: World) -> None:
    await world.restart("xmpp")


async def restart_synapse(world: World) -> None:
    await world.restart("synapse")


FAULTS = [crash_bridge, restart_xmpp, restart_synapse]


async def people(
    company: Company,
) -> tuple[MatrixPerson, MatrixPerson, XmppPerson, XmppPerson]:
    """Return two of each network, one to speak and one to observe."""
    return (
        await company.on_matrix("Alice"),
        await company.on_matrix("Bob"),
        await company.on_xmpp("juliet"),
        await company.on_xmpp("romeo"),
    )


async def come_back(world: World, fault: Fault, *seats: Seat) -> None:
    """Take one's place again, as clients do that notice what happened."""
    for seat in seats:
        if fault is restart_xmpp:
            await seat.person.comes_back()
            # Whoever enters a room of ours sooner is told to try again.
            await reachable(seat.person, world.xmpp.component)
        if fault is not restart_synapse:
            await seat.take()


async def storm(
    world: World, fault: Fault, alice: MatrixPerson, room: str, *seats: Seat
) -> None:
    """Let everybody speak before, during and after *fault*."""
    speaker = seats[0]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(speak_on_matrix(alice, room, lines("matrix", 0, BEFORE)))
        await speaker.say(lines("xmpp", 0, BEFORE))
    async with asyncio.TaskGroup() as tasks:
        texts = lines("matrix", BEFORE, DURING)
        tasks.create_task(speak_on_matrix(alice, room, texts))
        breaking = tasks.create_task(fault(world))
        await speaker.say(lines("xmpp", BEFORE, DURING))
        await breaking
    await come_back(world, fault, *seats)
    await speaker.say_again(archived=world.xmpp.muc in speaker.room)
    await speak_on_matrix(alice, room, lines("matrix", DURING, ALL))
    await speaker.say(lines("xmpp", DURING, ALL))
    await alice.says(room, END)
    await speaker.mark(END)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_hosted_room_loses_nothing(
    world: World, company: Company, word: str, fault: Fault
) -> None:
    alice, bob, juliet, romeo = await people(company)
    room, jid = await alice.makes_room(word), world.hosted(word)
    await bob.joins(room)
    speaker, observer = Seat(juliet, jid, "Juliet"), Seat(romeo, jid, "Romeo")
    await speaker.take()
    await observer.take()

    await storm(world, fault, alice, room, speaker, observer)
    await observer.mark("seen all")
    heard = await _until_two_ends(bob, room)

    said_on_matrix, said_on_xmpp = lines("matrix", 0, ALL), lines("xmpp", 0, ALL)
    assert verdict(said_on_xmpp, heard) == ""
    assert verdict(said_on_matrix, heard) == ""
    assert verdict(said_on_matrix, observer.seen()) == ""
    assert verdict(said_on_xmpp, observer.seen()) == ""


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_foreign_muc_loses_nothing(
    world: World, company: Company, word: str, fault: Fault
) -> None:
    alice, bob, juliet, _ = await people(company)
    jid = f"{word}@{world.xmpp.muc}"
    speaker = Seat(juliet, jid, "Juliet")
    await speaker.take()
    room = await alice.joins(world.muc_alias(jid))
    await bob.joins(room)

    await storm(world, fault, alice, room, speaker)
    heard = await _until_two_ends(bob, room)
    await speaker.has_seen(END)
    kept = [message.text for message in await juliet.archive(jid)]

    said_on_matrix, said_on_xmpp = lines("matrix", 0, ALL), lines("xmpp", 0, ALL)
    assert verdict(said_on_xmpp, heard) == ""
    assert verdict(said_on_matrix, kept) == ""
    assert verdict(said_on_xmpp, kept) == ""


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_direct_chat_loses_nothing_towards_xmpp(
    world: World, company: Company, fault: Fault
) -> None:
    alice, juliet = await company.on_matrix("Alice"), await company.on_xmpp("juliet")
    ghost, puppet = world.ghost(juliet), world.puppet(alice)
    room = await alice.starts_chat(ghost)
    await alice.sees_member(room, ghost)
    await alice.says(room, "hello")
    await juliet.hears("hello", puppet, puppet)

    await speak_on_matrix(alice, room, lines("matrix", 0, BEFORE))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fault(world))
        await speak_on_matrix(alice, room, lines("matrix", BEFORE, DURING))
    if fault is restart_xmpp:
        await juliet.comes_back()
    await speak_on_matrix(alice, room, [*lines("matrix", DURING, ALL), END])
    seen = await _until_end(juliet, puppet)
    said = lines("matrix", 0, ALL)
    if fault is restart_xmpp:
        # What the server gave to a connection that it was closing, clients find there.
        kept = {message.text for message in await juliet.archive(juliet.jid)}
        said = [text for text in said if text in seen or text not in kept]

    # ejabberd puts what it had given to such a connection back behind later messages.
    puts_back = fault is restart_xmpp and world.kind == "ejabberd"
    late = displaced(said, seen) if puts_back else set()
    spare = 1 if fault is crash_bridge else 0
    assert verdict(said, seen, spare, late) == ""
    assert late <= set(lines("matrix", 0, DURING))
    assert len(late) <= PUT_BACK_MAX


@pytest.mark.parametrize("fault", [restart_xmpp, restart_synapse])
async def test_a_direct_chat_loses_nothing_towards_matrix(
    world: World, company: Company, fault: Fault
) -> None:
    alice, juliet = await company.on_matrix("Alice"), await company.on_xmpp("juliet")
    ghost, puppet = world.ghost(juliet), world.puppet(alice)
    room = await alice.starts_chat(ghost)
    await alice.sees_member(room, ghost)
    await alice.says(room, "hello")
    await juliet.hears("hello", puppet, puppet)

    for text in lines("xmpp", 0, BEFORE):
        await juliet.says(puppet, text)
    if fault is restart_xmpp:
        # What the server has taken is with the bridge, or comes back as an error.
        await juliet.has_passed(puppet)
    async with asyncio.TaskGroup() as tasks:
        breaking = tasks.create_task(fault(world))
        if fault is restart_synapse:
            for text in lines("xmpp", BEFORE, DURING):
                await juliet.says(puppet, text)
        await breaking
    if fault is restart_xmpp:
        await juliet.comes_back()
        await reachable(juliet, puppet)
        for text in lines("xmpp", BEFORE, DURING):
            await juliet.says(puppet, text)
    for text in [*lines("xmpp", DURING, ALL), END]:
        await juliet.says(puppet, text)
    seen = await _until_end(alice, room)

    assert verdict(lines("xmpp", 0, ALL), seen) == ""


async def test_a_direct_chat_loses_nothing_when_the_bridge_is_killed(
    world: World, company: Company
) -> None:
    """Nobody archives what is written to a component.

    What the XMPP server has taken while there was no bridge comes back as an error;
    what it had handed to a bridge that died at once gets no receipt. Whoever wrote it
    writes it again, and it arrives once.
    """
    alice, juliet = await company.on_matrix("Alice"), await company.on_xmpp("juliet")
    ghost, puppet = world.ghost(juliet), world.puppet(alice)
    room = await alice.starts_chat(ghost)
    await alice.sees_member(room, ghost)
    await alice.says(room, "hello")
    await juliet.hears("hello", puppet, puppet)
    writer = Writer(juliet, puppet)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(speak_on_matrix(alice, room, lines("matrix", 0, DURING)))
        await writer.write(lines("xmpp", 0, BEFORE))
        breaking = tasks.create_task(crash_bridge(world))
        await writer.write(lines("xmpp", BEFORE, DURING))
        await breaking
    await reachable(juliet, puppet)
    await writer.write_again("the bridge is back")
    await speak_on_matrix(alice, room, [*lines("matrix", DURING, ALL), END])
    await writer.write([*lines("xmpp", DURING, ALL), END])
    seen_on_xmpp = await _until_end(juliet, puppet)
    heard = await _until_end(alice, room)

    assert verdict(lines("matrix", 0, ALL), seen_on_xmpp, spare=1) == ""
    assert writer.verdict(lines("xmpp", 0, ALL), heard) == ""


async def _until_end(person: MatrixPerson | XmppPerson, where: str) -> list[str]:
    seen: list[str] = []
    while END not in seen:
        seen.append((await person.hears_next(where, LONG_S)).text)
    return seen


async def _until_two_ends(person: MatrixPerson, room: str) -> list[str]:
    """Return all that is heard until both speakers have ended."""
    seen: list[str] = []
    while seen.count(END) < 2:
        seen.append((await person.hears_next(room, LONG_S)).text)
    return seen
