"""What clients seal for the bridge alone: trust messages, and that they opt out."""

from collections.abc import Iterator, Sequence
from typing import Final

import xeddsa
from omemo import DeviceInformation

from bridge.xmpp.codec.xml import Node
from bridge.xmpp.endtoend import Empty, Trust
from bridge.xmpp.omemo import trust
from bridge.xmpp.omemo.names import OMEMO2
from bridge.xmpp.omemo.sealing import opt_out_place
from bridge.xmpp.omemo.shelf import Shelf

POSTPONED_MAX: Final = 50
REASON_CHARS_MAX: Final = 200

_TRUST: Final = frozenset(("urn:xmpp:tm:1", "urn:xmpp:tm:0"))
_USAGE: Final = frozenset(("urn:xmpp:atm:1", "urn:xmpp:atm:0"))
_LEVELS: Final = {"trust": Trust.VERIFIED.name, "distrust": Trust.DISTRUSTED.name}

Verdict = tuple[str, str]
"""A key, as its sender wrote it, and the level that it is to have."""


def take_notice(
    shelf: Shelf, peer: str, device: DeviceInformation, content: Sequence[Node]
) -> Empty | None:
    """Act on what is for us alone; None if *content* is for people."""
    for child in content:
        space = child.attributes.get("xmlns", "")
        if (child.name, space) == ("opt-out", OMEMO2):
            shelf.put(opt_out_place(peer), value=True)
            return Empty(_farewell(child))
        if child.name == "trust-message" and space in _TRUST:
            _take_trust(shelf, peer, device, child)
            return Empty()
    return None


def verified(shelf: Shelf, peer: str, identity_key: bytes) -> None:
    """Act on what a device had said of others before it was verified itself."""
    place = _postponed(peer, identity_key)
    for key, level in shelf.get(place) or ():
        _apply(shelf, peer, (key, level))
    shelf.put(place, None)


def _take_trust(
    shelf: Shelf, peer: str, device: DeviceInformation, message: Node
) -> None:
    """Believe a device about its owner's others, once it is verified; XEP-0450 §4."""
    if message.attributes.get("usage") not in _USAGE:
        return
    verdicts = list(_verdicts(peer, message))[:POSTPONED_MAX]
    if trust.level(shelf, peer, device.identity_key) is Trust.VERIFIED:
        for verdict in verdicts:
            _apply(shelf, peer, verdict)
        return
    place = _postponed(peer, device.identity_key)
    known = [tuple(one) for one in shelf.get(place) or ()]
    shelf.put(place, [*known, *verdicts][-POSTPONED_MAX:])


def _apply(shelf: Shelf, peer: str, verdict: Verdict) -> None:
    said, level = verdict
    for place in shelf.keys(f"peer {peer}"):
        if place.endswith("/identity_key"):
            key = trust.decoded(shelf.get(place))
            if said in _spellings(key):
                trust.set_level(shelf, peer, key, Trust[level])


def _verdicts(peer: str, message: Node) -> Iterator[Verdict]:
    # What a contact says of third parties' keys, or of ours, is no affair of theirs.
    for owner in _elements(message):
        if owner.name != "key-owner" or owner.attributes.get("jid") != peer:
            continue
        for one in _elements(owner):
            level = _LEVELS.get(one.name)
            text = "".join(part for part in one.children if isinstance(part, str))
            if level is not None:
                yield text.strip()[:100], level


def _spellings(key: bytes) -> frozenset[str]:
    """List how clients name a key: hexadecimal or base64, Ed25519 or Curve25519."""
    curve = xeddsa.ed25519_pub_to_curve25519_pub(key)
    both = (key, curve)
    return frozenset([one.hex() for one in both] + [_base64(one) for one in both])


def _base64(key: bytes) -> str:
    return trust.encoded(key).replace("-", "+").replace("_", "/")


def _elements(parent: Node) -> Iterator[Node]:
    return (child for child in parent.children if isinstance(child, Node))


def _farewell(child: Node) -> str:
    reasons = (one for one in _elements(child) if one.name == "reason")
    texts = ("".join(p for p in one.children if isinstance(p, str)) for one in reasons)
    reason = " ".join(next(texts, "").split())[:REASON_CHARS_MAX]
    said = f" ({reason})" if reason else ""
    return f"they do not want encrypted messages any more{said}"


def _postponed(peer: str, identity_key: bytes) -> str:
    return f"/postponed/{peer}/{trust.encoded(identity_key)}"
