from xml.etree.ElementTree import XML

import pytest

from bridge.model.events import Rank
from bridge.xmpp.codec.presence import Seen, is_self, rank, seen

X = "xmlns='http://jabber.org/protocol/muc#user'"


def test_all_that_a_presence_says_is_read() -> None:
    """XEP-0045 §8.2, §9.1."""
    stanza = XML(
        f"<presence type='unavailable'><x {X}><status code='301'/><status code='110'/>"
        "<item affiliation='outcast' role='none' jid='a@b.c/d' nick='new'>"
        "<actor nick='Queen'/><reason> off with it </reason></item></x>"
        "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='id1'/></presence>"
    )

    assert is_self(stanza)
    assert seen(stanza, "Hatter") == Seen(
        "Hatter",
        gone=True,
        statuses=frozenset({301, 110}),
        affiliation="outcast",
        role="none",
        jid="a@b.c",
        occupant_id="id1",
        new_nick="new",
        reason="off with it",
        actor="Queen",
    )


@pytest.mark.parametrize(
    "inside",
    ["", f"<x {X}/>", f"<x {X}><status/><status code='x'/><status code='9999'/></x>"],
)
def test_a_presence_that_says_nothing_is_read_as_nothing(inside: str) -> None:
    stanza = XML(f"<presence>{inside}</presence>")

    assert not is_self(stanza)
    assert seen(stanza, "x") == Seen("x", gone=False, statuses=frozenset())
    assert seen(stanza, "x").rank is Rank.MEMBER


def test_a_destroyed_room_says_so() -> None:
    assert seen(XML(f"<presence><x {X}><destroy/></x></presence>"), "x").destroyed


@pytest.mark.parametrize(
    ("affiliation", "role", "what"),
    [
        ("owner", "moderator", Rank.OWNER),
        ("admin", "moderator", Rank.ADMIN),
        ("member", "moderator", Rank.MODERATOR),
        ("member", "participant", Rank.MEMBER),
        ("none", "visitor", Rank.GUEST),
    ],
)
def test_what_titles_allow(affiliation: str, role: str, what: Rank) -> None:
    """XEP-0045 §5."""
    assert rank(affiliation, role) is what
