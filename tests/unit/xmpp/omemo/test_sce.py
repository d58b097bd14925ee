from datetime import UTC, datetime, timedelta

import pytest

from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.endtoend import Passage
from bridge.xmpp.omemo import sce
from tests.unit.xmpp.omemo.world import ALICE, JULIET, ROMEO

WAY = Passage(account=ROMEO, peer=ALICE, to=ALICE)
BACK = Passage(account=ALICE, peer=ROMEO, to=ALICE)
ROOM = "room@muc.example"


def envelope(*, content: str = "", affixes: str = "") -> bytes:
    inside = f"<content>{content}</content>"
    return f"<envelope xmlns='urn:xmpp:sce:1'>{inside}{affixes}</envelope>".encode()


def test_what_is_built_is_read() -> None:
    content = (
        Node("body", {}, ("hello <&>",)),
        node("replace", {"xmlns": "urn:xmpp:message-correct:0", "id": "m"}),
    )

    found = sce.parse(sce.build(content, WAY), BACK)

    assert isinstance(found, sce.Content)
    assert found.nodes == content
    assert found.at is not None
    assert abs(datetime.now(UTC) - found.at) < timedelta(minutes=1)


def test_whom_it_is_for_says_its_namespace_itself() -> None:
    """Converse 14 asks for the attribute, and reads nothing said in rooms without."""
    assert b"<to xmlns='urn:xmpp:sce:1' jid=" in sce.build((), WAY)


def test_each_has_padding_of_its_own() -> None:
    """XEP-0384 §5.6.1: MUST contain an rpad affix element."""
    lengths = {len(sce.build((), WAY)) for _ in range(20)}

    assert len(lengths) > 1


@pytest.mark.parametrize(
    "affixes",
    [
        f"<from jid='{JULIET}'/>",
        "<from jid=''/>",
        "<from jid='@@@'/>",
        f"<to jid='{JULIET}'/>",
        f"<to jid='{ROOM}'/>",
        "<time stamp='2101-01-01T00:00:00Z'/>",
    ],
)
def test_affixes_that_do_not_fit_are_not_believed(affixes: str) -> None:
    """XEP-0420 §4: receiving clients MUST check whether they match."""
    assert isinstance(sce.parse(envelope(affixes=affixes), BACK), str)


@pytest.mark.parametrize(
    "affixes",
    [
        "",
        f"<from jid='{ROMEO}/phone'/>",
        f"<to jid='{ALICE}'/>",
        f"<rpad>{'x' * 500}</rpad>",
        "<time stamp='no time'/>",
    ],
)
def test_affixes_may_be_missing_or_say_more(affixes: str) -> None:
    assert isinstance(sce.parse(envelope(affixes=affixes), BACK), sce.Content)


def test_in_a_room_the_message_must_say_so() -> None:
    """XEP-0384 §5.6.1: MUST contain a to affix element via a group chat."""
    way = Passage(account=ALICE, peer=ROMEO, to=ROOM)

    assert isinstance(sce.parse(envelope(), way), str)
    assert isinstance(
        sce.parse(envelope(affixes=f"<to jid='{ROOM}'/>"), way), sce.Content
    )


def test_a_message_that_waited_somewhere_is_believed() -> None:
    old = envelope(affixes="<time stamp='2001-01-01T00:00:00Z'/>")

    assert isinstance(sce.parse(old, BACK), sce.Content)


@pytest.mark.parametrize("stamp", ["2001-01-01T00:00:00Z", "2101-01-01T00:00:00Z"])
def test_a_message_of_another_day_is_not(stamp: str) -> None:
    way = Passage(account=ALICE, peer=ROMEO, to=ALICE, at=datetime.now(UTC))
    other = envelope(affixes=f"<time stamp='{stamp}'/>")

    assert isinstance(sce.parse(other, way), str)


def test_an_old_message_that_came_late_is_believed() -> None:
    sent_at = datetime(2020, 1, 1, tzinfo=UTC)
    way = Passage(account=ALICE, peer=ROMEO, to=ALICE, at=sent_at)
    affixes = "<time stamp='2020-01-01T00:05:00Z'/>"

    found = sce.parse(envelope(affixes=affixes), way)

    assert isinstance(found, sce.Content)


def test_what_only_servers_say_is_left_out() -> None:
    content = (
        "<body xmlns='jabber:client'>hi</body><delay xmlns='urn:xmpp:delay'/>"
        "<stanza-id xmlns='urn:xmpp:sid:0' id='x'/>"
        "<x xmlns='http://jabber.org/protocol/muc#user'/>"
    )

    found = sce.parse(envelope(content=content), BACK)

    assert isinstance(found, sce.Content)
    assert found.nodes == (Node("body", {}, ("hi",)),)


@pytest.mark.parametrize(
    "opened",
    [
        b"",
        b"words",
        b"<envelope/>",
        b"<envelope xmlns='urn:xmpp:sce:1'/>",
        b"<envelope xmlns='urn:xmpp:sce:1'><content>",
        b"\xff\xfe<\x00",
        b"<!DOCTYPE x [<!ENTITY a 'b'>]><envelope xmlns='urn:xmpp:sce:1'/>",
        envelope(content="<x>" * 300 + "</x>" * 300),
        envelope(content="y" * sce.SIZE_BYTES_MAX),
    ],
)
def test_what_is_no_envelope_is_refused(opened: bytes) -> None:
    assert isinstance(sce.parse(opened, BACK), str)
