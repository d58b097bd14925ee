import asyncio
from dataclasses import replace
from xml.etree.ElementTree import Element

import pytest

from bridge.model.delivery import Member, Wire
from bridge.model.events import Rank
from bridge.model.records import Cursor, Kind, Occupant
from bridge.xmpp.muc import rooms as module
from bridge.xmpp.muc.rooms import IDLE_MAX, remembered
from tests.unit.xmpp.muc.test_news import went
from tests.unit.xmpp.muc.world import (
    ALICE,
    BOB,
    JULIET,
    ROMEO,
    TEA,
    MucWorld,
    X,
    build,
    codes,
    condition,
    item,
    name,
    nick,
    settled,
    words,
)


async def restarted(world: MucWorld, tasks: asyncio.TaskGroup) -> MucWorld:
    again = build(tasks, world.store)
    again.host.portals = world.host.portals
    await again.hosted.start()
    return again


async def test_a_restart_is_not_seen(world: MucWorld) -> None:
    """peers.md 3c.4: who was in the room still hears what is said there."""
    await world.joins(ROMEO, "romeo")
    async with asyncio.TaskGroup() as tasks:
        again = await restarted(world, tasks)
        await again.hosted.up()
        await settled()
        silent = again.written()

        await again.says(ALICE, "hello")
        again.comes(
            f"<message type='groupchat' from='{ROMEO}' to='{TEA}' id='m'>"
            "<body>hi</body></message>"
        )
        await again.carried()

    heard = again.written()
    assert silent == []
    assert [(name(s), nick(s), words(s)) for s in heard] == [
        ("message", "Alice", "hello"),
        ("message", "romeo", "hi"),
    ]


async def test_occupant_ids_survive_a_restart(world: MucWorld) -> None:
    """XEP-0421 §4: an occupant's id stays the same."""
    await world.joins(ROMEO, "romeo")
    async with asyncio.TaskGroup() as tasks:
        again = await restarted(world, tasks)

        before = world.hosted._rooms.occupant_id(TEA, ALICE.id)
        assert again.hosted._rooms.occupant_id(TEA, ALICE.id) == before
        assert again.hosted._rooms.occupant_id(f"x{TEA}", ALICE.id) != before


async def test_words_before_the_members_are_known_are_heard(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")
    async with asyncio.TaskGroup() as tasks:
        again = await restarted(world, tasks)
        await again.says(ALICE, "early")

        first = [(name(s), nick(s)) for s in again.written()]
        await again.hosted.up()
        await settled()
        await again.says(ALICE, "late", number=2)

    assert first == [("presence", "Alice"), ("message", "Alice")]
    assert [name(s) for s in again.written()] == ["message"]


async def test_who_speaks_before_the_members_are_known_keeps_their_rank(
    world: MucWorld,
) -> None:
    """Clients had seen an owner become a participant when the bridge came back."""
    await world.joins(ROMEO, "romeo")
    members = (Member(ALICE, "Alice", Rank.OWNER),)
    async with asyncio.TaskGroup() as tasks:
        again = await restarted(world, tasks)
        again.host.rooms[TEA] = replace(again.host.rooms[TEA], members=members)
        await again.says(ALICE, "early")
        await again.hosted.up()
        await settled()
        await again.sends([wire for _, wire in again.host.sent_later])
        await again.joins(JULIET, "juliet")

    told = [item(s).get("affiliation") for s in again.written(ROMEO) if is_alice(s)]
    assert told == ["member", "owner"]


async def test_who_leaves_while_the_members_are_learnt_is_not_shown_again(
    world: MucWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would ever see them leave a second time."""
    monkeypatch.setattr(module, "SLICE", 1)
    await world.joins(ROMEO, "romeo")
    members = (Member(ALICE, "Alice", Rank.OWNER), *[Member(BOB, "Bob")] * 9)
    async with asyncio.TaskGroup() as tasks:
        again = await restarted(world, tasks)
        again.host.rooms[TEA] = replace(again.host.rooms[TEA], members=members)
        await again.says(ALICE, "early")
        room = again.hosted._rooms.get(TEA)
        assert room is not None
        await again.hosted.up()
        while room.people[ALICE.id].rank is not Rank.OWNER:  # noqa: ASYNC110 - a seat
            await asyncio.sleep(0)
        await again.happens(went(ALICE))
        await settled()

    assert BOB.id in room.people
    assert again.host.sent_later == []


def is_alice(stanza: Element) -> bool:
    return name(stanza) == "presence" and nick(stanza) == "Alice"


async def test_a_homeserver_that_is_away_is_asked_again(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")
    async with asyncio.TaskGroup() as tasks:
        again = await restarted(world, tasks)
        again.host.broken = True
        await again.hosted.up()
        await settled()
        await again.joins(JULIET, "juliet")
        assert [condition(s) for s in again.written()] == ["remote-server-timeout"]

        again.host.broken = False
        await again.hosted.up()
        await settled()
        await again.joins(JULIET, "juliet")

    assert codes(again.written(JULIET)[3]) == {"110"}


async def test_history_survives_a_restart(world: MucWorld) -> None:
    await world.says(ALICE, "long ago")
    async with asyncio.TaskGroup() as tasks:
        again = await restarted(world, tasks)
        await again.joins(ROMEO, "romeo")

    assert [words(s) for s in again.written() if words(s)] == ["long ago"]


async def test_occupants_of_a_room_that_is_gone_are_forgotten(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")
    async with asyncio.TaskGroup() as tasks:
        again = build(tasks, world.store)
        await again.hosted.start()

        assert await world.store.load(Occupant) == []


async def test_two_records_with_one_nick_do_no_harm(world: MucWorld) -> None:
    world.host.make(TEA)
    for jid in (ROMEO, JULIET):
        record = Occupant(TEA, jid, "same")
        world.store.records[Occupant, TEA, jid] = record
    async with asyncio.TaskGroup() as tasks:
        again = await restarted(world, tasks)

        room = again.hosted._rooms.get(TEA)
        assert room is not None
        assert len(room.seats) == len(room.devices) == 2


async def test_rooms_that_nobody_is_in_are_forgotten_in_time(world: MucWorld) -> None:
    rooms = [f"#r{n}#hs.example@bridge.example" for n in range(IDLE_MAX + 5)]
    for room in rooms:
        world.host.rooms[room] = world.host.rooms[TEA]
        await world.joins(ROMEO, "romeo", room)
        leave = f"<presence type='unavailable' from='{ROMEO}' to='{room}/romeo'/>"
        world.comes(leave)

    in_use = [room for room in rooms if world.hosted._rooms.get(room) is not None]
    assert in_use == rooms[5:]
    assert await world.store.load(Occupant) == []


async def test_the_secret_is_made_once(world: MucWorld) -> None:
    (secret,) = await world.store.load(Cursor)
    async with asyncio.TaskGroup() as tasks:
        await restarted(world, tasks)

    assert await world.store.load(Cursor) == [secret]


async def test_only_a_hosted_room_is_hosted(world: MucWorld) -> None:
    portal = world.host.make(TEA)
    kinds = {f: getattr(portal, f) for f in portal.__slots__} | {"kind": Kind.DIRECT}
    world.host.portals[TEA] = type(portal)(**kinds)

    world.comes(f"<presence from='{ROMEO}' to='{TEA}/romeo'>{X}</presence>")
    await settled()

    assert [condition(s) for s in world.written()] == ["forbidden"]


async def test_what_is_not_ours_in_the_archive_is_left_out(world: MucWorld) -> None:
    assert remembered(world.parcel(Wire("k", b"Xnonsense"))) is None
