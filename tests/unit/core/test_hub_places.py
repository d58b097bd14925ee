"""What the hub keeps, carries once and in its place, whatever happens meanwhile."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bridge.core import hub, lanes
from bridge.core.ports import StoreUnavailableError, Unit
from bridge.model.delivery import Arrival, Refusal, Taken, Wire
from bridge.model.events import Invite, Leave, Protection
from bridge.model.places import Network, Person, Ref, Room
from bridge.model.records import Portal
from tests.conftest import World, said
from tests.fakes import TEA_MATRIX, TEA_XMPP

CHAT = Room(Network.XMPP, "juliet@capulet.example @alice:hs.example")
OLD = Room(Network.MATRIX, "!old:hs.example")
NEW = Room(Network.MATRIX, "!new:hs.example")


async def test_what_was_pushed_since_an_invitation_keeps_its_place(
    world: World,
) -> None:
    room = Room(Network.MATRIX, "!new:hs.example")
    for number, key in enumerate(("$early", "$pushed", "$late"), 1):
        world.matrix.script[key] = said(room, key, number=number)
        world.matrix_rooms.missed.append(Arrival(room, key, b"raw"))
    world.matrix_rooms.gate = asyncio.Event()
    invite = Invite(
        ref=Ref(Network.MATRIX, "$invite"),
        room=room,
        sender=Person(Network.MATRIX, "@alice:hs.example"),
        sent_at=datetime.now(UTC),
        person=Person(Network.XMPP, "juliet@capulet.example"),
        direct=True,
    )

    await world.comes(invite)
    await world.hub.keep([Arrival(room, "$pushed", b"raw")])
    world.matrix_rooms.gate.set()
    await world.settles()

    assert world.xmpp.said() == ["$early", "$pushed", "$late"]


async def test_who_is_invited_among_others_is_invited_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them, let in, catches up with the invitations of those after them."""
    room = Room(Network.MATRIX, "!new:hs.example")
    names = ["$1", "$2", "$3", "$4"]
    accepted: list[str] = []
    accept = world.matrix_rooms.accept

    async def catching_up(
        invite: Invite,
    ) -> tuple[Portal, Sequence[Arrival]] | Refusal:
        accepted.append(invite.ref.id)
        after = names[names.index(invite.ref.id) + 1 :]
        world.matrix_rooms.missed = [Arrival(room, name, b"raw") for name in after]
        return await accept(invite)

    monkeypatch.setattr(world.matrix_rooms, "accept", catching_up)
    for name in names:
        world.matrix.script[name] = Invite(
            ref=Ref(Network.MATRIX, name),
            room=room,
            sender=Person(Network.MATRIX, "@alice:hs.example"),
            sent_at=datetime.now(UTC),
            person=Person(Network.XMPP, f"guest{name[1:]}@capulet.example"),
        )

    await world.hub.keep([Arrival(room, name, b"raw") for name in names])
    await world.settles()

    assert accepted == names


async def test_a_room_that_joins_a_lane_while_it_reads_on_is_read_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "DEPTH_MAX", 1)
    reads, goes_on = asyncio.Event(), asyncio.Event()
    read_on = world.store.waiting

    async def slowly(rooms: Sequence[Room], after: int, limit: int) -> Sequence[Taken]:
        reads.set()
        await goes_on.wait()
        return await read_on(rooms, after, limit)

    monkeypatch.setattr(world.store, "waiting", slowly)
    busy = world.matrix.gates["1"] = asyncio.Event()
    await world.comes(said(TEA_MATRIX, "one", number=1), "1")
    await world.comes(said(TEA_MATRIX, "two", number=2), "2")
    busy.set()
    await reads.wait()

    await world.comes(said(TEA_XMPP, "from the other side", number=3), "3")
    await world.comes(said(TEA_MATRIX, "three", number=4), "4")
    goes_on.set()
    await world.settles()

    assert world.matrix.said() == ["from the other side"]
    assert world.xmpp.said() == ["one", "two", "three"]


async def test_what_is_on_disk_is_carried_though_nobody_waits_for_it(
    world: World,
) -> None:
    """A homeserver hangs up while we write; it will not say it again."""
    world.matrix.script["$1"] = said(TEA_MATRIX, "hello")
    arrival = Arrival(TEA_MATRIX, "$1", b"raw")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await world.hub.keep([arrival])
    await world.settles()

    assert world.xmpp.said() == ["hello"]


def into(room: Room) -> Invite:
    return Invite(
        ref=Ref(Network.MATRIX, f"$into {room.address}"),
        room=room,
        sender=Person(Network.MATRIX, "@alice:hs.example"),
        sent_at=datetime.now(UTC),
        person=Person(Network.XMPP, "juliet@capulet.example"),
        direct=True,
    )


async def test_a_chat_that_is_left_and_begun_anew_at_once_is_the_new_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rooms have lanes of their own, and both close what there was."""
    await world.happens(into(OLD))
    gate, depart = asyncio.Event(), world.matrix_rooms.depart

    async def slow(portal: Portal) -> Sequence[Wire]:
        gates = [] if world.matrix_rooms.departed else [gate]
        wires = await depart(portal)
        for one in gates:
            await one.wait()
        return wires

    monkeypatch.setattr(world.matrix_rooms, "depart", slow)
    invite = into(NEW)
    put_out = Leave(
        ref=Ref(Network.MATRIX, "$out"),
        room=OLD,
        sender=invite.sender,
        sent_at=datetime.now(UTC),
        person=invite.person,
    )

    await world.comes(put_out)
    await asyncio.sleep(0.001)
    await world.comes(invite)
    await asyncio.sleep(0.001)
    gate.set()
    await world.settles()

    portal = world.directory.portal(CHAT)
    assert portal is not None
    assert portal.matrix == NEW.address
    assert portal in await world.store.load(Portal)


async def test_a_chat_that_moves_while_its_room_is_encrypted_stays_where_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.happens(into(OLD))
    gate = asyncio.Event()

    async def protect(portal: Portal) -> bool:
        await gate.wait()
        return True

    monkeypatch.setattr(world.matrix_rooms, "protect", protect)
    hidden = replace(said(CHAT, "hidden"), protection=Protection.END_TO_END)

    await world.comes(hidden)
    await asyncio.sleep(0.001)
    await world.comes(into(NEW))
    await asyncio.sleep(0.001)
    gate.set()
    await world.settles()

    portal = world.directory.portal(CHAT)
    assert portal is not None
    assert (portal.matrix, portal.encrypted) == (NEW.address, True)
    found = await world.store.load(Portal)
    assert [one for one in found if one.xmpp == CHAT.address] == [portal]


async def test_who_came_in_while_nothing_more_is_taken_in_is_asked_in_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk may be nearly full for hours; asking is counted, and costs much."""
    world.matrix.script["$early"] = said(NEW, "written while you were invited")
    world.matrix_rooms.missed.append(Arrival(NEW, "$early", b"raw"))
    accept, commit = world.matrix_rooms.accept, world.store.commit
    accepted: list[Invite] = []
    full = 3

    async def counted(invite: Invite) -> tuple[Portal, Sequence[Arrival]] | Refusal:
        accepted.append(invite)
        return await accept(invite)

    def guarded(unit: Unit) -> "asyncio.Future[frozenset[int]]":
        nonlocal full
        if [one for one in unit.take if one.arrival.key == "$early"] and full:
            full -= 1
            low: asyncio.Future[frozenset[int]] = asyncio.Future()
            low.set_exception(StoreUnavailableError("the disk is nearly full"))
            return low
        return commit(unit)

    async def at_once(_: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(world.matrix_rooms, "accept", counted)
    monkeypatch.setattr(world.store, "commit", guarded)
    monkeypatch.setattr(hub, "sleep", at_once)
    await world.happens(into(NEW))

    assert world.xmpp.said() == ["written while you were invited"]
    assert len(accepted) == 1
