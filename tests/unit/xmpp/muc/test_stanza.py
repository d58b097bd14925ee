from xml.etree.ElementTree import Element

import pytest

from bridge.xmpp.codec.xml import node
from bridge.xmpp.muc.stanza import (
    TooDeepError,
    child,
    split,
    to_element,
    to_node,
    wrap,
)
from tests.unit.xmpp.muc.world import parsed

XML = (
    b"<message><body xml:lang='de'>a<b xmlns='u' k='v'>in<c/>side</b>tail<i/>end"
    b"</body></message>"
)


def test_a_tree_becomes_the_same_element_again() -> None:
    (message,) = parsed(XML)

    again = to_element(to_node(message[0]))

    assert _flat(again) == _flat(message[0])


def test_namespaces_are_named_where_they_change() -> None:
    (message,) = parsed(XML)

    body = to_node(message[0])

    assert body.attributes == {"xml:lang": "de"}
    assert body.children[:2] == (
        "a",
        node("b", {"xmlns": "u", "k": "v"}, "in", node("c"), "side"),
    )


def test_foreign_attributes_are_left_out() -> None:
    assert to_node(Element("{u}a", {"{x}k": "v", "k": "w"})).attributes == {
        "xmlns": "u",
        "k": "w",
    }


def test_what_has_no_namespace_keeps_none() -> None:
    assert to_element(to_node(Element("a"))).tag == "a"


def test_nobody_nests_so_deep() -> None:
    top = bottom = Element("{u}a")
    for _ in range(100_000):
        deeper = Element("{u}a")
        bottom.append(deeper)
        bottom = deeper

    with pytest.raises(TooDeepError):
        to_node(top)


def test_a_stanza_is_put_together() -> None:
    stanza = wrap("message", {"type": "groupchat"}, (node("body", None, "hi"),))

    body = child(stanza, "jabber:component:accept", "body")
    assert body is not None
    assert body.text == "hi"
    assert split(stanza.tag) == ("jabber:component:accept", "message")
    assert split("plain") == ("", "plain")


def _flat(
    element: Element,
) -> list[tuple[str, dict[str, str], str | None, str | None]]:
    return [(e.tag, dict(e.attrib), e.text, e.tail) for e in element.iter()]
