"""Reads markup of the HTML family into formatted text, tag by tag.

Both networks have a subset of HTML (Matrix's ``formatted_body``, XEP-0071). Only what
is known here is kept: of all other tags the text, of attributes a link's target, a
picture's words and a list's first number.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bridge.model.text import Link, Mark, Mention, RichText, Span, safe_url

DEPTH_MAX = 100

_SPACES = re.compile(r"[ \t\n\f\r]+")
_NBSP = "\u00a0"
_NBSPS = re.compile(f"{_NBSP}++")
_NUMBER = re.compile(r"[0-9]{1,9}").fullmatch

_MARKS: Final[Mapping[str, Mark]] = {
    "b": Mark.STRONG,
    "strong": Mark.STRONG,
    "i": Mark.EMPHASIS,
    "em": Mark.EMPHASIS,
    "del": Mark.STRIKE,
    "s": Mark.STRIKE,
    "strike": Mark.STRIKE,
    "code": Mark.CODE,
    "tt": Mark.CODE,
    "blockquote": Mark.QUOTE,
    "pre": Mark.CODE_BLOCK,
} | dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6"), Mark.STRONG)
_PARAGRAPHS = frozenset(("p", "h1", "h2", "h3", "h4", "h5", "h6"))
_LINES = _PARAGRAPHS.union(
    ("div", "ul", "ol", "li", "dl", "dt", "dd", "blockquote", "pre"),
    ("table", "caption", "tr", "details", "summary"),
)
_SILENT = frozenset(("mx-reply", "script", "style", "template", "title"))
_EMPTY = frozenset(("br", "hr", "img", "wbr", "input", "col", "source"))
_SELF_CLOSING = frozenset(("p", "li", "tr", "td", "th", "dt", "dd"))

Target = Callable[[str], Link | Mention | None]
"""Reads what a link leads to; None if it may not be a link."""


def to_web(url: str) -> Link | None:
    """Read a link's target as the web address it is."""
    safe = safe_url(url)
    return Link(safe) if safe else None


@dataclass(slots=True)
class _Open:
    """A tag not yet closed; *number* is that of its next item or cell."""

    tag: str
    what: Mark | Link | Mention | None
    start: int
    number: int = 0


class Page:
    """A text in the making."""

    def __init__(self, target: Target = to_web) -> None:
        self._target = target
        self._out: list[str] = []
        self._length = 0
        self._spans: list[Span] = []
        self._open: list[_Open] = []
        self._silent = 0
        self._pre: _Open | None = None
        self._newlines = 0
        self._space = False
        self._at_start = True
        self._after_paragraph = False

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Take a start tag."""
        if tag in _SILENT:
            self._silent += 1
        if self._silent:
            return
        if tag in _EMPTY:
            self._empty(tag, attributes)
        elif self._pre is None:
            self._element(tag, attributes)

    def end(self, tag: str) -> None:
        """Take an end tag; one that nothing began says nothing."""
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        elif not self._silent and (self._pre is None or tag == "pre"):
            for depth in range(len(self._open) - 1, -1, -1):
                if self._open[depth].tag == tag:
                    self._close(depth)
                    break

    def text(self, words: str) -> None:
        """Take text; outside of code blocks any white space counts as one space."""
        if self._silent or not words:
            return
        if self._pre is not None:
            self._write(words)
            return
        shown = _SPACES.sub(" ", words)
        if shown[0] == " ":
            self._space = not (self._at_start or self._out[-1] == " ")
            shown = shown[1:]
        if shown:
            self._flush()
            self._write(shown.rstrip(" "))
            self._space = shown[-1] == " "

    def result(self) -> RichText:
        """Return what was taken."""
        self._close(0)
        plain = "".join(self._out).rstrip(" \n")
        spans = sorted(
            filter(None, (_trimmed(span, plain) for span in reversed(self._spans))),
            key=lambda span: (span.start, -span.end),
        )
        if _NBSP in plain:
            plain = _NBSPS.sub(_kept_spaces, plain)
        return RichText(plain, tuple(spans))

    def _empty(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "br":
            self._flush_lines()
            self._write("\n")
        elif tag == "hr":
            self._break(1)
            self.text("\u2014\u2014\u2014")
            self._break(1)
        elif tag == "img":
            self.text(attributes.get("alt") or attributes.get("title") or "")

    def _element(self, tag: str, attributes: Mapping[str, str]) -> None:
        if self._open and self._open[-1].tag == tag and tag in _SELF_CLOSING:
            self._close(len(self._open) - 1)
        if len(self._open) >= DEPTH_MAX:
            return
        if tag in _LINES:
            close_by = self._newlines > 0 and self._after_paragraph
            self._break(2 if close_by and tag in _PARAGRAPHS else 1)
        opened = _Open(tag, self._what(tag, attributes), self._length)
        if tag in ("li", "td", "th"):
            self._item(tag)
        elif tag == "pre":
            self._flush_lines()
            opened.start, self._pre = self._length, opened
        elif tag == "ol":
            first = attributes.get("start", "")
            opened.number = int(first) if _NUMBER(first) else 1
        elif opened.what is not None and tag not in _LINES and self._space:
            self._flush()
            opened.start = self._length
        self._open.append(opened)

    def _what(
        self, tag: str, attributes: Mapping[str, str]
    ) -> Mark | Link | Mention | None:
        what: Mark | Link | Mention | None = _MARKS.get(tag)
        if tag == "a":
            what = self._target(attributes.get("href", ""))
            if any(isinstance(o.what, (Link, Mention)) for o in self._open):
                return None
        # What is marked so already, or is code, gains nothing by another mark.
        if what not in (None, Mark.QUOTE) and any(
            o.what is what or o.what is Mark.CODE for o in self._open
        ):
            return None
        return what

    def _item(self, tag: str) -> None:
        """Write what comes before an item of a list or a cell of a table."""
        if tag == "li":
            lists = [o for o in self._open if o.tag in ("ul", "ol")]
            marker = "\u2022 "
            if lists and lists[-1].tag == "ol":
                marker = f"{lists[-1].number}. "
                lists[-1].number += 1
            self._flush_lines()
            self._write("  " * (len(lists) - 1) + marker)
            self._at_start = True
            return
        rows = [o for o in self._open if o.tag == "tr"]
        if rows and rows[-1].number:
            self._write(" | ")
            self._newlines, self._space, self._at_start = 0, False, True
        if rows:
            rows[-1].number += 1

    def _close(self, depth: int) -> None:
        """Close the tag at *depth*, and those within it."""
        while len(self._open) > depth:
            closed = self._open.pop()
            if closed is self._pre:
                self._end_of_code(closed.start)
            if closed.what is not None and closed.start < self._length:
                self._spans.append(Span(closed.start, self._length, closed.what))
            if closed.tag in _LINES:
                self._break(1)
                self._after_paragraph = closed.tag in _PARAGRAPHS

    def _end_of_code(self, start: int) -> None:
        """Take the last line break out of the code block that began at *start*."""
        self._pre = None
        if self._at_start and self._length > start:
            self._out[-1] = self._out[-1][:-1]
            self._length -= 1
            self._at_start = self._length == start or self._out[-1].endswith("\n")

    def _break(self, newlines: int) -> None:
        """See to it that what comes next begins on a line of its own."""
        self._newlines = max(self._newlines, newlines)
        self._space = False

    def _flush(self) -> None:
        self._flush_lines()
        if self._space and not self._at_start:
            self._write(" ")
        self._space = False

    def _flush_lines(self) -> None:
        missing = self._newlines - self._at_start
        self._newlines = 0
        self._after_paragraph = False
        if self._length and missing > 0:
            self._write("\n" * missing)

    def _write(self, words: str) -> None:
        self._out.append(words)
        self._length += len(words)
        self._at_start = words[-1] == "\n"
        if self._at_start:
            self._space = False


def _trimmed(span: Span, plain: str) -> Span | None:
    start, end = span.start, min(span.end, len(plain))
    if span.what is not Mark.CODE_BLOCK:
        blank = "\n" if span.what is Mark.QUOTE else " \n"
        words = plain[start:end].lstrip(blank)
        start, end = end - len(words), end - len(words) + len(words.rstrip(blank))
    if isinstance(span.what, Link):
        shown = plain[start:end]
        if span.what.url.removeprefix("mailto:") == shown:
            return None  # readers make a link of it themselves
    return Span(start, end, span.what) if start < end else None


def _kept_spaces(found: re.Match[str]) -> str:
    """Read no-break spaces as plain ones where those would have been swallowed."""
    around = (
        found.string[found.start() - 1 : found.start()],
        found.string[found.end() : found.end() + 1],
    )
    swallowed = any(char in ("", " ", "\n") for char in around)
    return " " * len(found[0]) if swallowed else found[0]
