"""Moves what is inside a foreign stanza to a plain tree and back.

The tree can be kept on disk and be written again; an element of the parser cannot.
"""

from collections.abc import Iterator
from typing import cast
from xml.etree.ElementTree import Element, XMLPullParser

from bridge.xmpp.codec.xml import Child, Node

STREAM = "jabber:component:accept"
"""The namespace that stanzas, and what they inherit it to, have on our stream."""

DEPTH_MAX = 64

_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


class TooDeepError(ValueError):
    """Elements are nested deeper than any client would nest them."""


def split(tag: str) -> tuple[str, str]:
    """Return the namespace and the name of an element."""
    space, bracket, name = tag.rpartition("}")
    return (space[1:], name) if bracket else ("", tag)


def child(parent: Element, space: str, name: str) -> Element | None:
    """Return the first child of that name."""
    return parent.find(f"{{{space}}}{name}")


def to_node(element: Element, outer: str = STREAM, depth: int = 0) -> Node:
    """Copy *element*, which stands inside of the namespace *outer*."""
    if depth > DEPTH_MAX:
        raise TooDeepError
    space, name = split(element.tag)
    attributes = {"xmlns": space} if space != outer else {}
    for key, value in element.items():
        if key[0] != "{":
            attributes[key] = value
        elif key == _XML_LANG:
            attributes["xml:lang"] = value
    inside: list[Child] = [element.text] if element.text else []
    for part in element:
        inside.append(to_node(part, space, depth + 1))
        if part.tail:
            inside.append(part.tail)
    return Node(name, attributes, tuple(inside))


def to_element(node: Node, outer: str = STREAM) -> Element:
    """Copy *node* back to what the parser had made of it."""
    space = node.attributes.get("xmlns", outer)
    element = Element(f"{{{space}}}{node.name}" if space else node.name)
    for key, value in node.attributes.items():
        if key != "xmlns":
            element.set(_XML_LANG if key == "xml:lang" else key, value)
    last: Element | None = None
    for part in node.children:
        if isinstance(part, Node):
            last = to_element(part, space)
            element.append(last)
        elif last is None:
            element.text = (element.text or "") + part
        else:
            last.tail = (last.tail or "") + part
    return element


def parsed(stanza: bytes) -> Node:
    """Read a stanza of our own, as the gate has written it."""
    parser: XMLPullParser[Element] = XMLPullParser(("start",))
    parser.feed(stanza)
    _, root = next(cast("Iterator[tuple[str, Element]]", parser.read_events()))
    return to_node(root, "")


def wrap(name: str, attributes: dict[str, str], children: tuple[Node, ...]) -> Element:
    """Build the stanza that *children* came in."""
    stanza = Element(f"{{{STREAM}}}{name}", attributes)
    stanza.extend([to_element(part) for part in children])
    return stanza
