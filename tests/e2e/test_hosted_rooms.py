"""XMPP users in Matrix rooms: the bridge is the MUC service."""

from xml.etree.ElementTree import Element, SubElement

import pytest

from deploy.lab.heard import NotHeardError
from deploy.lab.stanzas import (
    DISCO_INFO,
    MUC,
    MUC_USER,
    SELF,
    SID,
    condition,
    ping,
    resource,
    stanza_id,
    statuses,
    tag,
)
from deploy.lab.world import World
from tests.e2e.conftest import Company
from tests.e2e.rooms import both, room_of

OCCUPANT = "urn:xmpp:occupant-id:0"


async def test_both_sides_hear_each_other_once(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, jid = await both(world, company, word)

    await juliet.says_in(jid, "one")
    await alice.hears("one", world.ghost(juliet), room)
    await juliet.hears("one", "Juliet", jid)
    await alice.says(room, "two")
    await juliet.hears("two", "Alice", jid)
    await juliet.says_in(jid, "three")
    await juliet.hears("three", "Juliet", jid)

    heard = await alice.hears("three", world.ghost(juliet), room)
    assert heard.name == "Juliet"


async def test_who_comes_in_is_told_in_the_order_of_the_standard(
    world: World, company: Company, word: str
) -> None:
    """XEP-0045 §7.2: others, yourself, history, subject."""
    alice, room, jid = await room_of(world, company, word, topic="Verona")
    bob = await company.on_matrix("Bob")
    await bob.joins(room)
    romeo, juliet = await company.on_xmpp("romeo"), await company.on_xmpp("juliet")
    await romeo.joins(jid, "Romeo")
    await alice.says(room, "said before")
    await romeo.hears("said before", "Alice", jid)

    entered = await juliet.joins(jid, "Juliet")

    ours = [s for s in juliet.all if s.get("from", "").startswith(f"{jid}")]
    kinds = ["".join(_kind(stanza)) for stanza in ours]
    assert sorted(entered.occupants) == ["Alice", "Bob", "Romeo"]
    assert kinds == sorted(kinds, key=["other", "self", "said", "subject"].index)
    assert entered.codes >= {SELF}
    assert entered.subject == "Verona"
    assert [h.text for h in entered.history] == ["said before"]


def _kind(stanza: Element) -> str:
    if stanza.tag == tag("presence"):
        return "self" if SELF in statuses(stanza) else "other"
    return "subject" if stanza.find(tag("subject")) is not None else "said"


async def test_a_room_without_a_topic_has_an_empty_subject(
    world: World, company: Company, word: str
) -> None:
    _, _, jid = await room_of(world, company, word, name="Alice")
    juliet = await company.on_xmpp("juliet")

    entered = await juliet.joins(jid, "Juliet")

    assert entered.subject == ""


async def test_history_has_its_time_and_its_ids(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, jid = await both(world, company, word)
    event = await alice.says(room, "remember this")
    await juliet.hears("remember this", "Alice", jid)
    romeo = await company.on_xmpp("romeo")

    entered = await romeo.joins(jid, "Romeo")

    said = entered.history[-1].raw
    assert isinstance(said, Element)
    assert said.find(tag("delay", "urn:xmpp:delay")) is not None
    assert stanza_id(said, jid) == event


async def test_somebody_may_ask_for_no_history(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, jid = await both(world, company, word)
    await alice.says(room, "forget this")
    await juliet.hears("forget this", "Alice", jid)
    romeo = await company.on_xmpp("romeo")

    entered = await romeo.joins(jid, "Romeo", history=0)

    assert entered.history == []


async def test_the_room_says_what_it_is(
    world: World, company: Company, word: str
) -> None:
    """What Conversations, Gajim and Dino ask before they join."""
    _, _, jid = await room_of(world, company, word, name="Alice")
    juliet = await company.on_xmpp("juliet")

    answer = await juliet.asks(jid, Element("query", {"xmlns": DISCO_INFO}))

    query = answer.find(tag("query", DISCO_INFO))
    assert query is not None
    features = {f.get("var") for f in query.findall(tag("feature", DISCO_INFO))}
    identity = query.find(tag("identity", DISCO_INFO))
    assert identity is not None
    assert (identity.get("category"), identity.get("type")) == ("conference", "text")
    wanted = {MUC, "http://jabber.org/protocol/muc#stable_id", SID, OCCUPANT}
    wanted |= {"muc_open", "muc_public", "muc_semianonymous", "muc_persistent"}
    assert wanted <= features


async def test_what_the_clients_of_occupants_can_do(
    world: World, company: Company, word: str
) -> None:
    """XEP-0045 §6.6: Romeo's client answers for itself."""
    _, _, juliet, jid = await both(world, company, word)
    romeo = await company.on_xmpp("romeo")
    await romeo.joins(jid, "Romeo")
    query = Element("query", {"xmlns": DISCO_INFO})

    hers = await juliet.asks(f"{jid}/Alice", query)
    his = await juliet.asks(f"{jid}/Romeo", query)

    names = [
        [one.get("name") for one in answer.iter(tag("identity", DISCO_INFO))]
        for answer in (hers, his)
    ]
    assert names == [["Matrix bridge"], [None]]
    assert his.get("from") == f"{jid}/Romeo"


async def test_the_service_says_what_it_is(world: World, company: Company) -> None:
    juliet = await company.on_xmpp("juliet")

    answer = await juliet.asks(
        world.xmpp.component, Element("query", {"xmlns": DISCO_INFO})
    )

    query = answer.find(tag("query", DISCO_INFO))
    assert query is not None
    features = {f.get("var") for f in query.findall(tag("feature", DISCO_INFO))}
    assert {MUC, DISCO_INFO} <= features


async def test_a_ping_to_oneself_tells_whether_one_is_in(
    world: World, company: Company, word: str
) -> None:
    """XEP-0410 §3."""
    _, _, juliet, jid = await both(world, company, word)
    romeo = await company.on_xmpp("romeo")

    inside = await juliet.asks(f"{jid}/Juliet", ping())
    outside = await romeo.asks(f"{jid}/Romeo", ping())

    assert inside.get("type") == "result"
    assert condition(outside) == "not-acceptable"


async def test_messages_bear_the_ids_of_their_events(
    world: World, company: Company, word: str
) -> None:
    """XEP-0359, XEP-0421: one name for good, the same for everybody."""
    alice, room, juliet, jid = await both(world, company, word)

    event = await alice.says(room, "first")
    first = (await juliet.hears("first", "Alice", jid)).raw
    number = await juliet.says_in(jid, "second")
    second = (await juliet.hears("second", "Juliet", jid)).raw
    crossed = await alice.hears("second", world.ghost(juliet), room)
    await alice.says(room, "third")
    third = (await juliet.hears("third", "Alice", jid)).raw

    assert isinstance(first, Element)
    assert isinstance(second, Element)
    assert isinstance(third, Element)
    assert stanza_id(first, jid) == event
    assert second.get("id") == number
    assert stanza_id(second, jid) == crossed.id
    assert _occupant(first) == _occupant(third) != _occupant(second)
    assert _occupant(first)


def _occupant(stanza: Element) -> str:
    found = stanza.findall(tag("occupant-id", OCCUPANT))
    assert len(found) == 1
    return found[0].get("id", "")


async def test_a_room_that_does_not_exist(world: World, company: Company) -> None:
    juliet = await company.on_xmpp("juliet")

    with pytest.raises(NotHeardError, match="item-not-found"):
        await juliet.joins(world.hosted("no-such-room"), "Juliet")


async def test_a_room_that_is_not_open_to_her(
    world: World, company: Company, word: str
) -> None:
    _, _, jid = await room_of(world, company, word, name="Alice", preset="private_chat")
    juliet = await company.on_xmpp("juliet")

    with pytest.raises(NotHeardError, match=r"registration-required|forbidden"):
        await juliet.joins(jid, "Juliet")


async def test_who_is_not_in_the_room_is_not_heard(
    world: World, company: Company, word: str
) -> None:
    """XEP-0045 §7.4: the service refuses with not-acceptable."""
    alice, room, juliet, jid = await both(world, company, word)
    romeo = await company.on_xmpp("romeo")

    number = await romeo.says_in(jid, "let me in")
    error = await romeo.is_refused(number)
    await juliet.says_in(jid, "after that")

    assert condition(error) == "not-acceptable"
    await alice.hears("after that", world.ghost(juliet), room)


async def test_the_topic_is_the_subject(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, jid = await both(world, company, word)

    await alice.sets(room, "m.room.topic", {"topic": "Mantua"})

    await juliet.until(
        lambda: juliet.subjects.get(jid) == "Mantua" or None, "the subject"
    )
    romeo = await company.on_xmpp("romeo")
    await romeo.joins(jid, "Romeo")

    (told,) = [s for s in romeo.all if s.find(tag("subject")) is not None]
    assert told.get("from") == f"{jid}/Alice"
    assert told.find(tag("delay", "urn:xmpp:delay")) is not None


async def test_a_private_message_is_not_lost_silently(
    world: World, company: Company, word: str
) -> None:
    """XEP-0045 §7.5: not carried yet, so the sender has to be told."""
    _, _, juliet, jid = await both(world, company, word)
    message = Element("message", {"type": "chat", "to": f"{jid}/Alice"})
    SubElement(message, "body").text = "between us"
    SubElement(message, "x", {"xmlns": MUC_USER})

    number = await juliet.send(message)

    await juliet.is_refused(number)
    assert resource(message.attrib["to"]) == "Alice"
