import pytest

from bridge.model.text import Link, Mark, Mention, RichText, Span
from bridge.xmpp.codec.text import Body, decode_styling, encode, spell_links

STRONG, EMPHASIS, CODE = Mark.STRONG, Mark.EMPHASIS, Mark.CODE
QUOTE, BLOCK = Mark.QUOTE, Mark.CODE_BLOCK


def rich(plain: str, *spans: tuple[int, int, Mark | Link | Mention]) -> RichText:
    return RichText(plain, tuple(Span(*span) for span in spans))


@pytest.mark.parametrize(
    ("text", "body"),
    [
        (rich("plain"), "plain"),
        (rich("a b", (0, 1, STRONG), (2, 3, EMPHASIS)), "*a* _b_"),
        (rich("a", (0, 1, STRONG), (0, 1, CODE)), "*`a`*"),
        (rich("ab c", (0, 4, STRONG), (0, 2, EMPHASIS)), "*_ab_ c*"),
        (rich("a\nb", (0, 3, STRONG)), "*a*\n*b*"),
        (rich(" a ", (0, 3, STRONG)), " *a* "),
        (rich("a b", (0, 1, CODE), (0, 1, STRONG)), "*`a`* b"),
        (rich("a*b", (0, 1, CODE)), "`a`*b"),
        (rich("a\nq\nb", (2, 3, QUOTE)), "a\n> q\nb"),
        (rich("q\n\nr", (0, 4, QUOTE)), "> q\n>\n> r"),
        (rich("q", (0, 1, QUOTE), (0, 1, QUOTE)), "> > q"),
        (rich("a\n\n c", (3, 5, BLOCK)), "a\n\n```\n c\n```"),
        (rich("\nq\n", (1, 2, QUOTE)), "\n> q\n"),
        (rich("q\nc", (0, 3, QUOTE), (2, 3, BLOCK)), "> q\n> ```\n> c\n> ```"),
        (rich("abc", (1, 2, QUOTE)), "a\n> b\nc"),
    ],
)
def test_marks_are_written_as_styling(text: RichText, body: str) -> None:
    assert encode(text) == Body(body)


@pytest.mark.parametrize(
    "text",
    [
        rich("middle", (0, 3, STRONG), (3, 6, EMPHASIS)),
        rich("abc", (1, 2, STRONG)),
    ],
)
def test_a_mark_within_a_word_is_left_out(text: RichText) -> None:
    body = encode(text)

    assert body.styled
    assert decode_styling(body.text).plain == text.plain


@pytest.mark.parametrize(
    ("text", "body"),
    [
        (rich("*a*"), "*a*"),
        (rich("> a"), "> a"),
        (rich("```\na\n```"), "```\na\n```"),
        (rich("*a* b\nc", (4, 5, EMPHASIS), (6, 7, QUOTE)), "*a* b\n> c"),
        (rich("> a\nb", (4, 5, STRONG)), "> a\nb"),
        (rich("> a", (2, 3, STRONG)), "> a"),
        (rich("a\n```\nb", (0, 7, BLOCK)), "```\na\n```\nb\n```"),
    ],
)
def test_what_only_looks_styled_is_sent_as_unstyled(text: RichText, body: str) -> None:
    """XEP-0393 §5."""
    assert encode(text) == Body(body, styled=False)


@pytest.mark.parametrize(
    "text",
    [
        rich("a*b", (0, 3, STRONG)),
        rich("`", (0, 1, CODE)),
        rich("  ", (0, 2, STRONG)),
        rich("\n", (0, 1, QUOTE)),
        rich("\n\n", (0, 2, BLOCK)),
    ],
)
def test_a_mark_that_could_not_be_read_is_left_out(text: RichText) -> None:
    assert encode(text) == Body(text.plain)


def test_links_are_followed_by_where_they_lead() -> None:
    link = Link("https://x")

    assert encode(rich("a b", (0, 1, link))) == Body("a <https://x> b")
    assert encode(rich("a b", (0, 1, link), (0, 3, STRONG))) == Body(
        "*a <https://x> b*"
    )
    assert encode(rich("a", (0, 1, QUOTE), (0, 1, link), (0, 1, STRONG))) == Body(
        "> *a* <https://x>"
    )
    assert encode(rich("ab", (0, 1, link), (1, 2, Link("xmpp:b")))) == Body(
        "a <https://x>b <xmpp:b>"
    )


def test_whom_a_mention_means_is_not_written() -> None:
    assert encode(rich("Al", (0, 2, Mention("@al:hs")))) == Body("Al")
    assert spell_links(rich("a", (0, 1, Mention("@al:hs")))) == RichText("a")


def test_quotes_are_not_nested_without_end() -> None:
    spans = [(0, 1, QUOTE)] * 50

    assert encode(rich("a", *spans)) == Body("> " * 20 + "a")
