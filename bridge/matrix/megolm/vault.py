"""Crypto state in the store: who owns which secret, and one live object for each.

Ratchets are pickled under a constant key: the store seals what is written with a key
that is not in the database.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from bridge.core.ports import Store, StoreUnavailableError, Unit
from bridge.matrix.recent import Locks, Recent
from bridge.model.records import Secret

logger = logging.getLogger(__name__)

PICKLE_KEY = bytes(32)
RETRY_S = 1.0

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Vault:
    """What the machine reads from the store, and how it writes on its own account."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def of(self, owner: str) -> dict[str, bytes]:
        """Read all secrets of *owner*, by name."""
        return {one.name: one.value for one in await self._store.secrets(owner)}

    async def find(self, owner: str, name: str) -> bytes | None:
        """Read one secret."""
        found = await self._store.find(Secret, owner, name)
        return None if found is None else found.value

    async def commit(self, unit: Unit) -> None:
        """Make *unit* durable, however long nothing can be written.

        What is waited for here must be on disk before it goes to the homeserver.
        """
        while True:
            try:
                await self._store.commit(unit)
            except StoreUnavailableError:
                logger.warning("keys cannot be written, will be retried")
                await asyncio.sleep(RETRY_S)
            else:
                return


class Warm(Generic[K, V]):
    """Live objects, read by *load* when first asked for; the last ones stay warm.

    There is never a second object for a key while somebody holds the first. A ratchet
    that is staged is held by its unit until that is written, so it is never read again
    in an older state.
    """

    def __init__(self, load: Callable[[K], Awaitable[V]], size_max: int) -> None:
        self._load = load
        self._live: WeakValueDictionary[K, V] = WeakValueDictionary()
        self._size_max = size_max
        self._warm: Recent[K, V] = Recent(size_max)
        self._locks: Locks[K] = Locks()

    async def get(self, key: K) -> V:
        """Return the object of *key*."""
        found = self._live.get(key)
        if found is None:
            async with self._locks(key):
                found = self._live.get(key)
                if found is None:
                    found = self._live[key] = await self._load(key)
        self._warm.put(key, found)
        return found

    def known(self, key: K) -> V | None:
        """Return the object of *key* if it is live."""
        return self._live.get(key)

    def clear(self) -> None:
        """Forget all, whoever holds them."""
        self._live.clear()
        self._warm = Recent(self._size_max)
