from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bridge.core.guard import Guard, Limits
from bridge.model.delivery import Refusal
from bridge.model.events import HOPS_MAX, Message, Text
from bridge.model.places import Network, Person, PortalId, Ref, Room
from bridge.model.records import Kind, Portal
from bridge.model.text import RichText

ROOM = Room(Network.MATRIX, "!tea:hs.example")
TEA = Portal(PortalId(1), Kind.PLUMBED, ROOM.address, "tea@muc.example", "@bot:hs")
EVE = Person(Network.MATRIX, "@eve:sub.Evil.example")


def said(person: Person = EVE, room: Room = ROOM) -> Message:
    return Message(
        ref=Ref(room.network, "1"),
        room=room,
        sender=person,
        sent_at=datetime.now(UTC),
        content=Text(RichText("hi")),
    )


def guard(*blocked: str, requests: int = 30, messages: int = 0) -> Guard:
    return Guard(Limits(requests, messages, frozenset(blocked)), clock=lambda: 5.0)


@pytest.mark.parametrize(
    ("name", "person"),
    [
        ("@eve:sub.evil.example", EVE),
        ("EVIL.example", EVE),
        ("eve@spam.example", Person(Network.XMPP, "eve@spam.example")),
        ("spam.example", Person(Network.XMPP, "eve@a.spam.example")),
        ("tea@muc.example", Person(Network.XMPP, "tea@muc.example//id")),
        ("muc.example", Person(Network.XMPP, "tea@muc.example/Hatter")),
        ("spam.example", Person(Network.XMPP, "spam.example")),
    ],
)
def test_a_block_is_of_a_person_a_domain_or_all_below_it(
    name: str, person: Person
) -> None:
    assert guard(name).bars(person)
    assert guard(name).request(person) is Refusal.NOT_ALLOWED
    assert guard(name).message(said(person), TEA) is Refusal.NOT_ALLOWED


@pytest.mark.parametrize("name", ["vil.example", "example.org", "@ev:sub.evil.example"])
def test_a_block_is_of_nobody_else(name: str) -> None:
    assert not guard(name).bars(EVE)
    assert not guard().bars(EVE)


def test_rooms_are_blocked_on_either_side() -> None:
    alice = said(Person(Network.MATRIX, "@alice:hs"))

    assert guard("!tea:hs.example").message(alice, TEA) is Refusal.NOT_ALLOWED
    assert guard("muc.example").message(alice, TEA) is Refusal.NOT_ALLOWED
    assert guard("#tea:hs").message(alice, replace(TEA, alias="#tea:hs"))
    assert guard("other.example").message(alice, TEA) is None
    assert not guard().closes(ROOM)


def test_requests_and_messages_have_paces_of_their_own() -> None:
    strict = guard(requests=1, messages=1)

    assert [strict.request(EVE) for _ in range(3)] == [None, None, Refusal.TOO_FAST]
    assert [strict.message(said(), TEA) for _ in range(3)] == [
        None,
        None,
        Refusal.TOO_FAST,
    ]


def test_what_crossed_three_bridges_goes_in_circles() -> None:
    assert guard().message(replace(said(), hops=HOPS_MAX - 1), TEA) is None
    assert guard().message(replace(said(), hops=HOPS_MAX), TEA) is Refusal.CIRCLES


def test_words_that_come_back_pause_the_portal() -> None:
    here, there = said(), said(room=Room(Network.XMPP, "tea@muc.example"))
    strict = guard()

    assert [strict.circles((here, there)[n % 2], TEA) for n in range(6)][-1]
    assert strict.message(here, TEA) is Refusal.CIRCLES


def test_who_is_told_is_told_once_a_minute_where_all_read_it() -> None:
    strict = guard()

    answers = [strict.answers(said(), Refusal.TOO_FAST) for _ in range(4)]
    assert answers == [True, True, False, False]
    assert strict.answers(said(), Refusal.TOO_LARGE)
    assert strict.answers(
        said(room=Room(Network.XMPP, "tea@muc.example")), Refusal.TOO_FAST
    )
    assert not strict.answers(said(), Refusal.CIRCLES)
