import pytest

from bridge.matrix.codec.text import clean, decode, encode, without_fallback
from bridge.model.text import Link, Mark, Mention, RichText, Span


def test_a_plain_body_is_plain() -> None:
    assert decode("a\r\nb\rc <b>") == RichText("a\nb\nc <b>")
    assert encode(RichText("a <b>")) == ("a <b>", None)


@pytest.mark.parametrize("formatted", ["", " <p> </p> ", "<a href='x", "<b>" * 3000])
def test_the_body_counts_if_the_html_says_nothing(formatted: str) -> None:
    assert decode("body", formatted) == RichText("body")


def test_lone_surrogates_are_replaced() -> None:
    assert clean("é\ud800x") == "é\ufffdx"
    assert clean("é") == "é"


@pytest.mark.parametrize(
    ("href", "what"),
    [
        ("https://matrix.to/#/@alice:hs", Mention("@alice:hs")),
        ("https://matrix.to/#/%40alice%3Ahs", Mention("@alice:hs")),
        ("matrix:u/alice:hs", Mention("@alice:hs")),
        ("https://matrix.to/#/%23room:hs", Link("https://matrix.to/#/%23room:hs")),
        ("https://matrix.to/", Link("https://matrix.to/")),
    ],
)
def test_links_to_people_are_mentions(href: str, what: Link | Mention) -> None:
    assert decode("", f'<a href="{href}">Al</a>') == RichText("Al", (Span(0, 2, what),))


@pytest.mark.parametrize(
    ("body", "rest"),
    [
        ("> <@a:hs> hi\n> there\n\nanswer", "answer"),
        ("> * <@a:hs> hi\n\nanswer", "answer"),
        ("> <@a:hs> hi\nanswer", "answer"),
        ("> <@a:hs> hi", ""),
        ("> hi\n\nanswer", "> hi\n\nanswer"),
        ("answer", "answer"),
    ],
)
def test_the_quote_before_a_reply_is_left_out(body: str, rest: str) -> None:
    assert without_fallback(body) == rest


@pytest.mark.parametrize(
    ("text", "html"),
    [
        (RichText("a<b", (Span(0, 1, Mark.STRONG),)), "<strong>a</strong>&lt;b"),
        (RichText("a\nb", (Span(0, 3, Mark.EMPHASIS),)), "<em>a<br>b</em>"),
        (
            RichText("ab", (Span(0, 2, Mark.STRIKE), Span(1, 2, Mark.CODE))),
            "<del>a<code>b</code></del>",
        ),
        (
            RichText("a\n\nq\nb", (Span(3, 4, Mark.QUOTE),)),
            "a<br><br><blockquote>q</blockquote>b",
        ),
        (
            RichText("\nq\n\nr", (Span(1, 2, Mark.QUOTE), Span(4, 5, Mark.QUOTE))),
            "<br><blockquote>q</blockquote><br><blockquote>r</blockquote>",
        ),
        (
            RichText("a\n<\n  b", (Span(2, 7, Mark.CODE_BLOCK),)),
            "a<pre><code>&lt;\n  b\n</code></pre>",
        ),
        (
            RichText("q1\nc", (Span(0, 4, Mark.QUOTE), Span(3, 4, Mark.CODE_BLOCK))),
            "<blockquote>q1<pre><code>c\n</code></pre></blockquote>",
        ),
        (
            RichText("a\nq\nx", (Span(0, 3, Mark.STRONG), Span(2, 3, Mark.QUOTE))),
            "<strong>a</strong><blockquote><strong>q</strong></blockquote>x",
        ),
        (
            RichText("  a   b ", (Span(2, 3, Mark.STRONG),)),
            "\u00a0 <strong>a</strong>\u00a0\u00a0 b\u00a0",
        ),
        (
            RichText("l", (Span(0, 1, Link('https://x/"&')),)),
            '<a href="https://x/&quot;&amp;">l</a>',
        ),
        (
            RichText("Al", (Span(0, 2, Mention("@a/b:hs")),)),
            '<a href="https://matrix.to/#/@a%2Fb:hs">Al</a>',
        ),
        (RichText("Al", (Span(0, 2, Mention("juliet@capulet.lit")),)), "Al"),
    ],
)
def test_marks_are_written_as_html(text: RichText, html: str) -> None:
    assert encode(text) == (text.plain, html)
