import pytest

from bridge.model.markup import DEPTH_MAX, Page, to_web
from bridge.model.text import Link, Mark, RichText

Marked = list[tuple[str, str]]


def page(*tokens: str) -> RichText:
    """Give a page "<tag attribute=value", "</tag" and words."""
    made = Page()
    for token in tokens:
        if token.startswith("</"):
            made.end(token[2:])
        elif token.startswith("<"):
            tag, *pairs = token[1:].split(" ")
            made.start(tag, dict(pair.split("=", 1) for pair in pairs))
        else:
            made.text(token)
    return made.result()


def marked(text: RichText) -> Marked:
    return [
        (span.what.name if isinstance(span.what, Mark) else repr(span.what), words)
        for span in text.spans
        for words in [text.plain[span.start : span.end]]
    ]


@pytest.mark.parametrize(
    ("tokens", "plain", "marks"),
    [
        (["a ", "<b", " b ", "</b", " c"], "a b c", [("STRONG", "b")]),
        (["<em", "a", "<em", "b", "</em", "</em"], "ab", [("EMPHASIS", "ab")]),
        (["<b", "<i", "a", "</b", "b"], "ab", [("STRONG", "a"), ("EMPHASIS", "a")]),
        (["<code", "<b", "a", "</b", "</code"], "a", [("CODE", "a")]),
        (["<del", " ", "</del", "a"], "a", []),
        (["<u", "a", "</u", "</b"], "a", []),
        ([" \n a", "", "\n", "b \t"], "a b", []),
        (["a", "<br", " b ", "<br", "<br", "c", "<br"], "a\nb\n\nc", []),
        (["<p", "a", "</p", "\n", "<p", "b", "</p", "c"], "a\n\nb\nc", []),
        (["<p", "a", "<p", "b"], "a\n\nb", []),
        (["<p", "a", "<br", "</p", "<p", "b"], "a\n\nb", []),
        (["<div", "a", "</div", "<div", "b"], "a\nb", []),
        (["<h1", "a", "</h1", "<p", "b"], "a\n\nb", [("STRONG", "a")]),
        (["a", "<hr", "b"], "a\n\u2014\u2014\u2014\nb", []),
        (["<img alt=:cat:", "<img title=dog", "<img src=x", "<wbr"], ":cat:dog", []),
    ],
)
def test_words_lines_and_marks(tokens: list[str], plain: str, marks: Marked) -> None:
    text = page(*tokens)

    assert (text.plain, marked(text)) == (plain, marks)


@pytest.mark.parametrize(
    ("tokens", "plain"),
    [
        (["a", "<ul", "<li", "b", "</li", "<li", " c", "</ul", "d"], "a\n• b\n• c\nd"),
        (["<ol", "<li", "a", "<li", "b"], "1. a\n2. b"),
        (["<ol start=7", "<li", "a"], "7. a"),
        (["<ol start=-1", "<li", "a"], "1. a"),
        (
            ["<ol", "<li", "a", "<ul", "<li", "b", "</ul", "<li", "c"],
            "1. a\n  • b\n2. c",
        ),
        (["<li", "<p", "a", "</p", "</li"], "• a"),
        (
            [
                "<table",
                "<tr",
                "<td",
                "a",
                "</td",
                "<td",
                " b",
                "</tr",
                "<tr",
                "<td",
                "c",
            ],
            "a | b\nc",
        ),
        (["<tr", "<td", "<p", "a", "</p", "</td", "<td", "b"], "a | b"),
        (["<td", "a", "</td", "<td", "b"], "ab"),
    ],
)
def test_lists_and_tables_are_lines(tokens: list[str], plain: str) -> None:
    assert page(*tokens).plain == plain


def test_code_blocks_keep_their_spaces() -> None:
    text = page("a", "<pre", "<code", "x\n  y", "<br", "z\n", "</code", "</pre", "b")

    assert text.plain == "a\nx\n  y\nz\nb"
    assert marked(text) == [("CODE_BLOCK", "x\n  y\nz")]
    assert page("<pre", "</pre", "a") == RichText("a")
    assert marked(page("<pre", "a")) == [("CODE_BLOCK", "a")]


def test_quotes_are_lines_of_their_own() -> None:
    text = page(
        "<blockquote",
        "<blockquote",
        "a",
        "</blockquote",
        "<p",
        "b",
        "</p",
        "</blockquote",
    )

    assert text.plain == "a\nb"
    assert marked(text) == [("QUOTE", "a\nb"), ("QUOTE", "a")]


def test_no_break_spaces_stand_for_spaces_that_would_have_been_swallowed() -> None:
    assert page("\u00a0a\u00a0\u00a0 b\u00a0c\u00a0").plain == " a   b\u00a0c "


@pytest.mark.parametrize("tag", ["script", "style", "mx-reply", "template", "title"])
def test_some_tags_say_nothing(tag: str) -> None:
    assert page("a", f"<{tag}", "b", "<b", "c", "</b", f"</{tag}", "d") == RichText(
        "ad"
    )
    assert page(f"</{tag}", "a") == RichText("a")


def test_links_lead_to_the_web_only() -> None:
    assert page(
        "<a href=https://x", "a", "</a", "<a href=javascript:x", "b"
    ) == RichText("ab", page("<a href=https://x", "a").spans)
    assert marked(page("<a href=http://x", "<a href=http://y", "a")) == [
        ("Link(url='http://x')", "a")
    ]
    assert to_web("mailto:a@b") == Link("mailto:a@b")


def test_an_address_that_can_be_read_needs_no_link() -> None:
    assert page("<a href=https://x", "https://x", "</a").spans == ()
    assert page("<a href=mailto:a@b", "a@b", "</a").spans == ()


def test_nothing_is_nested_too_deep() -> None:
    text = page(*["<div"] * (DEPTH_MAX - 1), "<b", "a", "<i", "b", "</i", "</b")

    assert marked(text) == [("STRONG", "ab")]


def test_an_empty_page_says_nothing() -> None:
    assert page() == RichText("")
    assert page("<b", " ", "</b", "<p", "</p", " \n") == RichText("")
