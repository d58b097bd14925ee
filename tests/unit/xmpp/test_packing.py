from bridge.xmpp import packing
from bridge.xmpp.codec.xml import node
from bridge.xmpp.packing import Aside, Exit, Heard, NewName, Speech

STANZA = node("message", {"id": "1"}, node("body", None, "hi"), "tail")


def test_what_was_packed_is_unpacked() -> None:
    heard = Heard("muc", "nick", "person", 2, 12, "s1", STANZA)

    raw = packing.pack(packing.MUC, heard)

    assert raw[:1] == b"M"
    assert packing.unpack(Heard, raw) == heard


def test_what_a_wire_asks_for_is_told_apart() -> None:
    for act in (
        Speech("muc", "@a:b", "A", b"<message/>"),
        Aside("muc", b"<message/>"),
        Exit("muc", ""),
        NewName("muc", "@a:b", "B"),
    ):
        assert packing.act(packing.pack(packing.MUC, act)) == act


def test_bytes_of_no_format_are_nothing() -> None:
    for raw in (b"", b"M", b"M\xc1", b"M\x90", b"M\x91\xa6nobody"):
        assert packing.act(raw) is None
        assert packing.unpack(Heard, raw) is None


def test_bytes_that_are_no_text_are_no_format_either() -> None:
    """A damaged disk: msgspec has another error for what is no UTF-8."""
    for raw in (b"M\xa1\x80", b"M\x92\xa6speech\xa1\x80"):
        assert packing.act(raw) is None
        assert packing.unpack(Heard, raw) is None
