from xml.etree.ElementTree import Element

import pytest

from bridge.xmpp.codec.xml import node
from bridge.xmpp.gate import addressed
from bridge.xmpp.muc.history import HISTORY_MAX, History, Said, Wish
from tests.unit.xmpp.muc.world import DOMAIN, TEA, parsed, words

NOW_MS = 1_777_636_800_000  # 2026-05-01T12:00:00Z
MINUTE_MS = 60_000


def wish(**limits: str) -> Wish:
    x = Element("{http://jabber.org/protocol/muc}x")
    inside = Element("{http://jabber.org/protocol/muc}history", limits)
    x.append(inside)
    return Wish.of(x, NOW_MS)


def said(number: int) -> Said:
    body = node("body", None, f"words {number}")
    stanza = node("message", {"from": f"{TEA}/Alice", "type": "groupchat"}, body)
    at_ms = NOW_MS - (61 - number) * MINUTE_MS
    return Said(number, at_ms, addressed(stanza, DOMAIN), f"$said{number}")


@pytest.fixture
def history() -> History:
    made = History(TEA, DOMAIN)
    for number in range(1, 61):
        made.add(said(number))
    return made


def picked(history: History, wish: Wish) -> list[str]:
    data = b"".join(s.to("romeo@montague.lit/garden") for s in history.pick(wish))
    return [words(s) for s in parsed(data)]


def test_the_newest_are_kept(history: History) -> None:
    for number in range(61, 400):
        history.add(said(number))

    kept = picked(history, Wish(stanzas=1000))

    assert len(kept) == HISTORY_MAX
    assert (kept[0], kept[-1]) == (f"words {400 - HISTORY_MAX}", "words 399")


def test_who_asks_since_when_sees_all_since_then(history: History) -> None:
    """Somebody whose server was away comes back for all that was missed."""
    assert len(picked(history, wish(since="2026-05-01T10:00:00Z"))) == 60


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        ({}, 50),
        ({"maxstanzas": "0"}, 0),
        ({"maxstanzas": "3"}, 3),
        ({"maxstanzas": "-3"}, 50),
        ({"maxstanzas": "many"}, 50),
        ({"maxstanzas": "9" * 5000}, 60),
        ({"maxchars": "0"}, 0),
        ({"maxchars": "500"}, 2),
        ({"seconds": "180"}, 3),
        ({"since": "2026-05-01T11:58:00Z"}, 2),
        ({"since": "2026-05-01T11:58:00"}, 2),
        ({"since": "2026-05-01T11:58:00Z", "seconds": "60"}, 1),
        ({"since": "yesterday"}, 50),
        ({"since": "0001-01-01T00:00:00+14:00"}, 50),
        ({"since": "9999-12-31T23:59:59Z"}, 0),
    ],
)
def test_guests_say_how_much_they_want(
    history: History, limits: dict[str, str], count: int
) -> None:
    """XEP-0045 §7.2.13; maxchars counts whole stanzas."""
    kept = picked(history, wish(**limits))

    assert kept == [f"words {n}" for n in range(61 - count, 61)]


def test_a_join_without_a_wish_sees_all(history: History) -> None:
    x = Element("{http://jabber.org/protocol/muc}x")

    assert Wish.of(x, NOW_MS) == Wish()


def test_history_says_when_it_was_said(history: History) -> None:
    """XEP-0203 §4: a stamp in UTC, from the room."""
    (stanza,) = history.pick(Wish(stanzas=1))

    (message,) = parsed(stanza.to("romeo@montague.lit"))
    delay = message.find("{urn:xmpp:delay}delay")
    assert delay is not None
    assert delay.attrib == {"from": TEA, "stamp": "2026-05-01T11:59:00.000Z"}


def test_nothing_is_remembered_twice(history: History) -> None:
    history.add(said(60))
    history.restore([said(n) for n in range(55, 63)])
    history.add(said(62))

    assert picked(history, Wish(stanzas=4)) == [f"words {n}" for n in range(59, 63)]
