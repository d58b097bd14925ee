"""Text from one network to the other, codec to codec."""

from typing import Any
from xml.etree.ElementTree import Element, SubElement

import pytest

from bridge.matrix.codec import message as matrix
from bridge.model.events import Text
from bridge.xmpp.codec import message as xmpp
from bridge.xmpp.codec.xml import Node

STREAM = "{jabber:component:accept}"


def said(body: str, formatted: str = "", msgtype: str = "m.text") -> dict[str, Any]:
    content = {"msgtype": msgtype, "body": body}
    if formatted:
        content |= {"format": "org.matrix.custom.html", "formatted_body": formatted}
    return {"type": "m.room.message", "content": content}


def to_xmpp(event: dict[str, Any]) -> list[list[Node]]:
    content = matrix.decode(event)
    assert isinstance(content, Text)
    return xmpp.encode(content)


def stanza(*children: Node) -> Element:
    made = Element(f"{STREAM}message")
    for child in children:
        namespace = child.attributes.get("xmlns", "")
        tag = f"{{{namespace}}}{child.name}" if namespace else f"{STREAM}{child.name}"
        SubElement(made, tag).text = "".join(map(str, child.children))
    return made


def to_matrix(*children: Node) -> list[dict[str, Any]]:
    content = xmpp.decode(stanza(*children))
    assert isinstance(content, Text)
    return matrix.encode(content)


def body(text: str) -> Node:
    return Node("body", {}, (text,))


@pytest.mark.parametrize(
    ("formatted", "styled"),
    [
        ("<b>a</b> and <i>b</i>", "*a* and _b_"),
        ("a<br>b", "a\nb"),
        ("<p>a</p><p>b</p>", "a\n\nb"),
        ("<blockquote><p>a</p></blockquote><p>b</p>", "> a\nb"),
        ('<pre><code class="language-c">int x;\n</code></pre>', "```\nint x;\n```"),
        ("<ul><li>a</li><li>b</li></ul>", "• a\n• b"),
        ("<h1>a</h1>b", "*a*\nb"),
        ("<table><tr><td>a</td><td>b</td></tr></table>", "a | b"),
        ('<a href="https://x">a</a>', "a <https://x>"),
        ('<a href="https://matrix.to/#/@al:hs">Al</a>: hi', "Al: hi"),
        ('<a href="javascript:x">a</a>', "a"),
        ("<span data-mx-spoiler>a</span>", "a"),
        ('<img src="mxc://x" alt=":cat:">', ":cat:"),
        ("two<br>lines</body></message>", "two\nlines"),
    ],
)
def test_what_is_formatted_on_matrix_is_styled_on_xmpp(
    formatted: str, styled: str
) -> None:
    assert to_xmpp(said("x", formatted)) == [[body(styled)]]


@pytest.mark.parametrize(
    ("styled", "plain", "formatted"),
    [
        ("*a*", "a", "<strong>a</strong>"),
        ("> a\nb", "a\nb", "<blockquote>a</blockquote>b"),
        ("```\n<a>\n```", "<a>", "<pre><code>&lt;a&gt;\n</code></pre>"),
        ("_a_\n<b>", "a\n<b>", "<em>a</em><br>&lt;b&gt;"),
    ],
)
def test_what_is_styled_on_xmpp_is_formatted_on_matrix(
    styled: str, plain: str, formatted: str
) -> None:
    """E 16: what looks like HTML is only text."""
    [content] = to_matrix(body(styled))

    assert content["body"] == plain
    assert content["formatted_body"] == formatted


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "two\nlines\n\nand four",
        "<b>&amp;</b>",
        "  spaces   and\ttabs ",
        "emoji \U0001f600 and e\u0301",
        "\u202eright to left\u2028\u0085",
        "\U0001fffe",
        "> no quote, *no style*",
        "```",
    ],
)
def test_plain_text_comes_back_as_it_was(text: str) -> None:
    """E 2, 4, 5."""
    [children] = to_xmpp(said(text))
    [content] = to_matrix(*children)

    assert content == {"msgtype": "m.text", "body": text, "m.mentions": {}}


@pytest.mark.parametrize(
    "styled",
    [
        "*a* _b_ ~c~ `d`",
        "*_a_ b*",
        "a\n> b\n> *c*\n\nd",
        "> > a\n> b",
        "a\n```\nb\n  c\n```\nd",
        "• a\n• b *c*",
        "a  b *c*",
        " a *b*",
        "\n*a*",
        "*a*\n\n\nb",
        "> a\n\n\n> b",
    ],
)
def test_styled_text_comes_back_as_it_was(styled: str) -> None:
    [content] = to_matrix(body(styled))
    event = {"type": "m.room.message", "content": content}

    assert to_xmpp(event) == [[body(styled)]]


def test_actions_and_notices() -> None:
    assert to_xmpp(said("waves", msgtype="m.emote")) == [[body("/me waves")]]
    assert to_xmpp(said("hi", msgtype="m.notice")) == [[body("hi")]]
    [content] = to_matrix(body("/me waves"))
    assert (content["msgtype"], content["body"]) == ("m.emote", "waves")


def test_a_megabyte_crosses_whole() -> None:
    """E 9."""
    text = "one line of words\n" * 60_000

    parts = to_matrix(body(text))

    assert "".join(part["body"] for part in parts) == text
    assert all(part["body"].endswith("\n") for part in parts)


def test_sixty_kilobytes_cross_in_one_stanza() -> None:
    """E 8."""
    text = "words and more\n" * 4000

    assert to_xmpp(said(text)) == [[body(text)]]


def test_a_lone_surrogate_does_not_cross() -> None:
    """E 3."""
    assert to_xmpp(said("a\ud800b")) == [[body("a\ufffdb")]]
