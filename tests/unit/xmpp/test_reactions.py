import pytest

from bridge.xmpp import reactions
from bridge.xmpp.reactions import Reactions
from tests.unit.xmpp.elsewhere import stanza

NS = "xmlns='urn:xmpp:reactions:0' id='m1'"
ONE = stanza(
    f"<message><reactions {NS}><reaction>\U0001f44b</reaction></reactions></message>"
)
NONE = stanza(f"<message><reactions {NS}/></message>")
WORDS = stanza("<message><body>\U0001f44b</body></message>")


def test_a_room_is_told_once() -> None:
    told = Reactions()

    assert [told.tells(ONE, room) for room in "aab"] == [True, False, True]


def test_what_is_no_reaction_is_not_told_of() -> None:
    told = Reactions()

    assert not told.tells(NONE, "a")
    assert not told.tells(WORDS, "a")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reactions, "REMEMBERED_MAX", 1)
    told = Reactions()

    assert [told.tells(ONE, room) for room in "aba"] == [True, True, True]
