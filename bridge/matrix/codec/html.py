"""Reads HTML tag by tag, in linear time whatever it is.

A browser's parser builds a tree, and trees can be made to cost the square of their
size. What is read here is written anew from an allow-list, so nothing depends on
reading broken HTML the way a browser does: it is simply not read.
"""

import html
import re

from bridge.model.markup import Page

TAGS_MAX = 2000
CHARS_MAX = 65_536
"""No Matrix event is longer."""

_TAG = re.compile(
    r"<(?:(/?)([a-zA-Z][^\s/>]{0,31})((?:[^>\"']|\"[^\"]*\"|'[^']*')*+)>"
    r"|!--(?:.*?-->|.*)|[!?/][^>]*>)",
    re.DOTALL,
)
_BEGINS_TAG = re.compile(r"<[a-zA-Z/!?]").match
_ATTRIBUTE = re.compile(
    r"([a-zA-Z][^\s=>/]*)(?:\s*+=\s*+(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+)))?"
)
_REFERENCE = re.compile(
    r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});?"
)
_WITH_ATTRIBUTES = frozenset(("a", "img", "ol"))
_RAW = frozenset(("script", "style"))


def read(source: str, page: Page) -> bool:
    """Give *source* to *page*; return False if it is broken or has too much."""
    if len(source) > CHARS_MAX:
        return False
    place: int | None = 0
    for _ in range(TAGS_MAX):
        if place is None:
            return False
        begin = source.find("<", place)
        if begin < 0:
            page.text(plain(source[place:]))
            return True
        page.text(plain(source[place:begin]))
        place = _tag(source, begin, page)
    return False


def _tag(source: str, begin: int, page: Page) -> int | None:
    """Read what begins with ``<``; return where it ends, None if nowhere."""
    found = _TAG.match(source, begin)
    if found is None:
        if _BEGINS_TAG(source, begin):
            return None
        page.text("<")
        return begin + 1
    slash, name, attributes = found.groups()
    tag = name.lower() if name else ""
    if slash:
        page.end(tag)
    elif tag:
        page.start(tag, _attributes(attributes) if tag in _WITH_ATTRIBUTES else {})
    if tag in _RAW and not slash:
        return _end_of_raw(tag, source, found.end())
    return found.end()


def plain(source: str) -> str:
    """Read character references; those that no character has are left alone."""
    if "&" not in source:
        return source
    return _REFERENCE.sub(lambda found: html.unescape(found[0]), source)


def _attributes(source: str) -> dict[str, str]:
    read_so_far: dict[str, str] = {}
    for name, double, single, bare in _ATTRIBUTE.findall(source):
        read_so_far.setdefault(name.lower(), plain(double or single or bare))
    return read_so_far


def _end_of_raw(tag: str, source: str, place: int) -> int:
    end = re.compile(f"</{tag}", re.IGNORECASE).search(source, place)
    return end.start() if end else len(source)
