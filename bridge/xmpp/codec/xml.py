"""XML as plain trees: what the codecs write and the gate turns into bytes."""

from collections.abc import Mapping
from typing import NamedTuple, Union

Child = Union["Node", str]


class Node(NamedTuple):
    """An element: its name, its attributes (``xmlns`` among them) and what is in it."""

    name: str
    attributes: Mapping[str, str]
    children: tuple[Child, ...] = ()


def node(
    name: str, attributes: Mapping[str, str] | None = None, *children: Child
) -> Node:
    """Build an element; an attribute that is the empty string is left out."""
    given = attributes or {}
    return Node(name, {k: v for k, v in given.items() if v}, children)
