from bridge.core.ports import Unit
from bridge.model.places import Network, PortalId
from bridge.model.records import Alias, Cursor
from bridge.store.recent import RECENT_MAX, Recent


def alias(ref: str, author: str = "@alice:hs") -> Alias:
    return Alias(Network.MATRIX, ref, PortalId(7), 3, author)


def test_an_alias_is_remembered_as_it_was_last_put() -> None:
    recent = Recent()
    recent.note(Unit(put=[alias("$1"), Cursor("k", "x", "y"), alias("$1", "@bob:hs")]))

    assert recent.find((Network.MATRIX, "$1")) == alias("$1", "@bob:hs")
    assert recent.find((Network.XMPP, "$1")) is None


def test_a_dropped_alias_is_forgotten() -> None:
    recent = Recent()
    recent.note(Unit(put=[alias("$1")]))

    recent.note(Unit(drop=[alias("$1"), alias("$2"), Cursor("k", "x", "y")]))

    assert recent.find((Network.MATRIX, "$1")) is None


def test_the_oldest_are_forgotten_first() -> None:
    recent = Recent()

    for number in range(RECENT_MAX + 1):
        recent.note(Unit(put=[alias(f"${number}")]))

    assert recent.find((Network.MATRIX, "$0")) is None
    assert recent.find((Network.MATRIX, "$1")) == alias("$1")
