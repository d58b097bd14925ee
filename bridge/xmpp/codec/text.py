"""Formatted text as the body of a stanza, with XEP-0393 styling.

A receiver reads every body as styled, unless it is told not to. So what would look
like styling although it is none makes the whole body ``<unstyled/>`` (§5): its quotes
and code are then still readable as such, single words lose their marks.
"""

from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import NamedTuple

from bridge.model.nesting import Branch, Sweep, blocks, nest
from bridge.model.text import BLOCKS, Link, Mark, RichText, Span
from bridge.xmpp.codec.styling import (
    FENCE,
    MARKS,
    QUOTES_MAX,
    decode,
    decode_line,
    looks_plain,
)

_SIGNS = {mark: sign for sign, mark in MARKS.items()}


class Body(NamedTuple):
    """A stanza's body; *styled* is False if it must not be read as XEP-0393."""

    text: str
    styled: bool = True


def decode_styling(body: str) -> RichText:
    """Read *body* as XEP-0393 says; a body that is ``<unstyled/>`` is only text."""
    return decode(body)


def encode(text: RichText) -> Body:
    """Write *text* as a body."""
    if not text.spans:
        plain = text.plain
        return Body(plain, looks_plain(plain) or not decode(plain).spans)
    spelled = spell_links(text)
    writer = _Writer(spelled, marked=True)
    body = writer.write()
    if writer.sound:
        return Body(body)
    return Body(_Writer(spelled, marked=False).write(), styled=False)


def spell_links(text: RichText) -> RichText:
    """Write the address of each link after its words; who is meant needs no mark."""
    marks = [span for span in text.spans if isinstance(span.what, Mark)]
    links = sorted(
        (span.end, f" <{span.what.url}>")
        for span in text.spans
        if isinstance(span.what, Link)
    )
    ends = [end for end, _ in links]
    added = [0, *accumulate(len(address) for _, address in links)]
    pieces: list[str] = []
    for start, (end, address) in zip([0, *ends], links, strict=False):
        pieces += text.plain[start:end], address
    pieces.append(text.plain[ends[-1] if ends else 0 :])
    moved = tuple(
        Span(
            span.start + added[bisect_right(ends, span.start)],
            span.end + added[_reach(span, ends)],
            span.what,
        )
        for span in marks
    )
    return RichText("".join(pieces), moved)


def _reach(span: Span, ends: list[int]) -> int:
    """Return how many addresses come before the end of *span*.

    A block has the address at its end within it, other marks do not.
    """
    bisect = bisect_right if span.what in BLOCKS else bisect_left
    return bisect(ends, span.end)


class _Writer:
    """Writes a text line by line; *sound* tells whether it can be read back."""

    def __init__(self, text: RichText, *, marked: bool) -> None:
        self.sound = True
        self._plain = text.plain
        self._blocks = blocks(text.spans)
        self._spans = Sweep(text.spans if marked else ())
        self._quotes = 0

    def write(self) -> str:
        """Return the whole body."""
        return "\n".join(self._lines(self._blocks, 0, len(self._plain)))

    def _lines(self, branches: list[Branch], start: int, end: int) -> list[str]:
        lines: list[str] = []
        place, begun = start, True
        for branch in branches:
            span = branch.span
            if span.start > place:
                line_ends = self._plain[span.start - 1] == "\n"
                lines += self._words(place, span.start - line_ends)
            lines += self._block(branch)
            begun = self._plain.startswith("\n", span.end, end)
            place = span.end + begun
        if begun or place < end:
            lines += self._words(place, end)
        return lines

    def _block(self, branch: Branch) -> list[str]:
        span = branch.span
        if span.what is Mark.QUOTE:
            return self._quote(branch)
        code = self._plain[span.start : span.end].split("\n")
        self.sound = self.sound and FENCE not in code
        return [FENCE, *code, FENCE] if any(code) else code

    def _quote(self, branch: Branch) -> list[str]:
        self._quotes += 1
        lines = self._lines(branch.within, branch.span.start, branch.span.end)
        self._quotes -= 1
        if self._quotes >= QUOTES_MAX or not any(lines):
            return lines
        return [f"> {line}" if line else ">" for line in lines]

    def _words(self, start: int, end: int) -> list[str]:
        lines: list[str] = []
        for line in self._plain[start:end].split("\n"):
            lines.append(self._line(line, start))
            start += len(line) + 1
        return lines

    def _line(self, line: str, start: int) -> str:
        if not self.sound:
            return line  # it will all be written once more, without marks
        spans = self._spans.take(start, start + len(line))
        if spans and (styled := _styled(line, spans, start)):
            return styled
        looks_styled = _begins_block(line) or decode_line(line).spans
        self.sound = not looks_styled
        return line


def _styled(line: str, spans: list[Span], start: int) -> str | None:
    """Write a line with its marks; None if they would not be read as they are meant."""
    pieces: list[str] = []
    kept: set[Span] = set()
    trimmed = (_trimmed(line, span, start) for span in spans)
    _directives(line, nest(filter(None, trimmed)), (0, len(line), ""), pieces, kept)
    styled = "".join(pieces)
    read = decode_line(styled)
    if _begins_block(styled) or read.plain != line or set(read.spans) != kept:
        return None
    return styled


def _trimmed(line: str, span: Span, by: int) -> Span | None:
    words = line[span.start - by : span.end - by]
    start = span.end - by - len(words.lstrip())
    end = span.start - by + len(words.rstrip())
    return Span(start, end, span.what) if start < end else None


def _directives(
    line: str,
    branches: list[Branch],
    around: tuple[int, int, str],
    pieces: list[str],
    kept: set[Span],
) -> None:
    """Write the part of *line* that is *around*: from, to and within which sign."""
    place, end, outer = around
    begin = place
    for branch in branches:
        span = branch.span
        pieces.append(line[place : span.start])
        sign = _SIGNS.get(span.what, "") if isinstance(span.what, Mark) else ""
        words = line[span.start : span.end]
        opens = span.start == begin and sign != outer
        if sign in words or not (opens or line[span.start - 1 : span.start].isspace()):
            sign = ""
        pieces.append(sign)
        if sign:
            kept.add(span)
        within = [] if sign == _SIGNS[Mark.CODE] else branch.within
        _directives(line, within, (span.start, span.end, sign or outer), pieces, kept)
        pieces.append(sign)
        place = span.end
    pieces.append(line[place:end])


def _begins_block(line: str) -> bool:
    return line.startswith((">", FENCE))
