"""XMPP users in Matrix rooms: the bridge is the MUC service."""

from xml.etree.ElementTree import Element, SubElement

import pytest

from deploy.lab.heard import NotHeardError
from deploy.lab.matrix_people import MatrixPerson
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
from deploy.lab.xmpp_people import XmppPerson
from tests.e2e.conftest import Company

OCCUPANT = "urn:xmpp:occupant-id:0"
NEW_NICK = "303"
KICKED = "307"


async def room_of(
    world: World, company: Company, word: str, name: str = "Alice", **more: object
) -> tuple[MatrixPerson, str, str]:
    """Return somebody of Matrix, their room, and its JID."""
    alice = await company.on_matrix(name)
    room = await alice.makes_room(word, **more)
    return alice, room, world.hosted(word)


async def both(
    world: World, company: Company, word: str
) -> tuple[MatrixPerson, str, XmppPerson, str]:
    """Return two who are in one room, and the room as each knows it."""
    alice, room, jid = await room_of(world, company, word)
    juliet = await company.on_xmpp("juliet")
    await juliet.joins(jid, "Juliet")
    return alice, room, juliet, jid


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


async def test_two_devices_share_a_nick(
    world: World, company: Company, word: str
) -> None:
    alice, room, desk, jid = await both(world, company, word)
    phone = await company.on_xmpp("juliet", same_as=desk)

    await phone.joins(jid, "Juliet")
    await alice.says(room, "to both")
    await desk.hears("to both", "Alice", jid)
    await phone.hears("to both", "Alice", jid)
    await phone.says_in(jid, "from the phone")
    await desk.hears("from the phone", "Juliet", jid)
    await alice.hears("from the phone", world.ghost(desk), room)
    await phone.leaves(jid, "Juliet")
    await alice.says(room, "to the desk")

    await desk.hears("to the desk", "Alice", jid)
    assert alice.membership(room, world.ghost(desk)) == "join"


async def test_a_nick_of_another_occupant_is_refused(
    world: World, company: Company, word: str
) -> None:
    """XEP-0045 §7.2.8."""
    _, _, _, jid = await both(world, company, word)
    romeo = await company.on_xmpp("romeo")

    with pytest.raises(NotHeardError, match="conflict"):
        await romeo.joins(jid, "Juliet")

    entered = await romeo.joins(jid, "Romeo")
    assert "Juliet" in entered.occupants


async def test_a_matrix_user_with_an_emoji_in_their_name(
    world: World, company: Company, word: str
) -> None:
    alice, room, jid = await room_of(world, company, word, name="Alice 🦊")
    juliet = await company.on_xmpp("juliet")

    entered = await juliet.joins(jid, "Juliet")
    await alice.says(room, "hello")
    heard = await juliet.hears_next(jid)

    assert heard.text == "hello"
    assert [heard.sender] == entered.occupants
    assert "Alice" in heard.sender


async def test_two_matrix_users_of_one_name_are_two_occupants(
    world: World, company: Company, word: str
) -> None:
    alice, room, jid = await room_of(world, company, word, name="Twin")
    bob = await company.on_matrix("Twin")
    await bob.joins(room)
    juliet = await company.on_xmpp("juliet")

    entered = await juliet.joins(jid, "Juliet")
    await alice.says(room, "I am one")
    one = await juliet.hears_next(jid)
    await bob.says(room, "I am the other")
    other = await juliet.hears_next(jid)

    assert len(set(entered.occupants)) == len(entered.occupants) == 2
    assert {one.sender, other.sender} == set(entered.occupants)


async def test_who_leaves_is_gone_on_matrix(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, jid = await both(world, company, word)
    await juliet.says_in(jid, "here I am")
    await alice.hears("here I am", world.ghost(juliet), room)

    await juliet.leaves(jid, "Juliet")

    await alice.sees_member(room, world.ghost(juliet), membership="leave")


async def test_who_goes_offline_is_gone_on_matrix(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, _ = await both(world, company, word)
    await alice.sees_member(room, world.ghost(juliet), name="Juliet")

    await juliet.log_out()

    await alice.sees_member(room, world.ghost(juliet), membership="leave")


async def test_a_change_of_nick_is_a_change_of_name(
    world: World, company: Company, word: str
) -> None:
    """XEP-0045 §7.6."""
    alice, room, juliet, jid = await both(world, company, word)
    romeo = await company.on_xmpp("romeo")
    await romeo.joins(jid, "Romeo")
    ghost = world.ghost(juliet)
    await alice.sees_member(room, ghost, name="Juliet")

    await juliet.renames(jid, "Capulet")
    gone = await romeo.sees_go(jid, "Juliet")
    await romeo.sees_come(jid, "Capulet")
    await juliet.says_in(jid, "still me")

    assert NEW_NICK in statuses(gone)
    await romeo.hears("still me", "Capulet", jid)
    await alice.hears("still me", ghost, room)
    await alice.sees_member(room, ghost, name="Capulet")


async def test_a_change_to_a_taken_nick_is_refused(
    world: World, company: Company, word: str
) -> None:
    _, _, juliet, jid = await both(world, company, word)

    number = await juliet.send(Element("presence", {"to": f"{jid}/Alice"}))
    answer = await juliet.sees(lambda p: p.get("id") == number, "an answer")

    assert condition(answer) == "conflict"


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


async def test_who_is_invited_can_come_in(
    world: World, company: Company, word: str
) -> None:
    """XEP-0045 §7.8.2: an invitation comes from the room."""
    alice = await company.on_matrix("Alice")
    bob = await company.on_matrix("Bob")
    room = await alice.makes_room(word, preset="private_chat", name="Secret")
    await alice.invites_to(room, bob.id)
    await bob.joins(room)
    juliet = await company.on_xmpp("juliet")

    await alice.invites_to(room, world.ghost(juliet))
    invited = await juliet.until(lambda: _invitation(juliet), "an invitation")
    await juliet.joins(invited, "Juliet")
    await juliet.says_in(invited, "thank you")

    await alice.hears("thank you", world.ghost(juliet), room)


def _invitation(person: XmppPerson) -> str | None:
    for stanza in person.all:
        path = f"{tag('x', MUC_USER)}/{tag('invite', MUC_USER)}"
        if stanza.tag == tag("message") and stanza.find(path) is not None:
            return stanza.get("from")
    return None


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


async def test_matrix_users_come_and_go(
    world: World, company: Company, word: str
) -> None:
    _, room, juliet, jid = await both(world, company, word)
    bob = await company.on_matrix("Bob")

    await bob.joins(room)
    await juliet.sees_come(jid, "Bob")
    path = f"/profile/{bob.id}/displayname"
    await bob.call("PUT", path, {"displayname": "Robert"})
    gone = await juliet.sees_go(jid, "Bob")
    await juliet.sees_come(jid, "Robert")
    await bob.leaves(room)

    await juliet.sees_go(jid, "Robert")
    assert NEW_NICK in statuses(gone)


async def test_the_topic_is_the_subject(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, jid = await both(world, company, word)

    await alice.sets(room, "m.room.topic", {"topic": "Mantua"})

    await juliet.until(
        lambda: juliet.subjects.get(jid) == "Mantua" or None, "the subject"
    )


async def test_who_is_kicked_is_told(world: World, company: Company, word: str) -> None:
    """XEP-0045 §8.2."""
    alice, room, juliet, jid = await both(world, company, word)
    ghost = world.ghost(juliet)
    await alice.sees_member(room, ghost, name="Juliet")

    path = f"/rooms/{room}/kick"
    await alice.call("POST", path, {"user_id": ghost, "reason": "noise"})
    gone = await juliet.sees_go(jid, "Juliet")

    assert statuses(gone) >= {SELF, KICKED}


async def test_who_comes_again_is_answered_again(
    world: World, company: Company, word: str
) -> None:
    """A client that lost its connection without a word just joins once more."""
    alice, room, juliet, jid = await both(world, company, word)

    entered = await juliet.joins(jid, "Juliet")
    await juliet.says_in(jid, "twice in")

    assert "Alice" in entered.occupants
    await juliet.hears("twice in", "Juliet", jid)
    await alice.hears("twice in", world.ghost(juliet), room)


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
