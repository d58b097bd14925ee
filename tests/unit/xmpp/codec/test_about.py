from xml.etree.ElementTree import XML, Element

import pytest

from bridge.xmpp.codec.about import About, about

MUC = "<feature var='http://jabber.org/protocol/muc'/>"
ROOM = "<identity category='conference' type='text' name='Tea'/>"


def answer(inside: str) -> Element:
    query = "<query xmlns='http://jabber.org/protocol/disco#info'>"
    return XML(f"<iq>{query}{inside}</query></iq>")


def test_a_room_tells_its_name_and_what_it_is_for() -> None:
    """XEP-0045 §6.4."""
    form = (
        "<x xmlns='jabber:x:data'><field var='muc#roominfo_occupants'/>"
        "<field var='muc#roominfo_description'><value> for all </value></field></x>"
    )

    found = about(answer(ROOM + MUC + form))

    assert found is not None
    assert (found.name, found.description) == ("Tea", "for all")
    assert found.public
    assert not any((found.archive, found.stanza_ids, found.occupant_ids))


@pytest.mark.parametrize(
    ("said", "count"), [("12", 12), ("", 0), ("-1", 0), ("٣", 0), ("9" * 5000, 10**9)]
)
def test_a_room_tells_how_many_are_there(said: str, count: int) -> None:
    field = f"<field var='muc#roominfo_occupants'><value>{said}</value></field>"

    found = about(answer(f"{ROOM}{MUC}<x xmlns='jabber:x:data'>{field}</x>"))

    assert found is not None
    assert found.occupants == min(count, 10**9 - 1)


@pytest.mark.parametrize(
    "inside", ["", ROOM, MUC, "<identity category='gateway' type='x'/>" + MUC]
)
def test_what_is_no_room_is_none(inside: str) -> None:
    assert about(answer(inside)) is None
    assert about(XML("<iq/>")) is None


def test_an_archive_vouches_for_the_ids_in_it() -> None:
    """XEP-0313 §5.1.3."""
    room = About(features=frozenset({"urn:xmpp:mam:2"}))

    assert room.archive
    assert room.stanza_ids
    assert About(features=frozenset({"urn:xmpp:sid:0"})).stanza_ids
    assert About(features=frozenset({"urn:xmpp:occupant-id:0"})).occupant_ids


@pytest.mark.parametrize("feature", ["muc_membersonly", "muc_passwordprotected"])
def test_a_room_that_not_all_may_enter_is_not_public(feature: str) -> None:
    assert not About(features=frozenset({feature})).public
