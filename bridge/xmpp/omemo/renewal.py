"""Gives an account new keys after a backup was restored, under its old identity.

What a backup remembers of ratchets has been used since: going on with it would use keys
twice. So nothing of that is read, and all sessions are built anew.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from bridge.core.ports import Unit
from bridge.model.records import Secret
from bridge.xmpp.omemo.account import Account
from bridge.xmpp.omemo.names import NAMESPACES

PLACE: Final = "/epoch"

_OWN: Final = "own"
_KEPT: Final = (_OWN, "pep")
_PEER: Final = "peer "
_INDEX_PARTS: Final = 4

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

Session = tuple[str, str, int]
"""Namespace, peer, device."""


def epoch_of(rows: Mapping[str, bytes]) -> int:
    """Tell after how many restored backups the *rows* of an account were made."""
    raw = _decode(rows[_OWN]).get(PLACE)
    return 0 if raw is None else msgspec.json.decode(raw, type=int)


def without_keys(rows: Mapping[str, bytes]) -> tuple[dict[str, bytes], list[Session]]:
    """Keep who we and the others are, and what was decided; list the sessions."""
    kept: dict[str, bytes] = {}
    sessions: list[Session] = []
    for name, raw in rows.items():
        if name in _KEPT:
            kept[name] = raw
        elif name.startswith(_PEER):
            row = _decode(raw)
            for place in [one for one in row if _is_index(one)]:
                _, namespace, peer, _ = place.split("/")
                devices = msgspec.json.decode(row.pop(place), type=list[int])
                sessions += [(namespace, peer, device) for device in devices]
            kept[name] = msgspec.json.encode(row)
    return kept, sessions


async def begin(account: Account, epoch: int) -> list[Secret]:
    """Make new pre keys; return all rows that are to be written."""
    made = account.shelf.touched()
    async with account.operation(Unit()):
        await account.renew(-1)
        account.shelf.put(PLACE, epoch)
        made |= account.shelf.touched()
    peers = (name for name in account.shelf.names() if name.startswith(_PEER))
    return list(account.shelf.records(made.union(peers)))


def _is_index(place: str) -> bool:
    parts = place.split("/")
    return len(parts) == _INDEX_PARTS and parts[1] in NAMESPACES
