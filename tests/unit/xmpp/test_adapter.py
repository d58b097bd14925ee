import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from bridge.core.ports import Recovering, Unit
from bridge.model.delivery import (
    XMPP_SERVER,
    Arrival,
    Delivered,
    Description,
    Later,
    Parcel,
    Refusal,
    Refused,
    Taken,
    Wire,
)
from bridge.model.events import Protection
from bridge.model.places import Network, Person, PortalId, Room
from bridge.model.records import Kind, Portal
from bridge.xmpp.adapter import XmppAdapter, wanted
from bridge.xmpp.component import Stream
from bridge.xmpp.inbound import Inbound
from tests.unit.xmpp.elsewhere import (
    ALICE,
    DOMAIN,
    MUC,
    ROOM,
    TEA,
    Server,
    World,
    build,
    name_of,
    parcels,
    route,
    said,
    stanza,
)
from tests.unit.xmpp.test_inbound import Core, Tap

JULIET = "juliet@capulet.lit/balcony"
ALICE_JID = f"alice_hs.example@{DOMAIN}"
CHAT = Room(Network.XMPP, f"juliet@capulet.lit {ALICE_JID}")
DIRECT = Portal(PortalId(3), Kind.DIRECT, "!dm:hs.example", CHAT.address, agent="@g")
HALL = Portal(
    PortalId(4),
    Kind.HOSTED,
    "!hall:hs.example",
    f"#hall#hs.example@{DOMAIN}",
    agent="@g",
    alias="#hall:hs.example",
)


class Line(Server):
    """What the adapter itself asks of its stream."""

    suspects: tuple[int, ...] = ()
    blames: bool = True

    async def drained(self) -> None:
        await asyncio.sleep(0)


class AdapterWorld(World):
    adapter: XmppAdapter
    core: Core


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[AdapterWorld]:
    async with asyncio.TaskGroup() as tasks:
        plain = build(tasks)
        line, core = Line(), Core({ROOM: TEA, CHAT: DIRECT})
        made = AdapterWorld(plain.means, line, core, plain.intake, plain.store)
        made.core = core
        made.adapter = XmppAdapter(
            domain=DOMAIN,
            secret="",
            host="127.0.0.1",
            port=1,
            store=plain.store,
            tasks=tasks,
            written=tmp_path / "written",
        )
        inbound = Inbound(core, Tap())
        await made.adapter.join(cast("Stream", line), inbound, core)
        line.received = lambda one, sender, to: made.adapter.received(one)
        running = tasks.create_task(inbound.run())
        yield made
        running.cancel()
        made.adapter._mucs.close()


async def test_a_message_to_a_puppet_is_a_chat(world: AdapterWorld) -> None:
    world.adapter.received(
        stanza(
            f"<message type='chat' from='{JULIET}' to='{ALICE_JID}' id='m1'>"
            "<body>hi</body></message>"
        )
    )
    await world.adapter._inbound.wait_empty()

    assert len(world.core.kept) == 1


async def test_what_a_muc_says_is_the_mucs(world: AdapterWorld) -> None:
    assert isinstance(await world.adapter.visit(MUC), Description)
    world.server.occupants["Hatter"] = "hatter@wonder.example/x"
    stanza_id = world.server.says("Hatter", "tea")
    await world.settle()

    assert world.core.kept == [[f"{MUC}#{stanza_id}"]]


@pytest.mark.parametrize(
    "attributes",
    [
        f"to='{ALICE_JID}'",
        f"from='{JULIET}'",
        f"from='a b@c' to='{ALICE_JID}'",
        f"from='bob_hs.example@{DOMAIN}/matrix' to='{ALICE_JID}'",
        f"from='{DOMAIN}' to='{ALICE_JID}'",
    ],
)
async def test_what_is_from_nobody_or_from_ourselves_is_dropped(
    world: AdapterWorld, attributes: str
) -> None:
    world.adapter.received(stanza(f"<message {attributes}><body>echo</body></message>"))
    await world.settle()

    assert world.core.kept == []
    assert world.server.written == []
    assert world.adapter.ignored == 1


@pytest.mark.parametrize(
    ("to", "answer"),
    [
        (ALICE_JID, "result"),
        (f"bridge@{DOMAIN}", "result"),
        (f"nobody@{DOMAIN}", "error"),
    ],
)
async def test_who_can_exist_is_there_and_nobody_else(
    world: AdapterWorld, to: str, answer: str
) -> None:
    world.adapter.received(
        stanza(
            f"<iq type='get' id='1' from='{JULIET}' to='{to}'>"
            "<query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
        )
    )
    await world.settle()

    (iq,) = world.server.written
    assert (iq.get("type"), iq.get("to")) == (answer, JULIET)


async def test_an_answer_that_nobody_asked_for_is_not_answered(
    world: AdapterWorld,
) -> None:
    for kind in ("result", "error", "other"):
        world.adapter.received(
            stanza(f"<iq type='{kind}' id='1' from='{JULIET}' to='{ALICE_JID}'/>")
        )

    assert world.server.written == []


async def test_a_puppet_can_be_a_contact_but_is_no_room(world: AdapterWorld) -> None:
    about = f"from='{JULIET}' to='{ALICE_JID}'"
    join = "<x xmlns='http://jabber.org/protocol/muc'/>"
    world.adapter.received(stanza(f"<presence type='subscribe' {about}/>"))
    world.adapter.received(stanza(f"<presence {about}>{join}</presence>"))

    answers = [(name_of(one), one.get("type")) for one in world.server.written]
    assert answers == [("presence", kind) for kind in ("subscribed", None, "error")]


@pytest.mark.parametrize("portal", [TEA, DIRECT])
async def test_each_venue_gets_its_own_wires_back(
    world: AdapterWorld, portal: Portal
) -> None:
    await world.adapter.visit(MUC)
    wires = world.adapter.prepare(said("hello"), route(portal))
    assert not isinstance(wires, Refusal)

    (outcome,) = await world.adapter.send(parcels(wires))

    assert isinstance(outcome, Delivered)
    assert world.server.heard() == ["hello"]


async def test_a_lane_with_wires_of_two_venues_sends_them_in_turn(
    world: AdapterWorld,
) -> None:
    await world.adapter.visit(MUC)
    wires = [
        *world.adapter.notice(CHAT, "one"),
        *world.adapter.notice(ROOM, "two"),
    ]

    waiting = parcels(wires)
    while waiting:
        waiting = waiting[len(await world.adapter.send(waiting)) :]

    assert world.server.heard() == ["one", "two"]


async def test_what_is_in_no_format_is_refused_and_never_raises(
    world: AdapterWorld,
) -> None:
    parcel = Parcel(1, Network.XMPP, "7", Wire("k", b"?"))
    taken = Taken(1, Arrival(ROOM, "k", b""))

    (outcome,) = await world.adapter.send([parcel])
    assert isinstance(outcome, Refused)
    assert await world.adapter.read(taken, Unit()) is None
    assert world.adapter.settle(b"", outcome) == ()
    assert world.adapter.settle(b"?", outcome) == ()


@pytest.mark.parametrize("inside", ["<body>hi</body>", "<body>?OTR:AAED</body>"])
async def test_whoever_wrote_what_can_never_be_kept_is_told(
    world: AdapterWorld, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    async def keep(arrivals: Sequence[Arrival]) -> None:
        raise ValueError("no disk could hold it")

    told: list[Wire] = []
    monkeypatch.setattr(world.core, "keep", keep)
    monkeypatch.setattr(world.core, "later", lambda room, wires: told.extend(wires))
    world.adapter.received(
        stanza(
            f"<message type='chat' from='{JULIET}' to='{ALICE_JID}' id='m1'>"
            f"{inside}</message>"
        )
    )
    await world.settle()

    (wire,) = told
    (outcome,) = await world.adapter.send(parcels([wire]))
    assert outcome == Delivered()
    error = world.server.written[-1]
    assert (error.get("type"), error.get("id")) == ("error", "m1")
    assert error.get("to") == JULIET


async def test_what_closes_the_stream_each_time_is_given_up(
    world: AdapterWorld,
) -> None:
    """Row 26."""
    (wire,) = world.adapter.notice(CHAT, "poison")
    assert isinstance(world.server, Line)
    world.server.suspects = (1,)

    for _ in range(3):
        world.adapter.down()
    (outcome,) = await world.adapter.send(parcels([wire]))

    assert isinstance(outcome, Refused)
    assert world.server.written == []


async def test_what_waits_for_the_stream_waits_for_the_xmpp_server(
    world: AdapterWorld,
) -> None:
    ups: list[bool] = []
    world.adapter.on_up = lambda: ups.append(True)
    waiting = parcels(world.adapter.notice(CHAT, "hello"))
    world.server.connected = False

    (outcome,) = await world.adapter.send(waiting)
    await world.adapter.up()

    assert outcome == Later(1.0, XMPP_SERVER)
    assert ups == [True]


async def test_addresses_are_read_both_ways(world: AdapterWorld) -> None:
    adapter = world.adapter

    assert adapter.network is Network.XMPP
    assert adapter.hosted(HALL) == HALL.xmpp
    assert adapter.alias(HALL.xmpp) == HALL.alias
    assert adapter.alias("#hall#hs.example@else.example") is None
    assert adapter.alias("no address") is None
    assert adapter.addressee(CHAT) == ALICE
    assert adapter.chat(Person(Network.XMPP, "juliet@capulet.lit"), ALICE) == CHAT


async def test_only_a_muc_is_departed_from(world: AdapterWorld) -> None:
    await world.adapter.visit(MUC)

    assert len(await world.adapter.depart(TEA)) == 1
    assert await world.adapter.depart(DIRECT) == ()
    assert await world.adapter.depart(HALL) == []


async def test_copies_to_puppets_are_not_even_read() -> None:
    assert not wanted(b"alice_hs.example@bridge.example/matrix")
    assert wanted(b"bridge@bridge.example/listener")
    assert wanted(b"#hall#hs.example@bridge.example")


class Closing(Line):
    """A stream that is open until it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = asyncio.Event()

    async def run(self) -> None:
        await self.closed.wait()

    async def close(self) -> None:
        self.closed.set()
        await asyncio.sleep(0)


class SlowCore(Core):
    """Keeps nothing until *gate* is open."""

    gate: asyncio.Event

    async def keep(self, arrivals: Sequence[Arrival]) -> None:
        await self.gate.wait()
        await super().keep(arrivals)


async def test_what_came_last_is_kept_before_the_end(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        plain, line, core = build(tasks), Closing(), SlowCore()
        core.gate = asyncio.Event()
        adapter = XmppAdapter(
            domain=DOMAIN,
            secret="",
            host="127.0.0.1",
            port=1,
            store=plain.store,
            tasks=tasks,
            written=tmp_path / "written",
        )
        await adapter.join(cast("Stream", line), Inbound(core, Tap()), core)
        tasks.create_task(adapter.run())
        for words in ("one", "two"):
            adapter.received(
                stanza(
                    f"<message type='chat' from='{JULIET}' to='{ALICE_JID}'>"
                    f"<body>{words}</body></message>"
                )
            )
            for _ in range(3):
                await asyncio.sleep(0)
        closing = tasks.create_task(adapter.close())
        for _ in range(5):
            await asyncio.sleep(0)
        core.gate.set()
        await closing

    assert sum(len(kept) for kept in core.kept) == 2


async def test_keys_are_made_anew_after_a_backup(world: AdapterWorld) -> None:
    assert isinstance(world.adapter, Recovering)
    await world.adapter.recover()

    (row,) = await world.store.secrets("omemo epoch")
    assert row.value == b"1"


async def test_what_is_promised_depends_on_the_kind_of_room(
    world: AdapterWorld,
) -> None:
    sealed = replace(HALL, encrypted=True)

    promised = [world.adapter.protection(one) for one in (DIRECT, HALL, sealed)]

    assert promised == [
        Protection.END_TO_END,
        Protection.TRANSPORT,
        Protection.END_TO_END,
    ]
