from dataclasses import replace
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

from hypothesis import HealthCheck, given, settings, strategies as st

from bridge.core.ports import Unit
from bridge.model.delivery import Arrival, Taken
from bridge.model.events import Invite
from bridge.model.places import Network, Person, Ref, Room
from bridge.model.records import Cursor, Occupant
from bridge.xmpp.codec.names import Jid, parse
from bridge.xmpp.muc.rooms import OUTCAST, STANDING
from bridge.xmpp.venue import Venue
from tests.unit.xmpp.muc.vault import Vault
from tests.unit.xmpp.muc.world import (
    ALICE,
    DOMAIN,
    JULIET,
    MUC_USER,
    ROMEO,
    TEA,
    VAULT,
    MucWorld,
    codes,
    item,
    message,
    name,
    nick,
    parsed,
    settled,
)

NS = "{jabber:component:accept}"


async def test_it_is_a_venue(world: MucWorld) -> None:
    venue: Venue = world.hosted

    assert venue.tag == b"H"
    assert venue.receipt(message(ALICE, "hello")) == b""


async def test_an_invited_guest_may_come_in(world: MucWorld) -> None:
    """XEP-0045 §7.8.2: an invitation from the room, by who asked."""
    invite = Invite(
        ref=Ref(Network.MATRIX, "$invite"),
        room=Room(Network.MATRIX, "!1:hs.example"),
        sender=ALICE,
        sent_at=datetime(2026, 5, 1, tzinfo=UTC),
        person=Person(Network.XMPP, "juliet@capulet.lit"),
    )
    await world.joins(ROMEO, "romeo", VAULT)
    world.written()

    portal = replace(world.host.make(VAULT), name="The vault")
    assert await world.hosted.invite(invite, portal) is None
    (_, wire) = world.host.sent_later[0]
    await world.sends([wire])
    (asked,) = world.written("juliet@capulet.lit")
    await world.joins(JULIET, "juliet", VAULT)

    invitation = next(asked.iter("{http://jabber.org/protocol/muc#user}invite"))
    assert asked.get("from") == VAULT
    assert invitation.get("from") == "alice_hs.example@bridge.example"
    words = "@alice:hs.example invites you to The vault on Matrix"
    assert "".join(invitation.itertext()) == words
    direct = asked.find("{jabber:x:conference}x")
    assert direct is not None
    assert direct.get("reason") == words
    assert any(codes(s) == {"100", "110"} for s in world.written(JULIET))


async def test_who_comes_to_and_leaves_a_private_room_is_met(empty: Vault) -> None:
    """Clients hear of the device for which they are to encrypt there."""
    world, met = empty.around, list[tuple[str | None, str]]()
    world.hosted.met = lambda said, who: met.append((said.get("type"), who.full))
    await world.joins(JULIET, "juliet", TEA)

    await empty.enters(JULIET)
    world.hosted._rooms.set_standing(VAULT, "romeo@montague.lit", "outcast")
    await world.joins(ROMEO, "romeo", VAULT)
    world.comes(f"<presence type='unavailable' from='{JULIET}' to='{VAULT}/juliet'/>")

    assert met == [(None, JULIET), ("unavailable", JULIET)]


async def test_nobody_of_ours_writes_to_our_rooms(world: MucWorld) -> None:
    """E 25: a stanza from our own domain is ignored and counted."""
    sender = parse(f"alice_hs.example@{DOMAIN}/x")
    to = parse(f"{TEA}/alice")
    assert sender is not None
    assert to is not None

    world.hosted.received(Element(f"{NS}presence"), sender, to)

    assert world.hosted.refused == 1
    assert world.written() == []


async def test_arrivals_of_no_known_format_are_left(world: MucWorld) -> None:
    arrival = Arrival(Room(Network.XMPP, TEA), "k", b"Hnonsense")

    assert await world.hosted.read(Taken(1, arrival), Unit()) is None


PARTS = st.sampled_from(
    [
        f"{NS}body",
        f"{NS}subject",
        f"{NS}error",
        "{http://jabber.org/protocol/muc}x",
        "{http://jabber.org/protocol/muc}history",
        "{http://jabber.org/protocol/muc#user}x",
        "{http://jabber.org/protocol/muc#admin}query",
        "{http://jabber.org/protocol/disco#info}query",
        "{urn:xmpp:sid:0}origin-id",
        "{urn:xmpp:ping}ping",
        "plain",
        "{}odd",
        "{u}größe",
    ]
)
TEXT = st.text(max_size=8)
# What is no name at all no parser makes an attribute of.
NAMES = st.sampled_from(("id", "by", "from", "text", "größe", "{u}x"))
ELEMENTS = st.recursive(
    st.builds(
        lambda tag, keys: _element(tag, keys, []),
        PARTS,
        st.dictionaries(NAMES, TEXT, max_size=2),
    ),
    lambda inner: st.builds(
        lambda tag, within: _element(tag, {}, within),
        PARTS,
        st.lists(inner, max_size=3),
    ),
    max_leaves=6,
)


def _element(tag: str, keys: dict[str, str], within: list[Element]) -> Element:
    element = Element(tag, keys)
    element.text = keys.get("text", "x")
    element.extend(within)
    return element


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    kind=st.sampled_from(["message", "presence", "iq", "other"]),
    type_=st.sampled_from(
        ["", "get", "set", "result", "error", "groupchat", "chat", "unavailable", "x"]
    ),
    id_=TEXT,
    who=st.sampled_from([ROMEO, JULIET, "montague.lit", "nurse@capulet.lit"]),
    to=st.sampled_from(["", "romeo", "Alice", "\u202e", "a b"]),
    within=st.lists(ELEMENTS, max_size=4),
)
async def test_no_stanza_does_harm(  # noqa: PLR0913, PLR0917 - a stanza has so many parts
    world: MucWorld,
    kind: str,
    type_: str,
    id_: str,
    who: str,
    to: str,
    within: list[Element],
) -> None:
    """E 25 to 33: whatever comes is answered or ignored, and all that leaves is XML."""
    if world.hosted._rooms.get(TEA) is None:
        await world.joins(ROMEO, "romeo")
    address = f"{TEA}/{to}" if to else TEA
    stanza = Element(f"{NS}{kind}", {"from": who, "to": address})
    if type_:
        stanza.set("type", type_)
    if id_:
        stanza.set("id", id_)
    stanza.extend(within)
    sender = parse(who)
    assert sender is not None
    target = Jid(f"{TEA}".partition("@")[0], DOMAIN, to)

    world.hosted.received(stanza, sender, target)
    await settled()
    await world.carried()

    parsed(b"".join(world.stream.data))
    world.stream.data.clear()
    assert world.hosted.refused == 0


async def test_a_client_that_came_back_before_us_learns_that_it_is_in(
    world: MucWorld,
) -> None:
    """Its join was answered with remote-server-timeout, and it does not ask again."""
    await world.joins(ROMEO, "romeo")
    world.stream.data.clear()

    world.hosted.down()
    await world.hosted.up()
    await settled()

    told = parsed(b"".join(world.stream.data))
    assert [part.tag.rpartition("}")[2] for part in told][-2:] == [
        "presence",
        "message",
    ]
    codes = [status.get("code") for status in told[-2].iterfind("{*}x/{*}status")]
    assert "110" in codes
    assert told[-1].find("{*}subject") is not None


async def test_a_room_that_is_no_more_puts_everybody_out(world: MucWorld) -> None:
    """XEP-0045 §10.9."""
    phone = ROMEO.replace("garden", "phone")
    for jid in (ROMEO, phone):
        await world.joins(jid, "romeo")
    await world.joins(JULIET, "juliet")
    world.written()

    await world.sends(world.hosted.depart(world.host.portals.pop(TEA)))

    seen = world.written()
    assert [(s.get("to"), nick(s)) for s in seen] == [
        (ROMEO, "romeo"),
        (phone, "romeo"),
        (JULIET, "juliet"),
    ]
    for stanza in seen:
        assert (name(stanza), stanza.get("type")) == ("presence", "unavailable")
        assert codes(stanza) == {"110"}
        assert item(stanza).attrib == {"affiliation": "none", "role": "none"}
        (why,) = stanza.iterfind(f"{MUC_USER}x/{MUC_USER}destroy/{MUC_USER}reason")
        assert "deleted" in (why.text or "")


async def test_a_room_that_is_no_more_is_forgotten_whole(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")
    world.hosted._rooms.set_standing(TEA, "romeo@montague.lit", OUTCAST)
    await world.joins(JULIET, "juliet")

    await world.sends(world.hosted.depart(world.host.portals.pop(TEA)))
    await settled()

    assert await world.store.load(Occupant) == []
    kinds = {cursor.kind for cursor in await world.store.load(Cursor)}
    assert STANDING not in kinds
    assert world.hosted._rooms.standing(TEA, "romeo@montague.lit") == ""


async def test_who_comes_again_is_in_a_new_room(world: MucWorld) -> None:
    await world.joins(JULIET, "juliet")
    world.host.portals["another"] = first = world.host.portals.pop(TEA)
    await world.sends(world.hosted.depart(first))
    world.written()

    await world.joins(JULIET, "juliet")

    assert world.hosted._rooms.of_portal(first.id) is None
    second = world.host.portals[TEA]
    assert second.id != first.id
    assert world.hosted._rooms.of_portal(second.id) is not None
    assert "110" in {code for s in world.written(JULIET) for code in codes(s)}


async def test_a_room_that_nobody_is_in_is_no_more_in_silence(world: MucWorld) -> None:
    assert world.hosted.depart(world.host.make(TEA)) == []
