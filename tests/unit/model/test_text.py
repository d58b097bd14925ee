import pytest

from bridge.model.text import (
    Link,
    Mark,
    RichText,
    Span,
    cut,
    prefixed,
    safe_url,
    split,
    utf8_bytes,
)

STRONG = Mark.STRONG


@pytest.mark.parametrize(("start", "end"), [(-1, 1), (1, 1), (2, 1)])
def test_a_span_has_a_length(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="span"):
        Span(start, end, STRONG)


def test_a_span_ends_with_the_text() -> None:
    assert RichText("ab", (Span(0, 2, STRONG),)).spans

    with pytest.raises(ValueError, match="past the end"):
        RichText("ab", (Span(0, 3, STRONG),))


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("https://example.org/a?b#c", "https://example.org/a?b#c"),
        (" HTTP://x ", "HTTP://x"),
        ("mailto:a@b", "mailto:a@b"),
        ("xmpp:room@muc?join", "xmpp:room@muc?join"),
        ("matrix:u/a:hs", "matrix:u/a:hs"),
        ('https://x/<">', "https://x/%3C%22%3E"),
        ("javascript:alert(1)", None),
        ("java\nscript:alert(1)", None),
        ("data:text/html,x", None),
        ("//x", None),
        ("https:", None),
        ("https://a b", None),
        ("https://a\x00b", None),
        ("https://" + "x" * 5000, None),
    ],
)
def test_only_some_addresses_may_be_links(given: str, safe: str | None) -> None:
    assert safe_url(given) == safe


def test_a_piece_keeps_the_marks_on_it() -> None:
    text = RichText("one two", (Span(0, 3, STRONG), Span(2, 7, Link("u"))))

    assert cut(text, 2, 5) == RichText(
        "e t", (Span(0, 1, STRONG), Span(0, 3, Link("u")))
    )
    assert cut(text, 3, 4) == RichText(" ", (Span(0, 1, Link("u")),))
    assert prefixed("> ", cut(text, 0, 1)) == RichText("> o", (Span(2, 3, STRONG),))


def test_what_fits_is_not_cut() -> None:
    text = RichText("é" * 5)

    assert split(text, 10) == (text,)
    assert utf8_bytes(text.plain) == 10


@pytest.mark.parametrize(
    ("plain", "parts"),
    [
        ("aaaa\nbbbb\ncccc", ["aaaa\nbbbb\n", "cccc"]),
        ("aaaa bbbb cccc", ["aaaa bbbb ", "cccc"]),
        ("a\nbbbbbbbbbbbbb", ["a\nbbbbbbbb", "bbbbb"]),
        ("x" * 25, ["x" * 10, "x" * 10, "xxxxx"]),
        ("é" * 6, ["é" * 5, "é"]),
        ("aaaaaaaaae\u0301b", ["aaaaaaaaa", "e\u0301b"]),
        (
            "aaaaa\U0001f468\u200d\U0001f469",
            ["aaaaa", "\U0001f468\u200d", "\U0001f469"],
        ),
        ("\u0301" * 6, ["\u0301" * 5, "\u0301"]),
    ],
)
def test_it_is_cut_after_a_line_else_a_word_else_anywhere(
    plain: str, parts: list[str]
) -> None:
    assert [part.plain for part in split(RichText(plain), 10)] == parts


def test_a_part_has_at_least_one_character() -> None:
    assert [part.plain for part in split(RichText("\U0001f600é"), 1)] == [
        "\U0001f600",
        "é",
    ]


def test_marks_go_on_in_the_next_part() -> None:
    first, second = split(RichText("x" * 12, (Span(8, 12, STRONG),)), 10)

    assert first.spans == (Span(8, 10, STRONG),)
    assert second.spans == (Span(0, 2, STRONG),)
