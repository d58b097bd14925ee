"""Spans as a tree, for writing them in a language that nests."""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from bridge.model.text import BLOCKS, Link, Mark, Mention, Span

# Which of two marks of the same range is around the other; nothing is in code.
_RANKS: Final[Mapping[Mark | Link | Mention, int]] = {
    Mark.QUOTE: 0,
    Mark.CODE_BLOCK: 1,
    Mark.CODE: 3,
}


@dataclass(slots=True)
class Branch:
    """A span and those within it, in order."""

    span: Span
    within: list["Branch"] = field(default_factory=list)


def nest(spans: Iterable[Span]) -> list[Branch]:
    """Arrange *spans* as trees; one that crosses the end of another is cut there."""
    waiting = [_place(span, number) for number, span in enumerate(spans)]
    heapq.heapify(waiting)
    roots: list[Branch] = []
    path: list[Branch] = []
    while waiting:
        *_, number, span = heapq.heappop(waiting)
        while path and path[-1].span.end <= span.start:
            path.pop()
        if path and span.end > (end := path[-1].span.end):
            heapq.heappush(waiting, _place(Span(end, span.end, span.what), number))
            span = Span(span.start, end, span.what)
        branch = Branch(span)
        (path[-1].within if path else roots).append(branch)
        path.append(branch)
    return roots


def blocks(spans: Iterable[Span]) -> list[Branch]:
    """Arrange the quotes and code blocks among *spans* as trees."""
    return nest(span for span in spans if span.what in BLOCKS)


class Sweep:
    """The spans that mark words, handed out piece by piece from start to end."""

    def __init__(self, spans: Iterable[Span]) -> None:
        words = (span for span in spans if span.what not in BLOCKS)
        self._spans = sorted(words, key=lambda span: (span.start, -span.end))
        self._next = 0
        self._begun: list[Span] = []

    def take(self, start: int, end: int) -> list[Span]:
        """Return what lies between *start* and *end*, cut to it."""
        if start >= end:
            return []
        spans, at = self._spans, self._next
        while at < len(spans) and spans[at].start < end:
            self._begun.append(spans[at])
            at += 1
        self._next = at
        taken = [
            Span(max(span.start, start), min(span.end, end), span.what)
            for span in self._begun
            if span.end > start
        ]
        self._begun = [span for span in self._begun if span.end > end]
        return taken


def _place(span: Span, number: int) -> tuple[int, int, int, int, Span]:
    return span.start, -span.end, _RANKS.get(span.what, 2), number, span
