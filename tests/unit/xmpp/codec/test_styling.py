import pytest

from bridge.model.text import Mark, RichText
from bridge.xmpp.codec.styling import QUOTES_MAX, decode, decode_line, looks_plain


def read(body: str) -> tuple[str, list[tuple[str, str]]]:
    text = decode(body)
    marks = [
        (s.what.name, text.plain[s.start : s.end])
        for s in text.spans
        if isinstance(s.what, Mark)
    ]
    return text.plain, marks


@pytest.mark.parametrize(
    ("body", "plain", "marks"),
    [
        ("*strong*", "strong", [("STRONG", "strong")]),
        ("plain *strong* plain", "plain strong plain", [("STRONG", "strong")]),
        ("*one* plain *two*", "one plain two", [("STRONG", "one"), ("STRONG", "two")]),
        ("*strong*plain*", "strongplain*", [("STRONG", "strong")]),
        ("* plain *strong*", "* plain strong", [("STRONG", "strong")]),
        ("~dis~likes", "dislikes", [("STRIKE", "dis")]),
        ("_a *b*_", "a b", [("EMPHASIS", "a b"), ("STRONG", "b")]),
        ("*`a`*", "a", [("STRONG", "a"), ("CODE", "a")]),
        ("`*a*`", "*a*", [("CODE", "*a*")]),
        ("*_~a~_*", "a", [("STRONG", "a"), ("EMPHASIS", "a"), ("STRIKE", "a")]),
        ("_a *b_ c*", "a *b c*", [("EMPHASIS", "a *b")]),
        ("a\u2003*b*", "a\u2003b", [("STRONG", "b")]),
    ],
)
def test_spans(body: str, plain: str, marks: list[tuple[str, str]]) -> None:
    """XEP-0393 §6.2, with the examples given there."""
    assert read(body) == (plain, marks)


@pytest.mark.parametrize(
    "body",
    [
        "not strong*",
        "*not strong",
        "*not \n strong*",
        "*not *strong",
        "*not strong *",
        "**",
        "****",
        "**not strong**",
        "not*strong*",
        "a_b_c",
        "2 * 3 * 4",
        "https://x/_a_",
        "plain",
        "",
        "```",
        "```\n```",
        "```not a block```",
        ">",
        ">\n> ",
    ],
)
def test_nothing_is_styled(body: str) -> None:
    """XEP-0393 §6.2; nothing is lost where a block would be empty."""
    assert read(body) == (body, [])


@pytest.mark.parametrize(
    ("body", "plain", "marks"),
    [
        ("> a\n> b\n\nc", "a\nb\n\nc", [("QUOTE", "a\nb")]),
        (">> a\n> b\n\nc", "a\nb\n\nc", [("QUOTE", "a\nb"), ("QUOTE", "a")]),
        (">a\n>\n>  *b*", "a\n\n b", [("QUOTE", "a\n\n b"), ("STRONG", "b")]),
        ("```ignored\n*a*\n b\n```\nc", "*a*\n b\nc", [("CODE_BLOCK", "*a*\n b")]),
        ("```two words\na\n```", "two words\na", [("CODE_BLOCK", "two words\na")]),
        ("```\na", "a", [("CODE_BLOCK", "a")]),
        ("> ```\n> a\n\nb", "a\n\nb", [("QUOTE", "a"), ("CODE_BLOCK", "a")]),
        ("a\n```\nb\n``` \n```", "a\nb\n``` ", [("CODE_BLOCK", "b\n``` ")]),
    ],
)
def test_blocks(body: str, plain: str, marks: list[tuple[str, str]]) -> None:
    """XEP-0393 §6.1."""
    assert read(body) == (plain, marks)


def test_quotes_are_not_nested_without_end() -> None:
    text = decode(">" * (QUOTES_MAX + 5) + "a")

    assert len(text.spans) == QUOTES_MAX
    assert text.plain == ">" * 5 + "a"


def test_there_is_an_end_to_spans() -> None:
    text = decode("*a* " * 2100)

    assert len(text.spans) == 2000
    assert text.plain.endswith(" *a* ")


def test_a_line_alone_has_no_blocks() -> None:
    assert decode_line("> a") == RichText("> a")
    assert looks_plain("> a") is False
    assert looks_plain("a > b_c") is True
