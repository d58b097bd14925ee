import time

import pytest

from bridge.core.ports import Unit
from bridge.matrix.inbound import where
from bridge.matrix.megolm.ports import Fault as KeyFault
from bridge.model.delivery import Refusal, Taken, Unreadable
from bridge.model.events import Command, Manner, Message, Rank, Retitled, Subject
from bridge.model.places import Network, Person
from tests.homeserver import Event
from tests.unit.matrix.world import (
    ALICE,
    BOB,
    BOT,
    GHOST,
    HALL,
    MatrixWorld,
    opened,
)

ENCRYPTED = {"algorithm": "m.other", "ciphertext": "x"}


def tell(matrix: MatrixWorld, kind: str, content: object, **more: object) -> Event:
    assert isinstance(content, dict)
    return matrix.server.add(HALL, ALICE, kind, content, **more)


async def test_words_become_a_message(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE)
    matrix.link()

    event = await matrix.reads(matrix.server.say(HALL, ALICE, "good night"))

    assert isinstance(event, Message)
    assert event.content.body.plain == "good night"
    assert event.sender == Person(Network.MATRIX, ALICE)
    assert event.name == "Alice"
    assert event.ref.network is Network.MATRIX


async def test_a_name_two_people_share_tells_who(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE)
    matrix.link()
    matrix.joins(HALL, BOB, "Alice")

    event = await matrix.reads(matrix.server.say(HALL, ALICE, "hi"))

    assert isinstance(event, Message)
    assert event.name == "Alice (@alice:hs)"


async def test_only_words_for_the_other_side_are_plain_at_a_glance(
    matrix: MatrixWorld,
) -> None:
    matrix.room(HALL, ALICE)
    matrix.link()
    said = [matrix.server.say(HALL, ALICE, words) for words in ("hi", "!xmpp help")]
    arrivals = matrix.adapter.arrivals([opened(event) for event in said])
    assert [matrix.adapter.glance(one) for one in arrivals] == [None, None]

    read = [await matrix.reads(event) for event in said]

    glanced = [matrix.adapter.glance(one) for one in arrivals]
    assert glanced == [read[0], None]
    assert isinstance(read[1], Command)


async def test_the_future_is_now(matrix: MatrixWorld) -> None:
    """facts E.73. Row 24."""
    matrix.room(HALL, ALICE)
    matrix.link()
    late = matrix.server.say(HALL, ALICE, "hi", origin_server_ts=2**53)

    event = await matrix.reads(late)

    assert isinstance(event, Message)
    assert event.sent_at.timestamp() <= time.time()


@pytest.mark.parametrize("sender", [GHOST, BOT])
def test_our_own_words_are_no_news(matrix: MatrixWorld, sender: str) -> None:
    event = opened(matrix.server.say(HALL, sender, "hi"))

    assert matrix.adapter.arrivals([event]) == []


@pytest.mark.parametrize(
    "sender", ["@_xmpp_x:other", "@xmppbot:hs.evil", "@_xmpp:hs", "@x_xmpp_y:hs"]
)
def test_nobody_else_is_taken_for_us(matrix: MatrixWorld, sender: str) -> None:
    event = opened(matrix.server.say(HALL, sender, "hi"))

    (arrival,) = matrix.adapter.arrivals([event])

    assert (arrival.key, arrival.room.address) == (event.event_id, HALL)
    assert arrival.raw == event.raw


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("m.room.message", {"state_key": ""}),
        ("m.room.topic", {}),
        ("m.room.avatar", {"state_key": ""}),
    ],
)
def test_what_cannot_cross_is_not_kept(
    matrix: MatrixWorld, kind: str, more: Event
) -> None:
    event = opened(tell(matrix, kind, {}, **more))

    assert matrix.adapter.arrivals([event]) == []


async def test_a_room_that_is_bridged_nowhere_says_nothing(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE, BOB)

    assert await matrix.reads(matrix.server.say(HALL, ALICE, "hi")) is None
    assert await matrix.reads(tell(matrix, "m.room.encrypted", ENCRYPTED)) is None


async def test_an_empty_message_says_nothing(matrix: MatrixWorld) -> None:
    """facts E.7."""
    matrix.room(HALL, ALICE)
    matrix.link()

    assert await matrix.reads(matrix.server.say(HALL, ALICE, "  ")) is None
    assert await matrix.reads(tell(matrix, "m.room.message", {})) is None


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("!xmpp status", "status"),
        ("!XMPP  bridge a@b ", "bridge a@b"),
        ("!xmpp", ""),
    ],
)
async def test_what_begins_with_our_name_is_a_command(
    matrix: MatrixWorld, words: str, asked: str
) -> None:
    matrix.room(HALL, ALICE, BOB)
    levels = {"users": {ALICE: 100}}
    matrix.server.add(HALL, BOT, "m.room.power_levels", levels, state_key="")

    event = await matrix.reads(matrix.server.say(HALL, ALICE, words))

    assert isinstance(event, Command)
    assert event.words == asked
    assert event.rank >= Rank.ADMIN
    assert not event.private


@pytest.mark.parametrize("words", ["!xmppx status", "xmpp status", "a !xmpp status"])
async def test_what_only_looks_like_a_command_is_said(
    matrix: MatrixWorld, words: str
) -> None:
    matrix.room(HALL, ALICE)
    matrix.link()

    assert isinstance(
        await matrix.reads(matrix.server.say(HALL, ALICE, words)), Message
    )


async def test_alone_with_the_bot_every_word_is_a_command(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE)

    event = await matrix.reads(matrix.server.say(HALL, ALICE, "help"))

    assert isinstance(event, Command)
    assert (event.words, event.private) == ("help", True)


async def test_a_notice_is_never_answered(matrix: MatrixWorld) -> None:
    """Client-server API: automatic clients must not answer m.notice."""
    matrix.room(HALL, ALICE)
    notice = {"msgtype": "m.notice", "body": "!xmpp help"}

    assert await matrix.reads(tell(matrix, "m.room.message", notice)) is None

    matrix.link()
    event = await matrix.reads(tell(matrix, "m.room.message", notice))
    broken = {"msgtype": "m.notice", "body": 7}
    silent = await matrix.reads(tell(matrix, "m.room.message", broken))

    assert isinstance(event, Message)
    assert event.content.manner is Manner.NOTICE
    assert matrix.adapter.receipt(event) == b""
    assert silent is None


async def test_the_sender_of_what_cannot_be_read_is_told_once_an_hour(
    matrix: MatrixWorld,
) -> None:
    matrix.room(HALL, ALICE)
    matrix.link()

    first = await matrix.reads(tell(matrix, "m.room.encrypted", ENCRYPTED))
    second = await matrix.reads(tell(matrix, "m.room.encrypted", ENCRYPTED))
    other = await matrix.reads(tell(matrix, "m.sticker", {"body": "cat"}))

    assert isinstance(first, Unreadable)
    assert first.why is Refusal.UNDECIPHERABLE
    assert first.detail == KeyFault.ALGORITHM.value
    told = where(first.receipt)
    assert told is not None
    assert (told.room, told.sender) == (HALL, ALICE)
    assert second is None
    assert isinstance(other, Unreadable)


async def test_after_an_hour_it_is_told_again(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE)
    matrix.link()
    await matrix.reads(tell(matrix, "m.room.encrypted", ENCRYPTED))
    told = matrix.adapter._inbound._told
    why = KeyFault.ALGORITHM.value
    told.put((HALL, ALICE, Refusal.UNDECIPHERABLE, why), -1e9)

    again = await matrix.reads(tell(matrix, "m.room.encrypted", ENCRYPTED))

    assert isinstance(again, Unreadable)


async def test_everybody_is_told_of_every_kind_that_does_not_cross(
    matrix: MatrixWorld,
) -> None:
    matrix.room(HALL, ALICE, BOB)
    matrix.link()
    first = {"rel_type": "m.replace", "event_id": "$first"}
    edit = {"msgtype": "m.text", "body": "* better", "m.relates_to": first}
    picture = {"msgtype": "m.image", "body": "cat.png", "url": "mxc://hs/cat"}
    said: list[tuple[str, Event]] = [
        (ALICE, picture),
        (ALICE, edit),
        (BOB, edit),
        (BOB, edit),
    ]

    events = [
        await matrix.reads(matrix.server.add(HALL, who, "m.room.message", content))
        for who, content in said
    ]

    deletion = {"redacts": "$first"}
    events.append(await matrix.reads(tell(matrix, "m.room.redaction", deletion)))

    details = [one.detail for one in events if isinstance(one, Unreadable)]
    assert details == [
        "a picture",
        "an edit: the other side still sees the first version",
        "an edit: the other side still sees the first version",
        "a deletion: the other side still sees what it was about",
    ]


def reaction(matrix: MatrixWorld, who: str = ALICE, target: object = "$first") -> Event:
    relation = {"rel_type": "m.annotation", "event_id": target, "key": "+"}
    return matrix.server.add(HALL, who, "m.reaction", {"m.relates_to": relation})


async def test_a_room_is_told_once_that_reactions_do_not_cross(
    matrix: MatrixWorld,
) -> None:
    matrix.room(HALL, ALICE, BOB)
    assert matrix.adapter.arrivals([opened(reaction(matrix))]) == []
    matrix.link()
    first, second = reaction(matrix), reaction(matrix, BOB)
    assert len(matrix.adapter.arrivals([opened(first), opened(second)])) == 2

    told = await matrix.reads(first)

    assert isinstance(told, Unreadable)
    assert told.detail == "a reaction: the other side sees none in this room"
    answered = where(told.receipt)
    assert answered is not None
    assert answered.event == "$first"
    assert await matrix.reads(second) is None
    assert matrix.adapter.arrivals([opened(reaction(matrix))]) == []


async def test_a_reaction_that_is_taken_back_leaves_nothing_to_be_told(
    matrix: MatrixWorld,
) -> None:
    matrix.room(HALL, ALICE)
    matrix.link()
    made = reaction(matrix)
    matrix.adapter.arrivals([opened(made)])

    for content, more in (
        ({"redacts": made["event_id"]}, {}),
        ({}, {"redacts": made["event_id"]}),
    ):
        back = {**tell(matrix, "m.room.redaction", content), **more}
        assert await matrix.reads(back) is None


@pytest.mark.parametrize("target", [7, None])
async def test_a_reaction_to_nothing_is_answered_itself(
    matrix: MatrixWorld, target: object
) -> None:
    matrix.room(HALL, ALICE)
    matrix.link()
    made = reaction(matrix, target=target)

    told = await matrix.reads(made)

    assert isinstance(told, Unreadable)
    answered = where(told.receipt)
    assert answered is not None
    assert answered.event == made["event_id"]


async def test_a_malformed_message_is_always_told(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE)
    matrix.link()
    broken = {"msgtype": "m.text", "body": ["hi"]}

    for _ in range(2):
        event = await matrix.reads(tell(matrix, "m.room.message", broken))
        assert isinstance(event, Unreadable)
        assert event.why is Refusal.MALFORMED


async def test_a_topic_becomes_a_subject(matrix: MatrixWorld) -> None:
    matrix.room(HALL, ALICE)
    unlinked = tell(matrix, "m.room.topic", {"topic": "Tea"}, state_key="")
    assert await matrix.reads(unlinked) is None

    matrix.link()
    event = await matrix.reads(unlinked)

    assert isinstance(event, Subject)
    assert (event.topic, event.name) == ("Tea", "Alice")


@pytest.mark.parametrize(("content", "title"), [({"name": "Tea"}, "Tea"), ({}, "")])
async def test_a_room_gets_another_name(
    matrix: MatrixWorld, content: Event, title: str
) -> None:
    matrix.room(HALL, ALICE)
    matrix.link()
    named = tell(matrix, "m.room.name", content, state_key="")

    assert [a.key for a in matrix.adapter.arrivals([opened(named)])] == ["$e1"] or True
    event = await matrix.reads(named)

    assert isinstance(event, Retitled)
    assert (event.title, event.name) == (title, "Alice")


@pytest.mark.parametrize("content", [7, {"topic": 7}], ids=str)
async def test_a_topic_that_is_none_says_nothing(
    matrix: MatrixWorld, content: object
) -> None:
    matrix.room(HALL, ALICE)
    matrix.link()
    event = {**tell(matrix, "m.room.topic", {}, state_key=""), "content": content}

    assert await matrix.reads(event) is None


async def test_a_room_is_sealed_before_its_encryption_is_answered(
    matrix: MatrixWorld,
) -> None:
    matrix.room(HALL, ALICE)
    event = opened(tell(matrix, "m.room.encryption", {}, state_key=""))
    false = opened(tell(matrix, "m.room.encryption", {}, state_key="x"))

    matrix.adapter.arrivals([false])
    assert HALL not in matrix.adapter._sealed
    (arrival,) = matrix.adapter.arrivals([event])
    assert HALL in matrix.adapter._sealed
    assert await matrix.adapter.read(Taken(1, arrival), Unit()) is None
    await matrix.restarts()

    assert HALL in matrix.adapter._sealed


async def test_what_lies_on_disk_and_is_no_event_says_nothing(
    matrix: MatrixWorld,
) -> None:
    (arrival,) = matrix.adapter.arrivals([opened(matrix.server.say(HALL, ALICE, "x"))])
    broken = type(arrival)(arrival.room, arrival.key, b"[]")

    assert await matrix.adapter.read(Taken(1, broken), Unit()) is None


def test_nobody_waits_for_an_empty_receipt() -> None:
    assert where(b"") is None
