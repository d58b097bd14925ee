from xml.etree.ElementTree import Element, SubElement

from bridge.model.text import Mark, RichText, Span
from bridge.xmpp.codec.xhtml import ELEMENTS_MAX, decode_xhtml

XHTML = "{http://www.w3.org/1999/xhtml}"


def html(*children: Element) -> Element:
    root = Element("{http://jabber.org/protocol/xhtml-im}html")
    SubElement(root, f"{XHTML}body").extend(children)
    return root


def element(tag: str, text: str, tail: str = "", **attributes: str) -> Element:
    made = Element(f"{XHTML}{tag}", attributes)
    made.text, made.tail = text, tail
    return made


def test_marks_are_read_and_styles_are_not() -> None:
    """XEP-0071; E 15."""
    words = element("strong", "a", " b", style="position:fixed")

    assert decode_xhtml(html(words)) == RichText("a b", (Span(0, 1, Mark.STRONG),))


def test_a_script_says_nothing() -> None:
    assert decode_xhtml(html(element("script", "a", "b"))) == RichText("b")


def test_it_may_not_be_too_deep_or_too_much() -> None:
    deep = inner = element("b", "")
    for _ in range(200):
        inner = SubElement(inner, f"{XHTML}b")

    assert decode_xhtml(html(deep)) is None
    assert decode_xhtml(html(*[element("br", "")] * (ELEMENTS_MAX + 1))) is None
    assert decode_xhtml(Element("{http://jabber.org/protocol/xhtml-im}html")) is None
