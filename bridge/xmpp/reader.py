"""Makes stanzas of the bytes that come over the stream, within limits.

A stanza that is too large or too deep is thrown away, but never the stream: else
anybody who can write to us could close it for everybody.
"""

import re
from collections.abc import Iterator
from typing import cast
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

DEPTH_MAX = 256
SIZE_BYTES_MAX = 512 * 1024
HELD_BYTES_MAX = 8 * 1024 * 1024
DEPTH_HELD_MAX = 200_000
"""More than fits into 512 KiB, which servers let through; every level costs memory."""

_PIECE_BYTES = 64 * 1024
_TAG_BYTES_MAX = 8 * 1024
_CLOSED = re.compile(rb"<[^'\">]*+(?:(?:'[^']*+'|\"[^\"]*+\")[^'\">]*+)*+>")
_ODDITIES = ((b"<!--", b"-->"), (b"<?", b"?>"))
_PROLOG_BYTES_MAX = 4096
_STREAM_DEPTH = 1
_STANZA_DEPTH = 2


class BadStreamError(Exception):
    """What came is no XML stream that XMPP allows."""


class Reader:
    """The parser of one stream; *depth* is 1 between two stanzas.

    *root* is the header of the stream, once it has come. *refused* are stanzas that
    were thrown away, with nothing left in them.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.root: Element | None = None
        self.refused: list[Element] = []
        self._parser: XMLPullParser[Element] = XMLPullParser(("start", "end"))
        self._prolog = b""
        self._cut = b""
        self._stanza: Element | None = None
        self._size = 0
        self._too_large = False

    def feed(self, chunk: bytes) -> list[Element]:
        """Return the stanzas that are complete with *chunk*, in order.

        Raises ``BadStreamError`` if nothing more can be read.
        """
        found: list[Element] = []
        if self.root is None:
            self._look_at_prolog(chunk)
        try:
            if len(chunk) <= _PIECE_BYTES:
                self._parse(chunk, found)
            else:
                for start in range(0, len(chunk), _PIECE_BYTES):
                    self._parse(chunk[start : start + _PIECE_BYTES], found)
        except ParseError as error:
            raise BadStreamError(
                f"the stream is not well-formed ({error.code})"
            ) from error
        return found

    def _look_at_prolog(self, chunk: bytes) -> None:
        """Stop at a document type, and so at every entity: RFC 6120 §11.1.

        After the header of the stream XML itself forbids one.
        """
        self._prolog += chunk
        if b"<!" in self._prolog or len(self._prolog) > _PROLOG_BYTES_MAX:
            raise BadStreamError("the stream does not begin as one")

    def _parse(self, piece: bytes, found: list[Element]) -> None:
        before = len(found)
        piece = self._whole(piece)
        self._parser.feed(piece)
        depth = self.depth
        events = cast("Iterator[tuple[str, Element]]", self._parser.read_events())
        for event, element in events:
            if event == "start":
                depth += 1
                if depth <= _STANZA_DEPTH or depth > DEPTH_MAX:
                    self._begin(element, depth)
            else:
                depth -= 1
                if depth == _STREAM_DEPTH:
                    self._finish(element, found)
                elif self._too_large:
                    self._forget(element, depth)
        self.depth = depth
        self._weigh(len(piece), fresh=len(found) > before)

    def _whole(self, piece: bytes) -> bytes:
        """Keep back a tag that *piece* ends within, until the rest of it comes.

        Since CVE-2023-52425 expat, also that of Debian 12, looks at such a tag again
        only when twice as much is there: the end of a stanza may wait for the next.
        """
        if self._cut:
            piece, self._cut = self._cut + piece, b""
        start = _cut_at(piece)
        if len(piece) - start <= _TAG_BYTES_MAX:
            piece, self._cut = piece[:start], piece[start:]
        return piece

    def _begin(self, element: Element, depth: int) -> None:
        if depth == _STREAM_DEPTH:
            self.root = element
            self._prolog = b""
        elif depth == _STANZA_DEPTH:
            self._stanza = element
        else:
            self._too_large = True

    def _finish(self, stanza: Element, found: list[Element]) -> None:
        if self._too_large:
            self._too_large = False
            del stanza[:]
            stanza.text = None
            self.refused.append(stanza)
        else:
            found.append(stanza)
        self._size = 0
        if self.root is not None:
            # else every stanza would stay a child of the stream for ever
            del self.root[:]

    def _forget(self, element: Element, depth: int) -> None:
        """Free what belongs to a stanza that will be thrown away."""
        element.clear()
        if depth == _STANZA_DEPTH and self._stanza is not None:
            del self._stanza[:]

    def _weigh(self, size: int, *, fresh: bool) -> None:
        """Count what the open stanza weighs: up to a piece too much, never less."""
        if self.depth <= _STREAM_DEPTH:
            self._size = 0
            return
        self._size = size if fresh else self._size + size
        if self._size > SIZE_BYTES_MAX + _PIECE_BYTES:
            self._too_large = True
        if self._size > HELD_BYTES_MAX or self.depth > DEPTH_HELD_MAX:
            raise BadStreamError("a stanza has no end")


def _cut_at(piece: bytes) -> int:
    """Find where the tag or the like begins that *piece* ends within; else its end."""
    for opening, closing in _ODDITIES:
        if opening in piece:
            start = piece.rfind(opening)
            if piece.find(closing, start + len(opening)) < 0:
                return start
    start = piece.rfind(b"<")
    return len(piece) if start < 0 or _CLOSED.match(piece, start) else start
