"""Who is in a hosted room, under which name, and how they come and go."""

from xml.etree.ElementTree import Element

import pytest

from deploy.lab.heard import NotHeardError
from deploy.lab.stanzas import (
    MUC_USER,
    SELF,
    condition,
    statuses,
    tag,
)
from deploy.lab.world import World
from deploy.lab.xmpp_people import XmppPerson
from tests.e2e.conftest import Company
from tests.e2e.rooms import both, room_of

NEW_NICK = "303"
KICKED = "307"


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
