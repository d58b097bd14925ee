"""Blind trust before verification, for each person by themselves.

    first seen -> BLIND, or WAITING once a device of theirs was verified
    a person's decision, or a trust message of a verified device -> VERIFIED, DISTRUSTED

A waiting device is heard but not spoken to; a distrusted one neither.
"""

import base64
from typing import Final

import xeddsa
from omemo import TrustLevel, UnknownTrustLevel

from bridge.xmpp.endtoend import Trust
from bridge.xmpp.omemo.shelf import Shelf

UNDECIDED: Final = "undecided"

_LEVELS: Final = {
    UNDECIDED: TrustLevel.UNDECIDED,
    Trust.BLIND.name: TrustLevel.TRUSTED,
    Trust.VERIFIED.name: TrustLevel.TRUSTED,
    Trust.DISTRUSTED.name: TrustLevel.DISTRUSTED,
}
_SETTABLE: Final = frozenset((Trust.BLIND, Trust.VERIFIED, Trust.DISTRUSTED))


def core_level(name: str, *, sealing: bool) -> TrustLevel:
    """Tell python-omemo what a level of ours means."""
    if name == Trust.WAITING.name:
        return TrustLevel.DISTRUSTED if sealing else TrustLevel.UNDECIDED
    level = _LEVELS.get(name)
    if level is None:
        raise UnknownTrustLevel(f"there is no level {name}")
    return level


def level(shelf: Shelf, peer: str, identity_key: bytes) -> Trust | None:
    """Tell how far a key of *peer* is trusted; None if that is not decided."""
    name = shelf.get(_key(peer, identity_key))
    return None if name in (None, UNDECIDED) else Trust[name]


def set_level(shelf: Shelf, peer: str, identity_key: bytes, to: Trust) -> None:
    """Trust a key of *peer* so far from now on."""
    if to not in _SETTABLE:
        raise ValueError(f"nobody decides that a device is {to.value}")
    shelf.put(_key(peer, identity_key), to.name)


def copy_level(shelf: Shelf, peer: str, identity_key: bytes, to: Trust) -> None:
    """Trust another form of a key as the first was."""
    shelf.put(_key(peer, identity_key), to.name)


def decide_first(shelf: Shelf, peer: str, identity_key: bytes) -> Trust:
    """Decide on a key that is seen for the first time; or leave it as it is."""
    known = level(shelf, peer, identity_key)
    if known is not None:
        return known
    first = Trust.WAITING if is_verified(shelf, peer) else Trust.BLIND
    shelf.put(_key(peer, identity_key), first.name)
    return first


def is_verified(shelf: Shelf, peer: str) -> bool:
    """Tell whether any device of *peer* was verified."""
    return Trust.VERIFIED in levels(shelf, peer)


def levels(shelf: Shelf, peer: str) -> frozenset[Trust]:
    """List how far the keys of *peer* are trusted."""
    prefix = f"/trust/{peer}/"
    places = [one for one in shelf.keys(f"peer {peer}") if one.startswith(prefix)]
    names = {shelf.get(place) for place in places}
    return frozenset(Trust[name] for name in names - {UNDECIDED})


def fingerprint(identity_key: bytes) -> str:
    """Write a key as clients show it: its Curve25519 form in eight groups of eight."""
    digits = xeddsa.ed25519_pub_to_curve25519_pub(identity_key).hex()
    return " ".join(digits[i : i + 8] for i in range(0, len(digits), 8))


def digits(text: str) -> str:
    """Read a fingerprint however somebody typed it; legacy keys may begin with 05."""
    found = "".join(one for one in text.lower() if one.isalnum())
    length = 64
    return found[2:] if len(found) == length + 2 and found[:2] == "05" else found


def encoded(key: bytes) -> str:
    """Write a key as python-omemo keeps it."""
    return base64.urlsafe_b64encode(key).decode()


def decoded(text: str) -> bytes:
    """Read a key as python-omemo keeps it."""
    return base64.urlsafe_b64decode(text)


def _key(peer: str, identity_key: bytes) -> str:
    # As python-omemo spells it, which reads it too.
    return f"/trust/{peer}/{encoded(identity_key)}"
