import pytest

from bridge.core.ports import Unit
from bridge.model.delivery import Delivered, Refusal, Refused, Taken, Unreadable
from bridge.model.events import Message, Text
from bridge.model.places import Network, Person, Room
from bridge.xmpp.reactions import WORDS
from tests.unit.xmpp.muc.world import (
    ALICE,
    JULIET,
    ROMEO,
    TEA,
    MucWorld,
    condition,
    nick,
    settled,
    words,
)

SID = "{urn:xmpp:sid:0}"
OCCUPANT = "{urn:xmpp:occupant-id:0}occupant-id"


def said(body: str, id_: str = "", more: str = "", sender: str = ROMEO) -> str:
    given = f" id='{id_}'" if id_ else ""
    return (
        f"<message type='groupchat' from='{sender}' to='{TEA}'{given}>"
        f"<body>{body}</body>{more}</message>"
    )


@pytest.fixture
async def both(world: MucWorld) -> MucWorld:
    await world.joins(ROMEO, "romeo")
    await world.joins(JULIET, "juliet")
    await world.carried()
    world.events.clear()
    world.written()
    return world


async def test_a_message_is_shown_once_matrix_has_it(both: MucWorld) -> None:
    """XEP-0045 §7.4, XEP-0359: the sender's id and the room's stanza-id."""
    both.comes(said("hello", "m1", "<origin-id xmlns='urn:xmpp:sid:0' id='m1'/>"))
    before = both.written()
    await both.carried()

    seen = both.written()
    assert before == []
    assert {s.get("to") for s in seen} == {ROMEO, JULIET}
    assert {(nick(s), s.get("id"), words(s)) for s in seen} == {
        ("romeo", "m1", "hello")
    }
    ids = [s.find(f"{SID}stanza-id") for s in seen]
    assert {(i.get("by"), i.get("id", "")[:6]) for i in ids if i is not None} == {
        (TEA, "$event")
    }
    assert all(s.find(f"{SID}origin-id") is not None for s in seen)


async def test_a_message_becomes_an_event(both: MucWorld) -> None:
    both.comes(said("hello", "m1"))
    await both.carried()

    (event,) = both.events
    assert isinstance(event, Message)
    assert event.room == Room(Network.XMPP, TEA)
    assert event.sender == Person(Network.XMPP, "romeo@montague.lit")
    assert event.name == "romeo"
    assert isinstance(event.content, Text)
    assert event.content.body.plain == "hello"


async def test_what_only_the_room_may_say_is_taken_out(both: MucWorld) -> None:
    """XEP-0359 §5, XEP-0421 §6: what claims to be from the room is removed."""
    forged = (
        f"<stanza-id xmlns='urn:xmpp:sid:0' by='{TEA}' id='forged'/>"
        "<stanza-id xmlns='urn:xmpp:sid:0' by='else.example' id='kept'/>"
        "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/>"
        f"<delay xmlns='urn:xmpp:delay' from='{TEA}' stamp='1970-01-01T00:00:00Z'/>"
        "<x xmlns='http://jabber.org/protocol/muc#user'><status code='301'/></x>"
    )
    both.comes(said("hello", "m1", forged))
    await both.carried()

    stanza = both.written(JULIET)[0]
    assert [i.get("by") for i in stanza.iterfind(f"{SID}stanza-id")] == [
        "else.example",
        TEA,
    ]
    assert [i.get("id") != "forged" for i in stanza.iterfind(OCCUPANT)] == [True]
    assert stanza.find("{urn:xmpp:delay}delay") is None
    assert stanza.find("{http://jabber.org/protocol/muc#user}x") is None


async def test_equal_words_without_ids_are_two_messages(both: MucWorld) -> None:
    """peers.md 3c.3."""
    both.comes(said("hello"))
    both.comes(said("hello"))

    first, second = both.inbound.arrivals
    assert first.key != second.key
    await both.carried()
    refs = {e.ref for e in both.events if isinstance(e, Message)}
    assert len(refs) == 2


async def test_one_id_means_a_message_only_beside_its_sender(both: MucWorld) -> None:
    """peers.md 3c.3: the same id from two people is two messages."""
    both.comes(said("hello", "1"))
    both.comes(said("hello", "1", sender=JULIET))
    both.comes(said("something else", "1"))
    both.comes(said("hello", "1"))

    keys = [arrival.key for arrival in both.inbound.arrivals]
    assert len(set(keys)) == 3
    assert keys[0] == keys[3]


async def test_whoever_is_not_in_the_room_says_nothing_there(world: MucWorld) -> None:
    """XEP-0045 §7.4: "not-acceptable"."""
    world.comes(said("hello", "m1"))
    await world.joins(JULIET, "juliet")
    world.comes(said("hello", "m1"))

    answers = world.written(ROMEO)
    assert [condition(s) for s in answers] == ["not-acceptable"] * 2


async def test_a_refused_message_comes_back_to_its_sender_only(both: MucWorld) -> None:
    both.comes(said("hello", "m1"))
    await both.carried(Refused(Refusal.NOT_ALLOWED, "M_FORBIDDEN"))

    (answer,) = both.written()
    assert answer.get("to") == ROMEO
    assert (answer.get("id"), condition(answer)) == ("m1", "forbidden")
    assert "M_FORBIDDEN" in "".join(answer.itertext())


async def test_an_encrypted_message_is_refused_in_words(both: MucWorld) -> None:
    more = "<encrypted xmlns='eu.siacs.conversations.axolotl'><payload/></encrypted>"
    both.comes(said("I sent you an OMEMO message", "m1", more))
    both.comes(
        f"<message type='groupchat' from='{ROMEO}' to='{TEA}' id='m2'>{more}</message>"
    )
    await both.carried()

    for event in both.events:
        assert isinstance(event, Unreadable)
        await both.sends(both.hosted.settle(event.receipt, Refused(event.why)))
    answers = both.written()
    assert [s.get("id") for s in answers] == ["m1", "m2"]
    assert {condition(s) for s in answers} == {"not-acceptable"}
    assert all("encryption" in "".join(s.itertext()) for s in answers)


async def test_a_topic_is_not_set_from_here(both: MucWorld) -> None:
    """XEP-0045 §8.1: "forbidden"."""
    both.comes(
        f"<message type='groupchat' from='{ROMEO}' to='{TEA}' id='s'>"
        "<subject>mine</subject></message>"
    )

    assert [condition(s) for s in both.written()] == ["forbidden"]


async def test_private_words_are_refused(both: MucWorld) -> None:
    """XEP-0045 §7.5."""
    both.comes(
        f"<message type='chat' from='{ROMEO}' to='{TEA}/juliet' id='p'>"
        "<body>psst</body></message>"
    )
    both.comes(said("hi", "g").replace(f"to='{TEA}'", f"to='{TEA}/juliet'"))
    both.comes(
        f"<message type='chat' from='{ROMEO}' to='{TEA}/juliet'>"
        "<composing xmlns='http://jabber.org/protocol/chatstates'/></message>"
    )
    both.comes(f"<message from='{ROMEO}' to='{TEA}' id='n'><body>x</body></message>")
    both.comes(f"<message type='headline' from='{ROMEO}' to='{TEA}'/>")

    assert [condition(s) for s in both.written()] == [
        "feature-not-implemented",
        "bad-request",
        "feature-not-implemented",
    ]


async def test_an_invitation_through_the_room_is_refused_in_words(
    both: MucWorld,
) -> None:
    """XEP-0045 §7.8.2; clients show the words, or else the condition's bare name."""
    both.comes(
        f"<message from='{ROMEO}' to='{TEA}' id='i'>"
        "<x xmlns='http://jabber.org/protocol/muc#user'>"
        "<invite to='mercutio@montague.lit'/></x></message>"
    )

    (answer,) = both.written()
    assert condition(answer) == "feature-not-implemented"
    assert "invitations" in "".join(answer.itertext())


async def test_chat_states_pass_at_once(both: MucWorld) -> None:
    both.comes(
        f"<message type='groupchat' from='{ROMEO}' to='{TEA}' id='c'>"
        "<composing xmlns='http://jabber.org/protocol/chatstates'/></message>"
    )

    seen = both.written()
    assert [s.get("to") for s in seen] == [ROMEO, JULIET]
    assert both.inbound.arrivals == []


async def test_what_says_nothing_on_matrix_is_still_shown(both: MucWorld) -> None:
    both.comes(said("", "m1", "<sticker xmlns='urn:example'/>"))
    await both.carried()

    assert both.events == [None]
    await both.sends([wire for _, wire in both.host.sent_later])
    assert {s.get("id") for s in both.written()} == {"m1"}


async def test_what_is_too_large_or_too_deep_is_refused(both: MucWorld) -> None:
    both.comes(said("x" * 210_000, "m1"))
    both.comes(said("deep", "m2", "<a xmlns='u'>" + "<a>" * 70 + "</a>" * 71))

    assert [condition(s) for s in both.written()] == ["policy-violation", "bad-request"]


async def test_what_cannot_be_written_again_loses_all_but_its_words(
    both: MucWorld,
) -> None:
    both.comes(said("hello", "m1", "<größe xmlns='u'/>"))
    await both.carried()

    assert {words(s) for s in both.written()} == {"hello"}


async def test_a_reflection_survives_a_crash(both: MucWorld) -> None:
    """It is made of the receipt alone."""
    both.comes(said("hello", "m1"))
    (arrival,) = both.inbound.arrivals
    event = await both.hosted.read(Taken(1, arrival), Unit())
    assert isinstance(event, Message)
    receipt = both.hosted.receipt(event)

    (wire,) = both.hosted.settle(receipt, Delivered())
    (again,) = both.hosted.settle(receipt, Delivered())

    assert wire == again
    assert wire.archived
    assert both.hosted.settle(b"Hnonsense", Delivered()) == ()


async def test_a_reflection_bears_the_nick_of_now(both: MucWorld) -> None:
    both.comes(said("hello", "m1"))
    both.comes(f"<presence from='{ROMEO}' to='{TEA}/montague'/>")
    both.written()
    await both.carried()

    assert {nick(s) for s in both.written()} == {"montague"}


async def test_words_from_both_networks_keep_their_order(both: MucWorld) -> None:
    await both.says(ALICE, "one")
    both.comes(said("two", "m2"))
    await both.carried()
    await settled()

    assert [words(s) for s in both.written(JULIET)] == ["one", "two"]


async def test_a_very_long_id_is_no_name(both: MucWorld) -> None:
    both.comes(said("hello", "x" * 5000))
    await both.carried()

    (event,) = both.events
    assert isinstance(event, Message)
    assert len(event.ref.id) < 100
    assert both.written(JULIET)[0].get("id") == "x" * 5000


async def test_who_reacts_is_told_once_that_nobody_on_matrix_sees_it(
    both: MucWorld,
) -> None:
    """XEP-0444: those in the room see it all the same."""
    reaction = (
        f"<message type='groupchat' from='{ROMEO}' to='{TEA}' id='r'>"
        "<reactions xmlns='urn:xmpp:reactions:0' id='$1'><reaction>+</reaction>"
        "</reactions></message>"
    )

    both.comes(reaction)
    both.comes(reaction)

    seen = both.written()
    shown = [s.get("to") for s in seen if s.find("{*}reactions") is not None]
    told = [(s.get("to"), words(s)) for s in seen if words(s)]
    assert shown == [ROMEO, JULIET] * 2
    assert told == [(ROMEO, WORDS)]
