import asyncio
from collections.abc import AsyncIterator
from xml.etree.ElementTree import Element

import pytest

from bridge.model.delivery import Description, Later, Refusal, Refused
from bridge.model.events import Join, Message, Rename, Subject
from bridge.xmpp import mucs
from bridge.xmpp.codec.names import Jid
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.component import IqError
from bridge.xmpp.stay import GIVE_UP_S, MISSING_S
from tests.unit.xmpp.elsewhere import (
    LISTENER,
    MUC,
    USER,
    Server,
    name_of,
)
from tests.unit.xmpp.mucs_world import MucsWorld, tea_time

HISTORY = "{http://jabber.org/protocol/muc}history"


@pytest.fixture
async def world() -> AsyncIterator[MucsWorld]:
    async with tea_time() as made:
        yield made


def history(world: MucsWorld) -> dict[str, str]:
    asked = [one.find(f".//{HISTORY}") for one in world.server.written]
    return [dict(one.attrib) for one in asked if one is not None][-1]


async def test_entering_tells_what_the_room_is(world: MucsWorld) -> None:
    about = await world.mucs.visit(MUC)

    assert about == Description("Tea")
    assert world.server.asked[0] == ("query", MUC)
    assert world.stay.live


async def test_entering_twice_is_once(world: MucsWorld) -> None:
    await asyncio.gather(world.mucs.visit(MUC), world.mucs.visit(MUC))

    joins = [one for one in world.server.written if name_of(one) == "presence"]
    assert len(joins) == 1


async def test_the_bridge_takes_another_nick_if_its_own_is_taken(
    world: MucsWorld,
) -> None:
    world.server.occupants["Matrix bridge"] = "other@bridge.net/x"

    await world.mucs.visit(MUC)

    assert world.server.occupants["Matrix bridge 2"] == LISTENER


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("forbidden", Refusal.NOT_ALLOWED),
        ("registration-required", Refusal.NOT_ALLOWED),
        ("remote-server-not-found", Refusal.UNREACHABLE),
    ],
)
async def test_a_room_that_will_not_have_us_says_why(
    world: MucsWorld, condition: str, why: Refusal
) -> None:
    world.server.refuses[LISTENER.partition("/")[0]] = condition

    assert await world.mucs.visit(MUC) is why


async def test_what_is_no_room_is_not_entered(world: MucsWorld) -> None:
    world.server.features = ("urn:xmpp:mam:2",)

    assert await world.mucs.visit(MUC) is Refusal.NO_SUCH_ROOM


async def test_a_room_made_by_our_coming_is_left_again(world: MucsWorld) -> None:
    """XEP-0045 §10.1: whoever enters a room that is not there has made it."""
    real = world.server.received

    def received(stanza: Element, sender: Jid, to: Jid) -> None:
        x = stanza.find(f"{{{USER}}}x")
        if x is not None and stanza.get("type") is None:
            x.append(Element(f"{{{USER}}}status", {"code": "201"}))
        real(stanza, sender, to)

    world.server.received = received

    assert await world.mucs.visit(MUC) is Refusal.NO_SUCH_ROOM
    assert world.server.written[-1].get("type") == "unavailable"


async def test_without_an_archive_the_history_since_the_last_message_is_asked(
    world: MucsWorld,
) -> None:
    """Row 28."""
    world.server.features = world.server.features[:1]
    await world.mucs.visit(MUC)
    assert history(world) == {"maxstanzas": "0"}
    world.server.says("Hatter", "before")
    await world.settle()
    world.disconnect()
    del world.server.occupants["Matrix bridge"]

    await world.connect()
    world.server.deliver(
        f"<message type='groupchat' from='{MUC}/Hatter' to='{LISTENER}' id='x1'>"
        f"<body>before</body><delay xmlns='urn:xmpp:delay' from='{MUC}'"
        f" stamp='{world.stay.hearing.mark.stamp}'/></message>"
    )
    await world.settle()

    assert list(history(world)) == ["since"]
    assert await world.bodies() == ["before"]


async def test_history_that_nobody_asked_for_is_not_carried(world: MucsWorld) -> None:
    await world.mucs.visit(MUC)

    world.server.deliver(
        f"<message type='groupchat' from='{MUC}/Hatter' to='{LISTENER}' id='x1'>"
        f"<body>long ago</body><delay xmlns='urn:xmpp:delay' from='{MUC}'"
        " stamp='2020-01-01T00:00:00Z'/></message>"
    )
    await world.settle()

    assert await world.bodies() == []


async def test_an_archive_that_forgot_our_place_is_asked_by_time(
    world: MucsWorld,
) -> None:
    await world.mucs.visit(MUC)
    world.server.says("Hatter", "one")
    await world.settle()
    world.disconnect()
    world.server.archive.clear()
    world.server.says("Hatter", "two", "x2")

    await world.connect()

    assert await world.bodies() == ["one", "two"]


async def test_a_broken_archive_does_not_keep_us_out(world: MucsWorld) -> None:
    """Row 28."""
    await world.mucs.visit(MUC)
    world.stay.restore("2026-05-01T10:00:00.000000Z ")
    world.disconnect()
    real = world.server._archived
    world.server._archived = lambda *_: ("forbidden", Element("iq"))  # type: ignore[method-assign]

    await world.connect()
    assert world.stay.live
    world.server._archived = real  # type: ignore[method-assign]


async def test_an_archive_that_is_shut_to_us_does_not_keep_us_out_at_first(
    world: MucsWorld,
) -> None:
    world.server._archived = lambda *_: ("forbidden", Element("iq"))  # type: ignore[method-assign]

    assert isinstance(await world.mucs.visit(MUC), Description)


class Overworked:
    """An archive that asks to be left in peace, *times* times."""

    def __init__(self, server: Server, times: int) -> None:
        self.times = times
        self._server = server
        self._iq = server.iq

    async def iq(
        self, kind: str, to: str, sender: str, payload: Node, timeout_s: float
    ) -> Element:
        if payload.attributes.get("xmlns") == "urn:xmpp:mam:2" and self.times:
            self.times -= 1
            raise IqError("resource-constraint", "wait", "")
        return await self._iq(kind, to, sender, payload, timeout_s)


@pytest.mark.parametrize(("times", "heard"), [(2, ["missed"]), (9, [])])
async def test_an_archive_that_is_overworked_is_asked_again_a_few_times(
    world: MucsWorld, monkeypatch: pytest.MonkeyPatch, times: int, heard: list[str]
) -> None:
    monkeypatch.setattr(mucs, "PAUSE_S", 0.0)
    await world.mucs.visit(MUC)
    world.disconnect()
    world.server.says("Hatter", "missed")
    archive = Overworked(world.server, times)
    monkeypatch.setattr(world.server, "iq", archive.iq)

    await world.connect()
    await world.settle(300)

    assert world.stay.live
    assert await world.bodies() == heard


async def test_we_notice_that_we_fell_out_without_a_word(world: MucsWorld) -> None:
    await world.mucs.visit(MUC)
    del world.server.occupants["Matrix bridge"]

    await world.stay.check()
    await world.settle(100)

    assert world.server.occupants["Matrix bridge"] == LISTENER
    assert world.stay.live


async def test_who_is_put_out_again_and_again_comes_back_more_and_more_slowly(
    world: MucsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A robot of the room would otherwise see us come a hundred times a second."""
    monkeypatch.setattr("bridge.xmpp.stay.REST_S", 0.01)
    await world.mucs.visit(MUC)
    pauses = []
    for _ in range(4):
        began = asyncio.get_running_loop().time()
        world.server.leaves("Matrix bridge", status="<status code='307'/>")
        await world.settle(5)
        await world.stay._live.wait()
        pauses.append(asyncio.get_running_loop().time() - began)

    assert pauses[1] >= 0.01
    assert pauses[2] >= 0.02
    assert pauses[3] >= 0.04


@pytest.mark.parametrize("way", ["steady", "another stream", "shut down"])
async def test_whoever_was_wanted_comes_back_at_once(
    world: MucsWorld, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """A server that is restarted puts out everybody (XEP-0045 §15.6: 332)."""
    monkeypatch.setattr("bridge.xmpp.stay.REST_S", 60.0 if way == "steady" else 0.01)
    monkeypatch.setattr("bridge.xmpp.stay.STEADY_S", 0.0 if way == "steady" else 60.0)
    await world.mucs.visit(MUC)
    code = 332 if way == "shut down" else 307
    for _ in range(20):
        if way == "another stream":
            world.disconnect()
            await world.connect()
        world.server.leaves("Matrix bridge", status=f"<status code='{code}'/>")
        await world.settle(5)
        async with asyncio.timeout(1):
            await world.stay._live.wait()


async def test_a_destroyed_room_is_not_made_again(world: MucsWorld) -> None:
    await world.mucs.visit(MUC)
    world.server.exists = False
    world.server.leaves("Matrix bridge", status="<destroy/>")
    await world.settle()

    assert not world.stay.live
    assert world.stay.refusal is Refusal.NO_SUCH_ROOM
    assert world.server.ours() == []


async def test_what_can_never_be_said_is_refused_and_not_kept_for_ever(
    world: MucsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.xmpp.stay.READY_S", 0.01)
    await world.mucs.visit(MUC)
    world.stay._fall_out()

    assert await world.stay.ready() == Later(2.0, MUC)
    world.stay.refusal = Refusal.NOT_ALLOWED
    assert await world.stay.ready() == Refused(Refusal.NOT_ALLOWED)
    world.stay.refusal = None
    world.stay._out_since -= GIVE_UP_S + 1
    assert await world.stay.ready() == Refused(Refusal.UNREACHABLE)
    world.server.connected = False
    assert await world.stay.ready() == Later(1.0)


async def test_a_room_that_a_fallen_server_has_forgotten_is_waited_for_a_while(
    world: MucsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.xmpp.stay.READY_S", 0.01)
    await world.mucs.visit(MUC)
    world.stay._fall_out()
    world.stay.refusal = Refusal.NO_SUCH_ROOM

    assert await world.stay.ready() == Later(2.0, MUC)
    world.stay._out_since -= MISSING_S + 1
    assert await world.stay.ready() == Refused(Refusal.NO_SUCH_ROOM)


async def test_a_room_that_comes_back_to_mind_is_entered_soon_and_the_core_told(
    world: MucsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mucs, "PAUSE_S", 0.0)
    monkeypatch.setattr(mucs, "MISSING_PAUSE_S", 0.0)
    await world.mucs.visit(MUC)
    assert world.host.returned == [MUC]
    world.disconnect()
    world.server.exists = False
    await world.connect()
    assert not world.stay.live

    world.server.exists = True
    await world.settle()

    assert world.stay.live
    assert world.host.returned == [MUC, MUC]


async def test_for_a_room_that_was_destroyed_nobody_waits(
    world: MucsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.xmpp.stay.READY_S", 0.01)
    await world.mucs.visit(MUC)
    world.server.exists = False
    world.server.leaves("Matrix bridge", status="<destroy/>")
    await world.settle()

    assert await world.stay.ready() == Refused(Refusal.NO_SUCH_ROOM)


async def test_a_subject_is_told_once(world: MucsWorld) -> None:
    await world.mucs.visit(MUC)
    text = (
        f"<message type='groupchat' from='{MUC}/Hatter' to='{LISTENER}'>"
        "<subject>more tea</subject></message>"
    )
    world.server.deliver(text)
    world.server.deliver(text)
    await world.settle()

    subjects = [event for event in world.host.told if isinstance(event, Subject)]
    assert [subject.topic for subject in subjects] == ["more tea"]


async def test_a_new_nick_is_a_rename_and_never_a_second_person(
    world: MucsWorld,
) -> None:
    await world.mucs.visit(MUC)
    await world.settle()
    world.host.told.clear()
    jid = world.server.occupants["Hatter"]
    world.server.leaves("Hatter", status="<status code='303'/>", item="nick='Mad'")
    world.server.enters("Mad", jid)
    world.server.says("Mad", "tea")
    await world.settle()

    (event,) = await world.events()
    assert isinstance(event, Message)
    assert [type(told) for told in world.host.told] == [Rename]
    assert world.host.told[0].sender == event.sender
    assert world.host.told[0].name == "Mad"


async def test_whoever_is_there_is_told_of_once_the_room_is_linked(
    world: MucsWorld,
) -> None:
    portals = dict(world.host.portals)
    world.host.portals.clear()
    await world.mucs.visit(MUC)
    await world.settle()
    assert world.host.told == []

    world.host.portals.update(portals)
    world.stay.watching.announce_late()

    (event,) = world.host.told
    assert isinstance(event, Join)
    assert event.name == "Hatter"


async def test_stanzas_of_no_shape_are_ignored(world: MucsWorld) -> None:
    await world.mucs.visit(MUC)
    for text in (
        f"<presence from='{MUC}' to='{LISTENER}'/>",
        f"<presence from='{MUC}/x' to='{LISTENER}' type='probe'/>",
        f"<presence from='{MUC}/x' to='{LISTENER}' type='error'/>",
        f"<presence from='{MUC}/nobody' to='{LISTENER}' type='unavailable'/>",
        f"<message from='{MUC}' to='{LISTENER}' type='groupchat'/>",
        f"<message from='{MUC}/x' to='{LISTENER}' type='groupchat'/>",
        f"<message from='{MUC}' to='{LISTENER}' type='error' id='?'/>",
        f"<message from='{MUC}' to='{LISTENER}'><r xmlns='urn:xmpp:mam:2'/></message>",
    ):
        world.server.deliver(text)
    await world.settle()

    assert world.stay.live
    assert world.intake.arrivals == {}
