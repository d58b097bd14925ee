from collections.abc import AsyncIterator
from dataclasses import replace
from xml.etree.ElementTree import Element

import pytest

from bridge.model.delivery import Delivered, Description
from bridge.model.events import Message, Subject
from bridge.xmpp.codec.names import Jid
from bridge.xmpp.codec.peek import UNREAD
from bridge.xmpp.hearing import Mark
from tests.unit.xmpp.elsewhere import DOMAIN, LISTENER, MUC, ROOM, TEA, parcels
from tests.unit.xmpp.mucs_world import MucsWorld, tea_time

LISTENING = Jid("bridge", DOMAIN, "listener")
HATTER = "hatter@wonder.example"


@pytest.fixture
async def world() -> AsyncIterator[MucsWorld]:
    async with tea_time() as made:
        yield made


async def enter(world: MucsWorld, *features: str) -> None:
    world.server.features = ("http://jabber.org/protocol/muc", *features)
    assert isinstance(await world.mucs.visit(MUC), Description)


def says(world: MucsWorld, inside: str, name: str = "x1", nick: str = "Hatter") -> None:
    world.server.deliver(
        f"<message type='groupchat' from='{MUC}/{nick}' to='{LISTENER}' id='{name}'>"
        f"{inside}</message>"
    )


def given(name: str, by: str = MUC) -> str:
    return f"<stanza-id xmlns='urn:xmpp:sid:0' by='{by}' id='{name}'/>"


def set_at(topic: str, stamp: str) -> str:
    since = f"<delay xmlns='urn:xmpp:delay' from='{MUC}' stamp='{stamp}'/>"
    return f"<subject>{topic}</subject>{since}"


def topics(world: MucsWorld) -> list[str]:
    return [event.topic for event in world.host.told if isinstance(event, Subject)]


async def test_whoever_comes_in_learns_the_subject_of_long_ago(
    world: MucsWorld,
) -> None:
    """XEP-0045 §7.2.15, as Prosody does it: it says when it was set."""
    world.server.subject = set_at("more tea", "2020-01-01T00:00:00Z")

    about = await world.mucs.visit(MUC)

    assert isinstance(about, Description)
    assert about.topic == "more tea"


@pytest.mark.parametrize(
    ("stamp", "told"),
    [("2026-05-01T10:00:01Z", ["more tea"]), ("2026-05-01T09:59:59Z", [])],
)
async def test_a_subject_that_was_set_while_we_were_away_is_told(
    world: MucsWorld, stamp: str, told: list[str]
) -> None:
    """One that was set before may have been replaced, on Matrix, by another topic."""
    world.server.subject = set_at("more tea", stamp)
    await world.mucs.start()
    world.mucs._stay(MUC).restore("2026-05-01T10:00:00.000000Z ")

    await world.connect()

    assert topics(world) == told
    assert world.stay.hearing.subject == "more tea"


async def test_a_subject_that_is_changed_back_is_told_again(world: MucsWorld) -> None:
    world.host.portals[ROOM] = replace(TEA, topic="one")
    await enter(world)
    for topic in ("one", "two", "one"):
        says(world, f"<subject>{topic}</subject>")
    await world.settle()

    assert topics(world)[-2:] == ["two", "one"]


async def test_a_room_that_gives_messages_other_ids_confirms_them_all_the_same(
    world: MucsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XEP-0359, origin-id: those from before XEP-0045 1.31 do."""
    monkeypatch.setattr("bridge.xmpp.saying.SHOWN_S", 0.01)
    await world.mucs.visit(MUC)
    show = world.server._show
    monkeypatch.setattr(
        world.server, "_show", lambda who, inside, _: show(who, inside, "else")
    )

    outcomes = await world.mucs.send(parcels(world.wires("tea")))

    assert [type(outcome) for outcome in outcomes] == [Delivered]
    assert world.intake.arrivals == {}


@pytest.mark.parametrize(
    "forged",
    [given("s1", "else@muc.example"), given("s1") + given("s2"), given(""), ""],
)
async def test_only_the_rooms_own_id_names_a_message(
    world: MucsWorld, forged: str
) -> None:
    """XEP-0359 §6: whoever has not made it must not be believed."""
    await enter(world, "urn:xmpp:sid:0")
    says(world, "<body>tea</body>" + forged)
    await world.settle()

    (key,) = world.intake.arrivals
    assert "#" not in key


async def test_a_room_that_vouches_for_nothing_is_not_believed(
    world: MucsWorld,
) -> None:
    await enter(world)
    occupant = "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='queen'/>"
    says(world, "<body>tea</body>" + given("s1") + occupant)
    await world.settle()

    (event,) = await world.events()
    assert isinstance(event, Message)
    assert event.sender.id == f"{MUC}/Hatter"
    assert event.aliases == ()


async def test_the_same_id_for_other_words_or_by_another_is_another_message(
    world: MucsWorld,
) -> None:
    await enter(world)
    says(world, "<body>one</body>")
    says(world, "<body>one</body>")
    says(world, "<body>two</body>")
    says(world, "<body>one</body>", nick="Hare")
    says(world, "<body>one</body>", name="")
    says(world, "<body>one</body>", name="")
    await world.settle()

    assert await world.bodies() == ["one", "two", "one", "one", "one"]


async def test_the_real_address_names_a_person_where_it_is_shown(
    world: MucsWorld,
) -> None:
    await enter(world)
    item = f"affiliation='none' role='participant' jid='{HATTER}/tea'"
    world.server.enters("Hatter", f"{HATTER}/tea", item)
    await world.settle()
    says(world, "<body>tea</body>")
    await world.settle()

    (event,) = await world.events()
    assert event.sender.id == HATTER


@pytest.mark.parametrize(
    "inside",
    [
        "",
        "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
        "<result xmlns='urn:xmpp:mam:2'><forwarded/></result>",
        "<subject>tea</subject><thread>1</thread>",
    ],
)
async def test_what_has_no_words_is_not_kept(world: MucsWorld, inside: str) -> None:
    await enter(world)
    says(world, inside)
    await world.settle()

    assert world.intake.arrivals == {}


async def test_of_what_is_nested_without_end_the_words_are_kept(
    world: MucsWorld,
) -> None:
    await enter(world)
    says(world, "<body>x</body>" + "<a>" * 100 + "</a>" * 100)
    await world.settle()

    assert await world.bodies() == ["x"]


async def test_a_message_that_was_thrown_away_is_missed_aloud(
    world: MucsWorld,
) -> None:
    """Its sender is not told: a room puts out whoever answers it with an error."""
    await enter(world)
    lost = Element(
        UNREAD, {"type": "groupchat", "from": f"{MUC}/Hatter", "to": LISTENER}
    )
    world.mucs.received(lost, Jid("tea", "muc.example", "Hatter"), LISTENING)
    await world.settle()

    ((room, words),) = world.host.warned
    assert room.address == MUC
    assert "Hatter" in words
    assert world.server.written[-1].get("type") != "error"


async def test_what_is_said_under_our_own_address_is_ours(world: MucsWorld) -> None:
    await enter(world)
    jid = "alice_hs.example@bridge.example/matrix"
    item = f"affiliation='none' role='participant' jid='{jid}'"
    world.server.enters("Somebody", jid, item)
    says(world, "<body>echo</body>", nick="Somebody")
    await world.settle()

    assert world.intake.arrivals == {}


async def test_a_message_id_like_a_matrix_event_makes_nobody_ours(
    world: MucsWorld,
) -> None:
    await enter(world)
    says(world, "<body>not yours</body>", name="$event")
    await world.settle()

    assert await world.bodies() == ["not yours"]


def test_a_mark_is_one_line() -> None:
    mark = Mark("id with spaces", "2026-05-01T12:00:00.000000Z")

    assert Mark.read(mark.write()) == mark
    assert Mark.read(Mark("", "2026").write()) == Mark("", "2026")
