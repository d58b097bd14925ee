"""Reads XEP-0393, Message Styling, into formatted text.

The directives do not become part of the text. Where a block would be left without any
text, what was written stays as it is: nothing that somebody wrote is lost.
"""

import re
from dataclasses import dataclass, field

from bridge.model.text import Mark, RichText, Span

SPANS_MAX = 2000
QUOTES_MAX = 20

FENCE = "```"
MARKS = {
    "*": Mark.STRONG,
    "_": Mark.EMPHASIS,
    "~": Mark.STRIKE,
    "`": Mark.CODE,
}
# §6.2: at the start or after white space or another directive, before neither white
# space nor itself.
_OPENING = re.compile(r"(?<![^\s*_~`])([*_~`])(?!\1)(?=\S)")
_CLOSING = {sign: re.compile(rf"(?<=\S){re.escape(sign)}") for sign in MARKS}
_PERHAPS = re.compile(r"^>|(?:^|[\s*_~`])[*_~`]\S", re.MULTILINE).search
# The rest of a fence's line is ignored (§6.1.2) if it may be the name of a language.
_LANGUAGE = re.compile(r"[ \t]*[A-Za-z0-9+#._-]{0,32}[ \t]*").fullmatch


def decode(body: str) -> RichText:
    """Read *body* as XEP-0393 says."""
    if looks_plain(body):
        return RichText(body)
    return _Reading().read(body)


def looks_plain(body: str) -> bool:
    """Tell, fast, that there surely is no styling in *body*."""
    if "*" in body or "_" in body or "~" in body or "`" in body or ">" in body:
        return not _PERHAPS(body)
    return True


def decode_line(line: str) -> RichText:
    """Read a plain block (§6.1.1): one line, in which there are only spans."""
    reading = _Reading()
    reading.line(line)
    return reading.result()


@dataclass(slots=True)
class _Reading:
    """A text being read: *out* joined is what there is of it so far."""

    out: list[str] = field(default_factory=list)
    length: int = 0
    spans: list[Span] = field(default_factory=list)

    def read(self, body: str) -> RichText:
        """Read all of it."""
        self.blocks(body.split("\n"), 0)
        return self.result()

    def result(self) -> RichText:
        """Return what was read, marks that begin first and reach far first."""
        self.spans.reverse()  # they were found from within
        self.spans.sort(key=lambda span: (span.start, -span.end))
        return RichText("".join(self.out), tuple(self.spans))

    def blocks(self, lines: list[str], depth: int) -> None:
        """Read the blocks that *lines* make up (§6.1)."""
        place = 0
        while place < len(lines):
            if place:
                self.write("\n")
            line = lines[place]
            if line.startswith(FENCE):
                place = self.fenced(lines, place)
            elif line.startswith(">") and depth < QUOTES_MAX:
                place = self.quoted(lines, place, depth)
            else:
                self.line(line)
                place += 1

    def fenced(self, lines: list[str], place: int) -> int:
        """Read a preformatted block (§6.1.2); return where it ends."""
        end = place + 1
        while end < len(lines) and lines[end] != FENCE:
            end += 1
        code = lines[place + 1 : end]
        title = lines[place][len(FENCE) :]
        after = min(end + 1, len(lines))
        if not any(code):
            self.write("\n".join(lines[place:after]))
            return after
        if not _LANGUAGE(title):
            code.insert(0, title)
        start = self.length
        self.write("\n".join(code))
        self.mark(start, Mark.CODE_BLOCK)
        return after

    def quoted(self, lines: list[str], place: int, depth: int) -> int:
        """Read a quotation (§6.1.3); return where it ends."""
        end = place
        while end < len(lines) and lines[end].startswith(">"):
            end += 1
        inner = [_unquoted(line) for line in lines[place:end]]
        if not any(inner):
            self.write("\n".join(lines[place:end]))
            return end
        start = self.length
        self.blocks(inner, depth + 1)
        self.mark(start, Mark.QUOTE)
        return end

    def line(self, line: str) -> None:
        """Read a plain block (§6.1.1)."""
        if len(self.spans) < SPANS_MAX and _PERHAPS(line):
            self.words(line, 0, len(line), "")
        else:
            self.write(line)

    def words(self, line: str, start: int, end: int, outer: str) -> None:
        """Read the spans from *start* to *end* (§6.2), which *outer* encloses."""
        place = written = start
        hopeless: set[str] = set()
        while found := _OPENING.search(line, place, end):
            begin, sign = found.start(), found[1]
            place = begin + 1
            if sign in hopeless or not _may_open(line, begin, start, outer):
                continue
            closing = _CLOSING[sign].search(line, begin + 2, end)
            if closing is None or len(self.spans) >= SPANS_MAX:
                hopeless.add(sign)  # none further on will be closed either
                continue
            self.write(line[written:begin])
            self.enclosed(line, begin + 1, closing.start(), sign)
            place = written = closing.end()
        self.write(line[written:end])

    def enclosed(self, line: str, start: int, end: int, sign: str) -> None:
        """Read what two directives enclose; in code there are none."""
        begin = self.length
        if sign == "`":
            self.write(line[start:end])
        else:
            self.words(line, start, end, sign)
        self.mark(begin, MARKS[sign])

    def write(self, words: str) -> None:
        """Add to the text."""
        self.out.append(words)
        self.length += len(words)

    def mark(self, start: int, what: Mark) -> None:
        """Mark what was written since *start*, which is something."""
        self.spans.append(Span(start, self.length, what))


def _may_open(line: str, begin: int, start: int, outer: str) -> bool:
    if begin == start:
        return line[begin] != outer
    return line[begin - 1].isspace()


def _unquoted(line: str) -> str:
    return line[2:] if line[1:2].isspace() else line[1:]
