"""Memory that stays small, and locks that cost nothing while nobody holds them."""

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The *size_max* entries that were put last."""

    __slots__ = ("_entries", "_size_max", "get")

    def __init__(self, size_max: int) -> None:
        self._entries: dict[K, V] = {}
        self._size_max = size_max
        self.get = self._entries.get

    def put(self, key: K, value: V) -> None:
        """Remember *value*, and forget the oldest if there are too many."""
        self._entries.pop(key, None)
        self._entries[key] = value
        if len(self._entries) > self._size_max:
            del self._entries[next(iter(self._entries))]

    def drop(self, key: K) -> None:
        """Forget *key*, if it is known."""
        self._entries.pop(key, None)


class Locks(Generic[K]):
    """One lock per key, for as long as somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[K, asyncio.Lock] = WeakValueDictionary()

    def __call__(self, key: K) -> asyncio.Lock:
        """Return the lock of *key*."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock
