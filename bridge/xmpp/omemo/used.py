"""The pre keys of others with which accounts of ours have begun sessions.

Others forget a pre key with its first use: if two of ours used the same one, what the
second says could not be opened. A device may be away and offer it for long, so what is
used is kept with the session that it began.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import msgspec

from bridge.core.ports import Store, Unit
from bridge.model.records import Secret
from bridge.xmpp.omemo.device import Wanted

OWNER: Final = "omemo used"
KEPT_S: Final = 30 * 86_400.0
KNOWN_MAX: Final = 5000

choose = secrets.choice
now = time.time


class _Row(msgspec.Struct):
    """What is kept of a device: when it was last used, and what of it."""

    at: float
    keys: list[str]


class Used:
    """Which keys of which devices; what is on disk is learnt before it is needed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[Wanted, set[bytes]] = OrderedDict()

    async def learn(self, devices: Iterable[Wanted]) -> None:
        """Have at hand what earlier runs have used of *devices*."""
        for one in devices:
            if one not in self._known:
                row = await self._store.find(Secret, OWNER, _name(one))
                kept = _read(row).keys if row is not None else ()
                self._known.setdefault(one, set()).update(map(bytes.fromhex, kept))
            self._known.move_to_end(one)
            if len(self._known) > KNOWN_MAX:
                self._known.popitem(last=False)

    def knows(self, device: Wanted) -> bool:
        """Tell whether it is at hand."""
        return device in self._known

    def pick(self, device: Wanted, offered: frozenset[bytes]) -> bytes:
        """Choose one of the keys that are *offered*, if possible one not used yet.

        Where all were used, each may be used once more.
        """
        used = self._known.setdefault(device, set())
        used.intersection_update(offered)
        if used == offered:
            used.clear()
        key = choose(sorted(offered - used))
        used.add(key)
        self._known.move_to_end(device)
        return key

    def unpick(self, device: Wanted, key: bytes) -> None:
        """Take note that *key* was not used after all."""
        self._known.get(device, set()).discard(key)

    def record(self, device: Wanted) -> Secret:
        """Write what is used of *device*."""
        keys = sorted(key.hex() for key in self._known.get(device, ()))
        return Secret(OWNER, _name(device), msgspec.json.encode(_Row(now(), keys)))

    async def prune(self) -> None:
        """Forget the devices with which no session was begun for long."""
        rows = await self._store.secrets(OWNER)
        old = [row for row in rows if _read(row).at < now() - KEPT_S]
        if old:
            await self._store.commit(Unit(drop=[*old]))


def _name(device: Wanted) -> str:
    namespace, peer, number = device
    return f"{namespace} {number} {peer}"


def _read(row: Secret) -> _Row:
    return msgspec.json.decode(row.value, type=_Row)
