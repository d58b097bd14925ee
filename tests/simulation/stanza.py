"""What goes over the stream of the simulated component: one JSON list a line."""

import zlib

import msgspec


class Stanza(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """A stanza; *name* is the archive's name of it, *items* what a query found."""

    kind: str
    sender: str
    to: str
    id: str = ""
    text: str = ""
    name: str = ""
    items: tuple["Stanza", ...] = ()
    complete: bool = True


_decode = msgspec.json.Decoder(Stanza).decode
_encode = msgspec.json.Encoder().encode


def write(stanza: Stanza) -> bytes:
    """Write *stanza* as bytes that can be put one after another."""
    return _encode(stanza) + b"\n"


def read(data: bytes) -> list[Stanza]:
    """Read all stanzas of *data*."""
    return [_decode(line) for line in data.splitlines()]


def is_plain_to_see(data: bytes, percent: int) -> bool:
    """Tell which *percent* of all messages are understood without asking anybody."""
    return zlib.crc32(data) % 100 < percent
