"""Formatted text as a Matrix body and, if it bears marks, ``formatted_body``."""

import html
import re
from collections.abc import Iterable
from urllib.parse import quote

from bridge.matrix.codec.html import read
from bridge.matrix.codec.names import typed_address, valid_mxid
from bridge.model.markup import Page, to_web
from bridge.model.nesting import Branch, Sweep, blocks, nest
from bridge.model.text import Link, Mark, Mention, RichText

_TAGS = {
    Mark.STRONG: "strong",
    Mark.EMPHASIS: "em",
    Mark.STRIKE: "del",
    Mark.CODE: "code",
}
# HTML swallows spaces at the ends of lines, and all but one of several.
_SWALLOWED = re.compile(r"^ | (?= )| $", re.MULTILINE)
_FALLBACK = re.compile(r"> (?:\* )?<@[^\n>]+>[^\n]*(?:\n>[^\n]*)*(?:\n\n?|$)")


def decode(body: str, formatted: str | None = None) -> RichText:
    """Read a message: *formatted* if it says anything, else *body*."""
    if formatted is None:
        return RichText(clean(body))
    page = Page(_target)
    if read(clean(formatted), page) and (text := page.result()).plain.strip():
        return text
    return RichText(clean(body))


def clean(text: str) -> str:
    """Return *text* with lines that end in LF and without lone surrogates."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return re.sub("[\ud800-\udfff]", "\ufffd", text)
    return text


def without_fallback(body: str) -> str:
    """Return the *body* of a reply without the quote that names its author.

    Spec v1.12 and before, "fallbacks for rich replies".
    """
    found = _FALLBACK.match(body)
    return body[found.end() :] if found else body


def encode(text: RichText) -> tuple[str, str | None]:
    """Write *text* as ``body`` and ``formatted_body``; None if it bears no marks."""
    if not text.spans:
        return text.plain, None
    return text.plain, _Writer(text).write()


def _target(url: str) -> Link | Mention | None:
    link = to_web(url)
    address = typed_address(link.url) if link else None
    return Mention(address.name) if address and valid_mxid(address.name) else link


class _Writer:
    """Writes a text as HTML: blocks first, the words between them with their marks."""

    def __init__(self, text: RichText) -> None:
        self._plain = text.plain
        self._shown = _SWALLOWED.sub("\u00a0", text.plain)
        self._blocks = blocks(text.spans)
        self._spans = Sweep(text.spans)
        self._out: list[str] = []

    def write(self) -> str:
        """Return the whole text."""
        self._lines(self._blocks, 0, len(self._plain))
        return "".join(self._out)

    def _lines(self, branches: list[Branch], start: int, end: int) -> None:
        place = start
        for branch in branches:
            span = branch.span
            self._words(place, self._line_end(place, span.start))
            if span.what is Mark.QUOTE:
                self._out.append("<blockquote>")
                self._lines(branch.within, span.start, span.end)
                self._out.append("</blockquote>")
            else:
                code = html.escape(self._plain[span.start : span.end])
                self._out.append(f"<pre><code>{code}\n</code></pre>")
            # A block ends its line: the line break after it is not written.
            place = span.end + self._plain.startswith("\n", span.end, end)
        self._words(place, end)

    def _line_end(self, place: int, start: int) -> int:
        """Return where the words before a block end, which begins a line itself."""
        words = self._plain[max(place, start - 2) : start]
        return start - 1 if len(words.rstrip("\n")) == 1 < len(words) else start

    def _words(self, start: int, end: int) -> None:
        self._marked(nest(self._spans.take(start, end)), start, end)

    def _marked(self, branches: Iterable[Branch], start: int, end: int) -> None:
        place = start
        for branch in branches:
            span = branch.span
            self._plainly(place, span.start)
            opening, closing = _tags(span.what)
            self._out.append(opening)
            self._marked(branch.within, span.start, span.end)
            self._out.append(closing)
            place = span.end
        self._plainly(place, end)

    def _plainly(self, start: int, end: int) -> None:
        if start < end:
            shown = html.escape(self._shown[start:end])
            self._out.append(shown.replace("\n", "<br>"))


def _tags(what: Mark | Link | Mention) -> tuple[str, str]:
    match what:
        case Link(url):
            return f'<a href="{html.escape(url)}">', "</a>"
        case Mention(address) if valid_mxid(address):
            path = quote(address, safe="@:")
            return f'<a href="https://matrix.to/#/{path}">', "</a>"
        case Mention():
            return "", ""
        case _:
            return f"<{_TAGS[what]}>", f"</{_TAGS[what]}>"
