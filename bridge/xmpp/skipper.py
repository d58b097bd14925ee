"""Drops the further copies of a groupchat message before they are parsed.

A MUC sends every message once to each of our puppets there; all but one copy, the
listener's, say nothing new. Servers write the copies from one stanza, so they are
equal byte for byte but for the value of ``to``. What was parsed a moment ago tells
the bytes to expect; whatever differs is parsed.
"""

from collections.abc import Callable
from xml.etree.ElementTree import Element

from bridge.xmpp.reader import Reader

_OPENING = b"<message "
_CLOSING = b"</message>"
_GROUPCHAT = b"type='groupchat'"
_TO = b" to='"
_LEARNT_BYTES_MAX = 64 * 1024
_JID_BYTES_MAX = 3071
_SMALL_BYTES = 2048
_ONCE_BYTES_MAX = 16 * 1024
_OURS = ("#", "!")
"""What the addresses of the rooms that we host begin with."""


class Skipper:
    """Reads a stream through *reader*, but for what nobody wants.

    *wanted* tells by the value of ``to`` whether a groupchat message is to be read.
    """

    def __init__(self, reader: Reader, wanted: Callable[[bytes], bool]) -> None:
        self._reader = reader
        self._wanted = wanted
        self._held = b""
        self._open = b""
        self._before = b""
        self._after = b""
        self._at_boundary = False
        self._blind = False
        self._once = False
        self._last = b""

    def feed(self, chunk: bytes) -> list[Element]:
        """Return the stanzas that are complete with *chunk* and wanted, in order.

        Raises ``BadStreamError`` if nothing more can be read.
        """
        held, self._held = self._held, b""
        chunk = held + chunk
        if self._blind or not (held or self._open or self._may_repeat(chunk)):
            return self._parse(chunk)
        return self._cut(chunk)

    def _may_repeat(self, chunk: bytes) -> bool:
        """Tell whether *chunk* may hold what copies follow, or many of them.

        What rooms of ours are told comes once.
        """
        if self._once and len(chunk) < _ONCE_BYTES_MAX:
            return False
        return len(chunk) < _SMALL_BYTES or _GROUPCHAT in chunk

    def _cut(self, chunk: bytes) -> list[Element]:
        """Parse *chunk* in pieces, each up to where a copy may begin."""
        found: list[Element] = []
        place = self._finish_open(chunk, found)
        end = len(chunk)
        while place < end:
            if self._blind:
                found += self._parse(chunk[place:])
                break
            if self._at_boundary:
                place = self._skip(chunk, place)
                if place == end:
                    break
                if self._may_be_copy(chunk, place):
                    self._held = chunk[place:]
                    break
            place = self._advance(chunk, place, found)
        return found

    def _skip(self, chunk: bytes, place: int) -> int:
        """Return where, from *place* on, the copies that nobody wants end."""
        before, after, wanted = self._before, self._after, self._wanted
        if not before:
            return place
        length, rest = len(before), len(after)
        starts, find = chunk.startswith, chunk.find
        while starts(before, place):
            start = place + length
            stop = find(b"'", start)
            if not starts(after, stop):
                break
            to = chunk[start:stop]
            if b"&" in to or b"<" in to or wanted(to):
                break
            place = stop + rest
        return place

    def _may_be_copy(self, chunk: bytes, place: int) -> bool:
        """Tell whether *chunk* ends within what may yet become a copy."""
        before, after = self._before, self._after
        left = len(chunk) - place
        if not before or left > len(before) + len(after) + _JID_BYTES_MAX:
            return False
        if left <= len(before):
            return before.startswith(chunk[place:])
        if not chunk.startswith(before, place):
            return False
        stop = chunk.find(b"'", place + len(before))
        if stop < 0:
            return left - len(before) <= _JID_BYTES_MAX
        return len(chunk) - stop < len(after) and after.startswith(chunk[stop:])

    def _advance(self, chunk: bytes, place: int, found: list[Element]) -> int:
        """Parse the next piece and return where it ends."""
        if not (self._at_boundary and chunk.startswith(_OPENING, place)):
            stop = chunk.find(_OPENING, place + 1)
            stop = len(chunk) if stop < 0 else stop
            found += self._parse(chunk[place:stop])
            return stop
        stop = chunk.find(_CLOSING, place)
        if stop < 0:
            tail = chunk[place:]
            stanzas = self._read(tail)
            found += self._sift(stanzas)
            if not stanzas and not self._blind and len(tail) <= _LEARNT_BYTES_MAX:
                self._open = tail
            return len(chunk)
        start, stop = self._find_repeated(chunk, place, stop + len(_CLOSING))
        if start > place:
            found += self._parse(chunk[place:start])
        found += self._learn(b"", chunk[start:stop])
        return stop

    def _find_repeated(self, chunk: bytes, start: int, stop: int) -> tuple[int, int]:
        """Find, from that between *start* and *stop* on, a message worth learning.

        It is followed by one that says the same, or by nothing more.
        """
        while chunk.startswith(_OPENING, stop):
            following = chunk.find(_CLOSING, stop)
            if following < 0:
                break
            following += len(_CLOSING)
            content = chunk[chunk.find(b">", start, stop) : stop]
            if chunk.endswith(content, stop, following):
                break
            start, stop = stop, following
        return start, stop

    def _finish_open(self, chunk: bytes, found: list[Element]) -> int:
        """Learn a stanza that began in an earlier chunk; return where it ends."""
        begun, self._open = self._open, b""
        if not begun:
            return 0
        # the closing tag may itself be cut in two
        seam = begun[-len(_CLOSING) + 1 :]
        stop = (seam + chunk).find(_CLOSING)
        if stop < 0:
            stanzas = self._read(chunk)
            found += self._sift(stanzas)
            if not stanzas and len(begun) + len(chunk) <= _LEARNT_BYTES_MAX:
                self._open = begun + chunk
            return len(chunk)
        stop += len(_CLOSING) - len(seam)
        found += self._learn(begun, chunk[:stop])
        return stop

    def _learn(self, begun: bytes, piece: bytes) -> list[Element]:
        """Parse *piece*; if it ends the one stanza that *begun* began, know copies."""
        whole = bool(begun) or self._at_boundary
        stanzas = self._read(piece)
        if whole and len(stanzas) == 1 and self._at_boundary and not self._blind:
            stanza, raw = stanzas[0], begun + piece
            to = stanza.get("to")
            if to and stanza.get("type") == "groupchat":
                self._remember(raw, to.encode())
        return self._sift(stanzas)

    def _remember(self, raw: bytes, to: bytes) -> None:
        head = raw[: raw.find(b">")]
        found = head.find(_TO)
        start = found + len(_TO)
        stop = raw.find(b"'", start)
        # Double quotes may hide single ones; and a value found in the wrong place
        # begins with the blank before the next attribute.
        if found < 0 or b'"' in head or raw[start:stop] != to or to[:1].isspace():
            return
        self._before, self._after = raw[:start], raw[stop:]

    def _parse(self, piece: bytes) -> list[Element]:
        return self._sift(self._read(piece))

    def _read(self, piece: bytes) -> list[Element]:
        """Parse *piece*; comments and the like end all cleverness for good."""
        if not self._blind and self._reader.root is not None:
            seam = self._last + piece[:1]
            self._blind = seam in (b"<!", b"<?") or b"<!" in piece or b"<?" in piece
        stanzas = self._reader.feed(piece)
        self._last = piece[-1:] or self._last
        self._at_boundary = self._reader.depth == 1 and self._last == b">"
        return stanzas

    def _sift(self, stanzas: list[Element]) -> list[Element]:
        kept: list[Element] = []
        for stanza in stanzas:
            if stanza.get("type") == "groupchat" and stanza.tag.endswith("}message"):
                to = stanza.get("to", "")
                self._once = to.startswith(_OURS)
                if not self._wanted(to.encode()):
                    continue
            kept.append(stanza)
        return kept
