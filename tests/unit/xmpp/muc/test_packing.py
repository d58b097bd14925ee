import pytest

from bridge.xmpp.codec.xml import node
from bridge.xmpp.gate import addressed
from bridge.xmpp.muc.packing import (
    TAG,
    Moved,
    Said,
    UnknownFormatError,
    arrival,
    pack,
    ready,
    sheet,
)
from tests.unit.xmpp.muc.world import DOMAIN, ROMEO, TEA

INSIDE = (node("body", {"xml:lang": "de"}, "hä", node("b", {"xmlns": "u"}), "tail"),)


@pytest.mark.parametrize(
    "kept",
    [
        Said(TEA, ROMEO, "romeo", "1", "1", 5, INSIDE),
        Moved(TEA, "romeo@montague.lit", "", first=False, mark="x", at_ms=5),
    ],
)
def test_what_is_kept_is_read_again(kept: Said | Moved) -> None:
    raw = pack(kept)

    assert raw[:1] == TAG
    assert arrival(raw) == kept


def test_a_sheet_holds_a_stanza_but_for_its_addressees() -> None:
    stanza = addressed(node("message", {"from": TEA}, *INSIDE), DOMAIN)

    read = ready(sheet(stanza, 7, (ROMEO,)))

    assert read.stanza.to(ROMEO) == stanza.to(ROMEO)
    assert (read.at_ms, read.to) == (7, (ROMEO,))


@pytest.mark.parametrize("raw", [b"", b"H", b"H\xff", b"H\x90", b"H\x92\xa4said\x01"])
def test_nonsense_is_told_apart(raw: bytes) -> None:
    with pytest.raises(UnknownFormatError):
        arrival(raw)
    with pytest.raises(UnknownFormatError):
        ready(raw)
