"""Memory that stays small, and locks that cost nothing while nobody holds them."""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The *size_max* entries that were put last."""

    __slots__ = ("_entries", "_size_max", "get")

    def __init__(self, size_max: int) -> None:
        # A plain dict gets slow where its first item is taken out again and again.
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._size_max = size_max
        self.get = self._entries.get

    def put(self, key: K, value: V) -> None:
        """Remember *value*, and forget the oldest if there are too many."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._size_max:
            self._entries.popitem(last=False)

    def has(self, key: K) -> bool:
        """Tell whether *key* is remembered."""
        return key in self._entries

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
