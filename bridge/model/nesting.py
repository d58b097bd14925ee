"""Spans as a tree, for writing them in a language that nests."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from bridge.model.text import BLOCKS, Link, Mark, Mention, Span


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


def inline(spans: Iterable[Span]) -> list[Span]:
    """Return those of *spans* that mark words, by where they start."""
    return sorted(
        (span for span in spans if span.what not in BLOCKS),
        key=lambda span: (span.start, -span.end),
    )


def _place(span: Span, number: int) -> tuple[int, int, int, int, Span]:
    what: Mark | Link | Mention = span.what
    rank = BLOCKS.index(what) if what in BLOCKS else len(BLOCKS)
    return span.start, -span.end, rank, number, span
