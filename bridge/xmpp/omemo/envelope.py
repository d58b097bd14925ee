"""What stands around the ciphertext: names, hints, and words for who cannot read it.

Legacy clients seal the words only; what belongs to them stands beside, in the clear.
"""

from collections.abc import Sequence
from typing import Final
from xml.etree.ElementTree import Element

from bridge.xmpp.codec.message import HOPS
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.muc.stanza import TooDeepError, split, to_node
from bridge.xmpp.omemo.names import LEGACY

FALLBACK: Final = (
    "This message is encrypted with OMEMO. Your client cannot read it, or has no key."
)
BODY: Final = "body"

_HINTS: Final = "urn:xmpp:hints"
_STORE: Final = node("store", {"xmlns": _HINTS})

# What clients leave, and expect, outside of a legacy message (Gajim's list, and
# Conversations' practice), and how many bridges have carried it. None of it tells what
# was said, but which reaction.
_OUTSIDE: Final = frozenset(
    (
        "urn:xmpp:receipts",
        "http://jabber.org/protocol/chatstates",
        "urn:xmpp:chat-markers:0",
        _HINTS,
        "urn:xmpp:message-correct:0",
        "urn:xmpp:message-retract:1",
        "urn:xmpp:reply:0",
        "urn:xmpp:fallback:0",
        "urn:xmpp:sid:0",
        "urn:xmpp:reactions:0",
        "urn:xmpp:message-attaching:1",
        "urn:xmpp:styling:0",
        "http://jabber.org/protocol/nick",
        HOPS,
    )
)
_OUTSIDE_NAMES: Final = frozenset((("", "thread"),))


def is_outside(child: Node) -> bool:
    """Tell whether *child* may stand beside a legacy ciphertext."""
    space = child.attributes.get("xmlns", "")
    return space in _OUTSIDE or (space, child.name) in _OUTSIDE_NAMES


def words(content: Sequence[Node]) -> str | None:
    """Return the body of a message; None if it has none."""
    for child in content:
        if child.name == BODY and "xmlns" not in child.attributes:
            return "".join(part for part in child.children if isinstance(part, str))
    return None


def beside(content: Sequence[Node]) -> tuple[Node, ...]:
    """Return what of *content* a legacy message has in the clear."""
    return tuple(child for child in content if is_outside(child))


def legacy(opened: bytes, stanza: Element) -> tuple[Node, ...] | None:
    """Put the words of a legacy message to what stands beside; None if malformed."""
    try:
        body = opened.decode()
        around = tuple(to_node(child) for child in stanza if _is_beside(child))
    except (UnicodeDecodeError, TooDeepError):
        return None
    return (node(BODY, None, body), *(child for child in around if is_outside(child)))


def sealed(encrypted: Sequence[Node], around: Sequence[Node]) -> tuple[Node, ...]:
    """Write all children of a sealed message; XEP-0384 §5.6, XEP-0380 §3."""
    namespaces = [child.attributes["xmlns"] for child in encrypted]
    # Who reads both looks at the ciphertext; who reads none is told of the first.
    named = LEGACY if LEGACY in namespaces else namespaces[0]
    about = {"xmlns": "urn:xmpp:eme:0", "namespace": named, "name": "OMEMO"}
    body = node(BODY, None, FALLBACK)
    return (*encrypted, node("encryption", about), _STORE, body, *_without(around))


def empty(encrypted: Node) -> tuple[Node, ...]:
    """Write all children of a message that only moves a session on.

    It is stored as well: the other device may be away.
    """
    return (encrypted, _STORE)


def _without(around: Sequence[Node]) -> tuple[Node, ...]:
    return tuple(one for one in around if one.attributes.get("xmlns") != _HINTS)


def _is_beside(child: Element) -> bool:
    space, name = split(child.tag)
    return space in _OUTSIDE or name == "thread"
