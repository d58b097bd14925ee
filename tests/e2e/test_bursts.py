"""Many messages at once arrive complete, once, and in order."""

import asyncio
from urllib.parse import quote

import pytest

from deploy.lab.matrix_people import MatrixPerson
from deploy.lab.world import World
from deploy.lab.xmpp_people import XmppPerson
from tests.e2e.conftest import Company
from tests.e2e.ledger import LONG_S, lines, speak_on_matrix, verdict

MANY = 600
SENDERS = 16


async def crowd(
    world: World, company: Company, word: str, kind: str
) -> tuple[MatrixPerson, MatrixPerson, str, XmppPerson, XmppPerson, str]:
    """Return two of each network in one room, one to speak and one to observe."""
    alice, bob = await company.on_matrix("Alice"), await company.on_matrix("Bob")
    juliet, romeo = await company.on_xmpp("juliet"), await company.on_xmpp("romeo")
    muc = f"{word}@{world.xmpp.muc}"
    hosted = kind == "hosted"
    jid, alias = (world.hosted(word), "") if hosted else (muc, world.muc_alias(muc))
    room = await alice.makes_room(word) if hosted else ""
    await juliet.joins(jid, "Juliet")
    await romeo.joins(jid, "Romeo")
    if not hosted:
        room = await alice.joins(alias)
    await bob.joins(room)
    return alice, bob, room, juliet, romeo, jid


async def moved(reader: MatrixPerson, room: str, order: list[str]) -> set[str]:
    """Name those of *order* that stand elsewhere in the history than in a sync.

    Of what is said at the same time there are two orders (spec: Client-Server API,
    /messages): the one of its arrival and the one of the graph of events.
    """
    path, bodies, token = f"/rooms/{quote(room)}/messages", list[str](), ""
    while True:
        since = {"from": token} if token else {}
        page = await reader.call("GET", path, None, dir="f", limit="500", **since)
        bodies += [event["content"].get("body", "") for event in page["chunk"]]
        token = page.get("end", "")
        if not token:
            break
    history = [body for body in bodies if body in set(order)]
    return {a for a, b in zip(order, history, strict=False) if a != b}


@pytest.mark.parametrize("kind", ["hosted", "foreign"])
async def test_six_hundred_each_way_in_one_room(
    world: World, company: Company, word: str, kind: str
) -> None:
    alice, bob, room, juliet, romeo, jid = await crowd(world, company, word, kind)
    from_matrix, from_xmpp = lines("matrix", 0, MANY), lines("xmpp", 0, MANY)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(speak_on_matrix(alice, room, from_matrix, SENDERS))
        for text in from_xmpp:
            await juliet.says_in(jid, text)
    on_matrix = await bob.count(room, 2 * MANY, LONG_S)
    on_xmpp = await romeo.count(jid, 2 * MANY, LONG_S)

    # Sixteen requests at once have the order that the room gave them.
    order = [heard.text for heard in on_matrix if heard.sender == alice.id]
    assert sorted(order) == from_matrix
    heard_of_alice = [h.text for h in on_xmpp if h.sender == "Alice"]
    # What is read again amid the burst comes in the room's other order.
    loose = await moved(alice, room, order)
    assert len(loose) < MANY / 2
    assert verdict(order, heard_of_alice, loose=loose) == ""
    assert verdict(from_xmpp, [h.text for h in on_xmpp if h.sender == "Juliet"]) == ""
    assert verdict(from_xmpp, [h.text for h in on_matrix if h.name == "Juliet"]) == ""


async def test_six_hundred_each_way_in_a_direct_chat(
    world: World, company: Company
) -> None:
    alice, juliet = await company.on_matrix("Alice"), await company.on_xmpp("juliet")
    ghost, puppet = world.ghost(juliet), world.puppet(alice)
    room = await alice.starts_chat(ghost)
    await alice.sees_member(room, ghost)
    await alice.says(room, "hello")
    await juliet.hears("hello", puppet, puppet)
    from_matrix, from_xmpp = lines("matrix", 0, MANY), lines("xmpp", 0, MANY)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(speak_on_matrix(alice, room, from_matrix))
        for text in from_xmpp:
            await juliet.says(puppet, text)
    on_matrix = await alice.count(room, MANY, LONG_S)
    on_xmpp = await juliet.count(puppet, MANY, LONG_S)

    assert verdict(from_matrix, [h.text for h in on_xmpp]) == ""
    assert verdict(from_xmpp, [h.text for h in on_matrix]) == ""
