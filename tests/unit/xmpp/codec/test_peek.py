from datetime import UTC, datetime
from xml.etree.ElementTree import XML, Element

import pytest

from bridge.xmpp.codec.peek import sent_at, speaks


def message(inside: str) -> Element:
    return XML(f"<message xmlns='jabber:component:accept'>{inside}</message>")


@pytest.mark.parametrize(
    ("inside", "worth"),
    [
        ("<body/>", True),
        ("<encrypted xmlns='urn:xmpp:omemo:2'/>", True),
        ("<active xmlns='http://jabber.org/protocol/chatstates'/>", False),
        ("<subject>x</subject>", False),
    ],
)
def test_only_words_are_worth_keeping(inside: str, *, worth: bool) -> None:
    assert speaks(message(inside)) is worth


@pytest.mark.parametrize(
    ("stamp", "at"),
    [
        ("2026-05-01T12:00:00Z", datetime(2026, 5, 1, 12, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", None),
        ("9999-01-01T00:00:00Z", None),
        ("yesterday", None),
    ],
)
def test_a_time_that_cannot_be_true_is_none(stamp: str, at: datetime | None) -> None:
    delay = f"<delay xmlns='urn:xmpp:delay' from='a@b' stamp='{stamp}'/>"

    assert sent_at(message(delay)) == at
    assert sent_at(message(delay), "a@b") == at
    assert sent_at(message(delay), "c@d") is None
