"""What our accounts publish: their device lists and bundles, as they lie on disk.

Only what is on disk is offered: a pre key that is forgotten in a crash would break the
session of whoever had used it.
"""

import time
from collections.abc import Sequence
from typing import Final

import msgspec

from bridge.core.ports import Store
from bridge.model.records import Secret
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.omemo.account import ROTATION_S
from bridge.xmpp.omemo.accounts import Accounts
from bridge.xmpp.omemo.names import PUBLISHED_ROW, namespace_of, owner
from bridge.xmpp.omemo.upkeep import Upkeep

_PREFIX: Final = "/pep/"
_RENEWED: Final = "/pep/renewed"

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Published:
    """A ``Source`` of PEP nodes; see ``Pep``."""

    def __init__(self, accounts: Accounts, store: Store, upkeep: Upkeep) -> None:
        self._accounts = accounts
        self._store = store
        self._upkeep = upkeep

    async def nodes(self, account: str) -> Sequence[str]:
        """List the nodes of *account*; none if it has no device yet."""
        row = await self._read(account)
        places = (one.removeprefix(_PREFIX) for one in row if one != _RENEWED)
        return sorted({place.rpartition("/")[0] for place in places})

    async def items(
        self, account: str, node: str, asker: str
    ) -> Sequence[tuple[str, Node]] | None:
        """Return the items of a node; makes the device if there is none yet."""
        if namespace_of(node) is None:
            return None
        row = await self._read(account)
        if not row:
            if await self._accounts.obtain(account, asker) is None:
                return None
            row = await self._read(account)
        if time.time() - msgspec.json.decode(row.get(_RENEWED, b"0")) > ROTATION_S:
            row = await self._renewed(account)
        prefix = f"{_PREFIX}{node}/"
        found = [
            (place.removeprefix(prefix), msgspec.json.decode(raw, type=Node))
            for place, raw in row.items()
            if place.startswith(prefix)
        ]
        return found or None

    async def _renewed(self, account: str) -> dict[str, msgspec.Raw]:
        known = await self._accounts.find(account)
        if known is not None:
            await self._upkeep.renew(known)
        return await self._read(account)

    async def _read(self, account: str) -> dict[str, msgspec.Raw]:
        found = await self._store.find(Secret, owner(account), PUBLISHED_ROW)
        return {} if found is None else _decode(found.value)
