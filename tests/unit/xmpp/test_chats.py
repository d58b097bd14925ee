import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from bridge.core.ports import Unit
from bridge.model.delivery import (
    Delivered,
    Later,
    Refusal,
    Refused,
    Taken,
    Unreadable,
    Wire,
)
from bridge.model.events import Command, Leave, Message
from bridge.model.places import Network, Person, PortalId, Ref, Room
from bridge.model.records import Kind, Portal
from bridge.xmpp.chats import Chats
from tests.unit.xmpp.elsewhere import (
    ALICE,
    ALICES,
    BOB,
    BOBS,
    DOMAIN,
    NOW,
    STREAM,
    World,
    build,
    name_of,
    parcels,
    route,
    said,
)

JULIET = "juliet@capulet.lit"
ALICE_JID = f"alice_hs.example@{DOMAIN}"
CHAT = Room(Network.XMPP, f"{JULIET} {ALICE_JID}")
DIRECT = Portal(PortalId(3), Kind.DIRECT, "!dm:hs.example", CHAT.address, agent="@g")
SECRET = (
    "<encrypted xmlns='eu.siacs.conversations.axolotl'><payload/></encrypted>"
    "<body>I sent you an OMEMO message</body>"
)


@dataclass
class ChatsWorld(World):
    chats: Chats

    async def read(self) -> list[object]:
        arrivals = self.intake.arrivals.values()
        return [
            await self.chats.read(Taken(1, arrival), Unit()) for arrival in arrivals
        ]

    def wires(self, words: str, name: str = "$1", person: Person = ALICE) -> list[Wire]:
        wires = self.chats.prepare(said(words, name, person), route(DIRECT))
        assert not isinstance(wires, Refusal)
        return list(wires)

    def writes(self, words: str, name: str = "m1", to: str = ALICE_JID) -> None:
        self.server.deliver(
            f"<message type='chat' from='{JULIET}/balcony' to='{to}' id='{name}'>"
            f"<body>{words}</body></message>"
        )


@pytest.fixture
async def world() -> AsyncIterator[ChatsWorld]:
    async with asyncio.TaskGroup() as tasks:
        made = build(tasks)
        chats = Chats(made.means)
        made.server.received = chats.received
        await chats.start()
        await chats.up()
        yield ChatsWorld(
            made.means, made.server, made.host, made.intake, made.store, chats
        )
        chats.down()


async def test_a_message_arrives_in_the_chat_of_the_two(world: ChatsWorld) -> None:
    world.writes("soft!")
    await world.settle()

    (event,) = await world.read()
    assert isinstance(event, Message)
    assert event.room == CHAT
    assert event.sender == Person(Network.XMPP, JULIET)
    assert event.ref == Ref(Network.XMPP, f"{JULIET}#m1")
    assert event.name == "juliet"
    assert world.chats.addressee(event.room) == ALICE


async def test_what_a_client_sends_again_is_the_same_message(
    world: ChatsWorld,
) -> None:
    world.writes("soft!")
    world.writes("soft!")
    world.writes("soft!", "m2")
    world.writes("what light", "m1")
    await world.settle()

    assert len(world.intake.arrivals) == 3


async def test_two_messages_without_an_id_are_two(world: ChatsWorld) -> None:
    world.writes("soft!", "")
    world.writes("soft!", "")
    await world.settle()

    assert len(world.intake.arrivals) == 2


async def test_somebody_is_called_what_they_call_themselves(world: ChatsWorld) -> None:
    """XEP-0172 §4.2."""
    world.server.deliver(
        f"<message from='{JULIET}/x' to='{ALICE_JID}'><body>hi</body>"
        "<nick xmlns='http://jabber.org/protocol/nick'> Juliet\nC. </nick></message>"
    )
    await world.settle()

    (event,) = await world.read()
    assert isinstance(event, Message)
    assert event.name == "Juliet C."


async def test_words_to_the_bridge_itself_are_a_command(world: ChatsWorld) -> None:
    world.writes("status", to=f"bridge@{DOMAIN}")
    await world.settle()

    (event,) = await world.read()
    assert isinstance(event, Command)
    assert (event.words, event.private) == ("status", True)
    (wire,) = world.chats.notice(event.room, "no links")
    assert await world.chats.send(parcels([wire])) == [Delivered()]
    answer = world.server.written[-1]
    assert (answer.get("from"), answer.get("to")) == (f"bridge@{DOMAIN}/matrix", JULIET)


@pytest.mark.parametrize(
    ("kind", "inside"),
    [
        ("chat", "<active xmlns='http://jabber.org/protocol/chatstates'/>"),
        ("headline", "<body>news</body>"),
        ("groupchat", "<body>nobody's room</body>"),
        ("error", "<body>mine came back</body>"),
        ("chat", "<sent xmlns='urn:xmpp:carbons:2'><forwarded/></sent>"),
    ],
)
async def test_what_is_no_message_to_us_is_dropped(
    world: ChatsWorld, kind: str, inside: str
) -> None:
    world.server.deliver(
        f"<message type='{kind}' from='{JULIET}/x' to='{ALICE_JID}'>{inside}</message>"
    )
    await world.settle()

    assert world.intake.arrivals == {}
    assert world.server.written == []


@pytest.mark.parametrize(
    ("sender", "to", "inside", "condition"),
    [
        (f"{JULIET}/x", f"nobody@{DOMAIN}", "", "item-not-found"),
        (
            "room@muc.example/nick",
            ALICE_JID,
            "<x xmlns='http://jabber.org/protocol/muc#user'/>",
            "feature-not-implemented",
        ),
    ],
)
async def test_who_cannot_be_reached_so_is_said_to_be(
    world: ChatsWorld, sender: str, to: str, inside: str, condition: str
) -> None:
    world.server.deliver(
        f"<message type='chat' from='{sender}' to='{to}' id='m1'>"
        f"<body>hello</body>{inside}</message>"
    )
    await world.settle()

    (answer,) = world.server.written
    assert (answer.get("type"), answer.get("to"), answer.get("id")) == (
        "error",
        sender,
        "m1",
    )
    assert name_of(answer[0][0]) == condition
    assert world.intake.arrivals == {}


async def test_an_encrypted_message_is_refused(world: ChatsWorld) -> None:
    world.server.deliver(
        f"<message type='chat' from='{JULIET}/x' to='{ALICE_JID}' id='m1'>{SECRET}"
        "</message>"
    )
    await world.settle()

    (read,) = await world.read()
    assert isinstance(read, Unreadable)
    (wire,) = world.chats.settle(read.receipt, Refused(read.why))
    assert await world.chats.send(parcels([wire])) == [Delivered()]
    assert world.server.written[-1].get("to") == f"{JULIET}/x"
    assert world.server.asked == []


async def test_a_refused_message_comes_back_to_the_device_that_sent_it(
    world: ChatsWorld,
) -> None:
    world.writes("soft!")
    await world.settle()
    (event,) = await world.read()
    assert isinstance(event, Message)
    receipt = world.chats.receipt(event)

    assert world.chats.settle(receipt, Delivered()) == ()
    (wire,) = world.chats.settle(receipt, Refused(Refusal.NO_SUCH_PERSON))
    await world.chats.send(parcels([wire]))

    (answer,) = world.server.written
    assert (answer.get("type"), answer.get("id")) == ("error", "m1")
    assert answer.get("from") == ALICE_JID
    assert answer.get("to") == f"{JULIET}/balcony"
    assert name_of(answer[0][0]) == "item-not-found"


async def test_one_message_is_on_its_way_at_a_time(world: ChatsWorld) -> None:
    wires = [
        *world.wires("one", "$1"),
        *world.wires("two", "$2"),
    ]

    outcomes = await world.chats.send(parcels(wires))

    assert outcomes == [Delivered()]
    (stanza,) = world.server.written
    assert (stanza.get("from"), stanza.get("to")) == (ALICES, JULIET)
    assert (stanza.get("type"), stanza.get("id")) == ("chat", "$1")
    assert stanza.find("{urn:xmpp:hints}store") is not None
    assert stanza.findtext(f"{{{STREAM}}}body") == "one"
    assert world.server.asked == [("ping", JULIET)]
    assert world.server.ids == [1]


async def test_a_message_that_comes_back_is_refused(world: ChatsWorld) -> None:
    world.server.bounces["$1"] = "service-unavailable"

    outcomes = await world.chats.send(parcels(world.wires("one")))

    assert outcomes == [
        Refused(Refusal.REJECTED, "perhaps there is nobody of that name")
    ]


async def test_a_message_that_comes_back_late_is_counted(world: ChatsWorld) -> None:
    await world.chats.send(parcels(world.wires("one")))

    world.server._refuse(world.server.written[0], "service-unavailable")
    await world.settle()

    assert world.chats._bounces.late == 1


async def test_a_silent_server_is_not_waited_for_twice(world: ChatsWorld) -> None:
    world.server.silent = True

    outcomes = await world.chats.send(parcels(world.wires("one")))

    assert outcomes == [Delivered()]


async def test_a_lost_stream_means_later(world: ChatsWorld) -> None:
    wires = world.wires("one")
    sending = asyncio.get_running_loop().create_task(world.chats.send(parcels(wires)))
    await asyncio.sleep(0)
    world.server.connected = False

    assert await sending == [Later(1.0)]
    assert await world.chats.send(parcels(wires)) == [Later(1.0)]


async def test_nobody_is_told_of_the_return_of_what_is_sent_again(
    world: ChatsWorld,
) -> None:
    sending = asyncio.get_running_loop().create_task(
        world.chats.send(parcels(world.wires("one")))
    )
    await asyncio.sleep(0)
    world.server.connected = False
    assert await sending == [Later(1.0)]

    world.server._refuse(world.server.written[0], "service-unavailable")
    await world.settle()

    assert world.host.regretted == []


async def test_what_a_former_run_had_handed_over_may_come_back_late(
    world: ChatsWorld,
) -> None:
    (parcel,) = parcels(world.wires("one"))
    await world.chats.send([parcel])
    former = Chats(replace(world.means, written=frozenset({1})))
    world.server.received = former.received
    await former.send([parcel])

    world.server._refuse(world.server.written[0], "service-unavailable")
    await world.settle()

    assert [late for late, _ in world.host.regretted] == [parcel]


async def test_what_a_former_run_had_handed_over_is_not_sent_again(
    world: ChatsWorld,
) -> None:
    chats = Chats(replace(world.means, written=frozenset({1})))

    outcomes = await chats.send(parcels(world.wires("one")))

    assert outcomes == [Delivered()]
    assert world.server.written == []


async def test_somebody_else_in_the_room_writes_as_themselves(
    world: ChatsWorld,
) -> None:
    await world.chats.send(parcels(world.wires("I too", "$1", BOB)))

    assert world.server.written[0].get("from") == BOBS


async def test_a_chat_has_one_address_however_its_people_are_spelt(
    world: ChatsWorld,
) -> None:
    shouted = Person(Network.XMPP, "Juliet@CAPULET.lit")

    assert world.chats.chat(shouted, ALICE) == CHAT
    assert world.chats.addressee(Room(Network.XMPP, "room@muc.example")) is None
    nobody = Room(Network.XMPP, f"{JULIET} bridge@{DOMAIN}")
    assert world.chats.addressee(nobody) is Refusal.NO_SUCH_PERSON


async def test_who_comes_and_goes_on_matrix_is_not_shown(world: ChatsWorld) -> None:
    leave = Leave(
        ref=Ref(Network.MATRIX, "$1"),
        room=Room(Network.MATRIX, DIRECT.matrix),
        sender=ALICE,
        sent_at=NOW,
        person=ALICE,
    )

    assert await world.chats.apply(leave, route(DIRECT)) == ()


async def test_bytes_of_no_format_harm_nobody(world: ChatsWorld) -> None:
    world.writes("soft!")
    await world.settle()
    (arrival,) = world.intake.arrivals.values()
    (wire,) = world.wires("x")

    assert (
        await world.chats.read(Taken(1, replace(arrival, raw=b"D\xc1")), Unit()) is None
    )
    assert world.chats.settle(b"D\xc1", Refused(Refusal.REJECTED)) == ()
    assert await world.chats.send(parcels([replace(wire, data=b"D\xc1")])) == [
        Refused(Refusal.MALFORMED)
    ]


async def test_commands_are_obeyed_in_every_chat(world: ChatsWorld) -> None:
    """As in rooms; what only looks like one is a message."""
    world.writes("!matrix devices", "m1")
    world.writes("!matrixdevices", "m2")
    await world.settle()

    command, message = await world.read()
    assert isinstance(command, Command)
    assert (command.words, command.room) == ("devices", CHAT)
    assert isinstance(message, Message)


async def test_sealed_messages_of_one_name_are_told_apart(world: ChatsWorld) -> None:
    """Their outer words are all the same, and clients use names again."""
    for payload in ("AAAA", "BBBB", "AAAA"):
        world.server.deliver(
            f"<message type='chat' from='{JULIET}/x' to='{ALICE_JID}' id='m1'>"
            "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/>"
            f"<payload>{payload}</payload></encrypted><body>It is encrypted</body>"
            "</message>"
        )
    await world.settle()

    assert len(world.intake.arrivals) == 2
