import pytest

from bridge.xmpp.reader import (
    DEPTH_MAX,
    HELD_BYTES_MAX,
    SIZE_BYTES_MAX,
    BadStreamError,
    Reader,
)

HEADER = b"<?xml version='1.0'?><stream xmlns='jabber:component:accept'>"


def trickle(reader: Reader, data: bytes) -> None:
    for byte in data:
        reader.feed(bytes((byte,)))


@pytest.fixture
def reader() -> Reader:
    reader = Reader()
    assert reader.feed(HEADER) == []
    assert reader.depth == 1
    return reader


def test_stanzas_come_whole_and_in_order(reader: Reader) -> None:
    first = reader.feed(b"<message id='1'><body>a</body></message><message id='2'")
    second = reader.feed(b"/> <iq id='3'/>")

    assert [one.get("id") for one in first + second] == ["1", "2", "3"]
    assert first[0][0].text == "a"
    assert reader.root is not None
    assert len(reader.root) == 0


@pytest.mark.parametrize(
    "prolog",
    [
        b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]><stream>",
        b"<?xml version='1.0'?><!DOCTYPE stream SYSTEM 'http://x/'><stream>",
        b" " * 5000,
    ],
)
def test_no_document_type_and_so_no_entity_is_read(prolog: bytes) -> None:
    """RFC 6120 §11.1: no DTD subset, no entity reference."""
    reader = Reader()

    with pytest.raises(BadStreamError):
        trickle(reader, prolog)


@pytest.mark.parametrize(
    "junk", [b"<!DOCTYPE x>", b"<message>&bomb;</message>", b"</x>", b"\x00", b"\xff"]
)
def test_what_is_not_well_formed_ends_the_stream(reader: Reader, junk: bytes) -> None:
    with pytest.raises(BadStreamError):
        reader.feed(junk)


def test_a_stanza_that_is_too_deep_is_thrown_away_alone(reader: Reader) -> None:
    deep = b"<x>" * (DEPTH_MAX + 50) + b"</x>" * (DEPTH_MAX + 50)

    stanzas = reader.feed(b"<message id='1'>" + deep + b"</message><message id='2'/>")

    assert [one.get("id") for one in stanzas] == ["2"]
    assert [one.get("id") for one in reader.refused] == ["1"]
    assert len(reader.refused[0]) == 0


def test_a_stanza_that_is_too_large_is_thrown_away_alone(reader: Reader) -> None:
    large = b"<x>y</x>" * (SIZE_BYTES_MAX // 4)

    stanzas = reader.feed(b"<message id='1'>" + large + b"</message><message id='2'/>")

    assert [one.get("id") for one in stanzas] == ["2"]
    assert [one.get("id") for one in reader.refused] == ["1"]


def test_a_stanza_that_is_just_small_enough_is_read(reader: Reader) -> None:
    text = b"x" * (SIZE_BYTES_MAX - 40)

    (stanza,) = reader.feed(b"<message>" + text + b"</message>")

    assert len(stanza.text or "") == len(text)


def test_a_stanza_without_end_ends_the_stream(reader: Reader) -> None:
    with pytest.raises(BadStreamError):
        reader.feed(b"<message>" + b"x" * (HELD_BYTES_MAX + 1))


def test_the_end_of_the_stream_is_seen(reader: Reader) -> None:
    assert reader.feed(b"<message/></stream>")[0].tag.endswith("message")
    assert reader.depth == 0


@pytest.mark.parametrize("size", range(1, 60))
def test_a_stanza_is_there_with_its_last_byte_however_it_was_cut(size: int) -> None:
    """CVE-2023-52425: expat puts off what it has seen in part."""
    stanza = (
        b"<message from='juliet@capulet.lit/balcony' to='a@b'><body>hi</body></message>"
    )
    reader = Reader()
    reader.feed(HEADER)
    for _ in range(3):
        pieces = [stanza[at : at + size] for at in range(0, len(stanza), size)]

        found = [one for piece in pieces for one in reader.feed(piece)]

        assert [one.findtext("{*}body") for one in found] == ["hi"]


def test_a_tag_that_a_large_chunk_is_cut_in_is_there_at_once() -> None:
    stanza = b"<message from='juliet@capulet.lit/balcony' to='a@b' id='1'/>"
    for pad in range(len(stanza)):
        reader = Reader()
        reader.feed(HEADER)
        blanks = b" " * (64 * 1024 - pad)

        assert len(reader.feed(blanks + stanza)) == 1
