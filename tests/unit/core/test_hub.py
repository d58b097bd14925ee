import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bridge.core import hub, lanes
from bridge.core.ports import StoreUnavailableError, Unit
from bridge.model.delivery import (
    Arrival,
    Delivered,
    Refusal,
    Refused,
    Taken,
    Unreadable,
)
from bridge.model.events import Invite, Join, Leave
from bridge.model.places import Network, Person, PortalId, Ref, Room
from bridge.model.records import Alias, Kind, Portal
from tests.conftest import World, said
from tests.fakes import TEA_MATRIX, TEA_XMPP

DM = Room(Network.MATRIX, "!dm:hs.example")


async def test_what_is_said_arrives_on_the_other_side(world: World) -> None:
    await world.happens(said(TEA_MATRIX, "hello"))
    await world.happens(said(TEA_XMPP, "good day"))

    assert world.xmpp.said() == ["hello"]
    assert world.matrix.said() == ["good day"]


async def test_the_same_arrival_crosses_once(world: World) -> None:
    """Row 30."""
    await world.happens(said(TEA_MATRIX, "hello"))
    await world.happens(said(TEA_MATRIX, "hello"))

    assert world.xmpp.said() == ["hello"]


async def test_a_burst_keeps_its_order(world: World) -> None:
    for number in range(200):
        await world.comes(said(TEA_XMPP, str(number), number=number))
    await world.settles()

    assert world.matrix.said() == [str(number) for number in range(200)]


async def test_the_sender_hears_how_it_went(world: World) -> None:
    await world.happens(said(TEA_XMPP, "hello"))

    (receipt, outcome), *_ = world.xmpp.settled
    assert receipt == b"somebody-1"
    assert isinstance(outcome, Delivered)


async def test_both_names_of_a_message_are_remembered(world: World) -> None:
    await world.happens(said(TEA_XMPP, "hello"))

    near = await world.store.find(Alias, Network.XMPP, "somebody-1")
    far = await world.store.find(Alias, Network.MATRIX, "far-somebody-1")
    assert near is not None
    assert far is not None
    assert near.seq == far.seq


async def test_what_cannot_be_read_is_refused_in_words(world: World) -> None:
    world.matrix.script["$1"] = Unreadable(Refusal.ENCRYPTED, b"receipt")

    await world.hub.keep([Arrival(TEA_MATRIX, "$1", b"raw")])
    await world.settles()

    assert world.matrix.settled == [(b"receipt", Refused(Refusal.ENCRYPTED))]
    assert world.matrix.said() == [Refusal.ENCRYPTED.value]


async def test_an_arrival_that_breaks_its_reader_stops_nobody(world: World) -> None:
    world.matrix.broken = True
    await world.happens(said(TEA_MATRIX, "poison", number=1))
    world.matrix.broken = False
    await world.happens(said(TEA_MATRIX, "hello", number=2))

    assert world.xmpp.said() == ["hello"]


async def test_what_needs_code_that_was_replaced_waits_for_a_restart(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def restarted(_: float) -> None:
        monkeypatch.setattr(world.matrix, "read", read)

    async def stale(*_: object) -> None:
        raise ImportError

    read = world.matrix.read
    monkeypatch.setattr(hub, "sleep", restarted)
    monkeypatch.setattr(world.matrix, "read", stale)

    await world.happens(said(TEA_MATRIX, "hello"))

    assert world.xmpp.said() == ["hello"]
    assert "restart the bridge" in caplog.text


async def test_a_message_that_cannot_be_written_is_refused_in_words(
    world: World,
) -> None:
    world.xmpp.mute = True

    await world.happens(said(TEA_MATRIX, "poison"))

    assert world.matrix.said() == [Refusal.REJECTED.value]


async def test_what_was_taken_before_a_crash_is_carried_after_it(world: World) -> None:
    event = said(TEA_MATRIX, "hello")
    world.matrix.script["$1"] = event
    taken = Taken(world.store.number(), Arrival(TEA_MATRIX, "$1", b"raw"))
    await world.store.commit(Unit(take=[taken]))

    await world.hub.start()
    await world.settles()

    assert world.xmpp.said() == ["hello"]


async def test_nobody_answers_in_a_room_that_is_bridged_nowhere(world: World) -> None:
    room = Room(Network.MATRIX, "!elsewhere:hs.example")

    await world.happens(said(room, "hello"))

    assert world.matrix.sent == []
    assert world.xmpp.sent == []


async def test_the_first_message_to_a_person_makes_the_chat(world: World) -> None:
    chat = Room(Network.XMPP, "juliet@capulet.example @alice:hs.example")
    world.matrix_rooms.made["@alice:hs.example"] = Portal(
        PortalId(0), Kind.DIRECT, "!chat:hs.example", "", agent="@ghost:hs.example"
    )

    await world.happens(said(chat, "Alice?", number=1))
    await world.happens(said(chat, "are you there?", number=2))

    assert world.matrix.said() == ["Alice?", "are you there?"]
    portal = world.directory.portal(chat)
    assert portal is not None
    assert portal.matrix == "!chat:hs.example"


async def test_what_comes_while_a_chat_is_made_queues_behind(world: World) -> None:
    chat = Room(Network.XMPP, "juliet@capulet.example @alice:hs.example")
    world.matrix_rooms.made["@alice:hs.example"] = Portal(
        PortalId(0), Kind.DIRECT, "!chat:hs.example", "", agent="@ghost:hs.example"
    )

    for number in range(150):
        await world.comes(said(chat, str(number), number=number))
    await world.settles()

    assert world.matrix.said() == [str(number) for number in range(150)]


async def test_a_message_to_nobody_is_refused_in_words(world: World) -> None:
    chat = Room(Network.XMPP, "juliet@capulet.example nobody")

    await world.happens(said(chat, "hello?"))

    assert world.xmpp.said() == [Refusal.NO_SUCH_PERSON.value]


async def test_how_things_stand_is_shown_on_the_other_side(world: World) -> None:
    event = Join(
        ref=Ref(Network.XMPP, "presence"),
        room=TEA_XMPP,
        sender=Person(Network.XMPP, "tea@muc.example/Tom"),
        sent_at=datetime.now(UTC),
        name="Tom",
    )

    world.hub.tell(event)
    await world.settles()

    assert world.matrix.applied == [event]


@pytest.mark.parametrize("declined", [True, False])
async def test_whoever_was_declined_is_told(world: World, *, declined: bool) -> None:
    chat = Room(Network.XMPP, "juliet@capulet.example @alice:hs.example")
    room = Room(Network.MATRIX, "!chat:hs.example")
    world.matrix_rooms.made["@alice:hs.example"] = Portal(
        PortalId(0), Kind.DIRECT, room.address, "", agent="@ghost:hs.example"
    )
    await world.happens(said(chat, "Alice?"))
    alice = Person(Network.MATRIX, "@alice:hs.example")
    leave = Leave(
        ref=Ref(Network.MATRIX, "$leave"),
        room=room,
        sender=alice,
        sent_at=datetime.now(UTC),
        person=alice,
        declined=declined,
    )

    await world.happens(leave)

    words = [f"Not delivered: {Refusal.DECLINED.value}"]
    assert world.xmpp.said() == (words if declined else [])


async def test_what_was_said_to_somebody_only_invited_crosses_first(
    world: World,
) -> None:
    room = Room(Network.MATRIX, "!new:hs.example")
    early = said(room, "written while you were invited", number=1)
    world.matrix.script["$early"] = early
    world.matrix_rooms.missed.append(Arrival(room, "$early", b"raw"))
    invite = Invite(
        ref=Ref(Network.MATRIX, "$invite"),
        room=room,
        sender=Person(Network.MATRIX, "@alice:hs.example"),
        sent_at=datetime.now(UTC),
        person=Person(Network.XMPP, "juliet@capulet.example"),
        direct=True,
    )

    await world.comes(invite)
    await world.comes(said(room, "written afterwards", number=2))
    await world.settles()

    assert world.xmpp.said() == [
        "written while you were invited",
        "written afterwards",
    ]


async def test_a_step_waits_until_it_can_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(_: float) -> None:
        world.store.broken = False

    await world.comes(said(TEA_MATRIX, "hello"))
    world.store.broken = True
    monkeypatch.setattr(hub, "sleep", at_once)
    await world.settles()

    assert world.xmpp.said() == ["hello"]


async def test_an_arrival_waits_until_the_disk_can_be_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "sleep", at_once)
    world.matrix.unread = [StoreUnavailableError("gone")] * 3

    await world.happens(said(TEA_MATRIX, "hello"))

    assert world.xmpp.said() == ["hello"]


async def test_what_breaks_on_its_way_is_refused_in_words(world: World) -> None:
    chat = Room(Network.XMPP, "juliet@capulet.example @alice:hs.example")
    world.matrix_rooms.fault = ValueError("no such thing")

    await world.happens(said(chat, "hello"))

    assert world.xmpp.said() == [Refusal.REJECTED.value]
    assert await world.store.rooms_waiting() == []


async def test_what_can_never_be_written_down_is_refused_in_words(
    world: World,
) -> None:
    world.store.unfit = "far too long"

    await world.happens(said(TEA_MATRIX, "far too long"))
    await world.happens(said(TEA_MATRIX, "hello", number=2))

    assert world.matrix.said() == [Refusal.REJECTED.value]
    assert world.xmpp.said() == ["hello"]
    assert await world.store.rooms_waiting() == []


async def test_what_could_not_be_written_down_is_not_overtaken(world: World) -> None:
    gate = world.matrix.gates["$3"] = asyncio.Event()
    for number in (1, 2, 3):
        key = f"${number}"
        world.matrix.script[key] = said(TEA_MATRIX, str(number), number=number)
        taken = Taken(world.store.number(), Arrival(TEA_MATRIX, key, b"raw"))
        await world.store.commit(Unit(take=[taken]))

    world.store.broken = True
    await world.hub.start()
    for _ in range(20):
        await asyncio.sleep(0)
    world.store.broken = False
    gate.set()
    await world.settles()

    assert world.xmpp.said() == ["1", "2", "3"]


async def at_once(_: float) -> None:
    await asyncio.sleep(0)


async def test_what_waits_in_one_lane_is_not_read_into_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lane in which a chat was made may still be busy when its portal's fills."""
    chat = Room(Network.XMPP, "juliet@capulet.example @alice:hs.example")
    room = Room(Network.MATRIX, "!chat:hs.example")
    world.matrix_rooms.made["@alice:hs.example"] = Portal(
        PortalId(0), Kind.DIRECT, room.address, "", agent="@ghost:hs.example"
    )
    monkeypatch.setattr(lanes, "DEPTH_MAX", 4)

    await world.comes(said(chat, "x0", number=0))
    for _ in range(20):
        if world.directory.portal(chat) is not None:
            break
        await asyncio.sleep(0)
    gate = world.xmpp.gates["somebody-1"] = asyncio.Event()
    await world.comes(said(chat, "x1", number=1))
    filling = world.matrix.gates["alice-0"] = asyncio.Event()
    for number in range(5):
        await world.comes(said(room, f"m{number}", sender="alice", number=number))
    await world.comes(said(chat, "x2", number=2))
    filling.set()
    for _ in range(50):
        await asyncio.sleep(0)
    gate.set()
    await world.settles()

    assert world.matrix.said() == ["x0", "x1", "x2"]
    assert world.xmpp.said() == [f"m{number}" for number in range(5)]


async def test_what_came_while_a_link_was_undone_is_not_left_on_disk(
    world: World,
) -> None:
    alice = Person(Network.MATRIX, "@alice:hs.example")
    kick = Leave(
        ref=Ref(Network.MATRIX, "$kick"),
        room=DM,
        sender=alice,
        sent_at=datetime.now(UTC),
        person=Person(Network.XMPP, "juliet@capulet.example"),
    )
    chat = Room(Network.XMPP, "juliet@capulet.example @alice:hs.example")
    portal = Portal(PortalId(5), Kind.DIRECT, DM.address, chat.address, agent="@ghost")
    world.directory.put(portal, Unit())
    world.matrix_rooms.made["@alice:hs.example"] = replace(
        portal, matrix="!again:hs.example"
    )
    world.matrix.script["$kick"] = kick
    taken = Taken(world.store.number(), Arrival(DM, "$kick", b"raw"))
    await world.store.commit(Unit(take=[taken]))

    await world.hub.start()
    await world.comes(said(chat, "one", number=1))
    await world.comes(said(chat, "two", number=2))
    await world.settles()

    assert await world.store.rooms_waiting() == []
    assert world.matrix.said()[-2:] == ["one", "two"]
