from bridge.model.nesting import Branch, Sweep, blocks, nest
from bridge.model.text import Mark, Span


def shape(branches: list[Branch]) -> list[object]:
    return [
        (b.span.start, b.span.end, b.span.what.name, shape(b.within))  # type: ignore[union-attr]
        for b in branches
    ]


def test_spans_within_spans_are_their_branches() -> None:
    spans = [
        Span(4, 6, Mark.CODE),
        Span(0, 8, Mark.STRONG),
        Span(1, 3, Mark.EMPHASIS),
        Span(9, 10, Mark.STRIKE),
    ]

    assert shape(nest(spans)) == [
        (0, 8, "STRONG", [(1, 3, "EMPHASIS", []), (4, 6, "CODE", [])]),
        (9, 10, "STRIKE", []),
    ]


def test_spans_that_cross_are_cut() -> None:
    spans = [Span(0, 4, Mark.STRONG), Span(2, 6, Mark.EMPHASIS)]

    assert shape(nest(spans)) == [
        (0, 4, "STRONG", [(2, 4, "EMPHASIS", [])]),
        (4, 6, "EMPHASIS", []),
    ]


def test_of_the_same_range_blocks_are_outside_and_code_is_inside() -> None:
    marks = [Mark.CODE, Mark.STRONG, Mark.CODE_BLOCK, Mark.QUOTE]
    spans = [Span(0, 1, mark) for mark in marks]

    assert shape(nest(spans)) == [
        (
            0,
            1,
            "QUOTE",
            [(0, 1, "CODE_BLOCK", [(0, 1, "STRONG", [(0, 1, "CODE", [])])])],
        )
    ]
    assert shape(blocks(spans)) == [(0, 1, "QUOTE", [(0, 1, "CODE_BLOCK", [])])]


def test_marks_of_words_are_handed_out_line_by_line() -> None:
    sweep = Sweep(
        [Span(6, 7, Mark.CODE), Span(1, 9, Mark.STRONG), Span(0, 9, Mark.QUOTE)]
    )

    assert sweep.take(0, 1) == []
    assert sweep.take(1, 4) == [Span(1, 4, Mark.STRONG)]
    assert sweep.take(5, 8) == [Span(5, 8, Mark.STRONG), Span(6, 7, Mark.CODE)]
    assert sweep.take(8, 12) == [Span(8, 9, Mark.STRONG)]
    assert sweep.take(12, 13) == []
