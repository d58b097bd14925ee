"""Tells when another bridge has begun to use the database.

A bridge that slept, or that was cut off from the database, finds a later epoch there:
what it still wants to write is refused, and it has to end.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from bridge.core.ports import StoreUnavailableError

LOOK_EVERY_S = 5.0


class Fence:
    """Stands while *epoch*, which is ours, is the one that *read* finds."""

    def __init__(self, epoch: int, read: Callable[[], Awaitable[int]]) -> None:
        self._epoch = epoch
        self._read = read
        self._loop = asyncio.get_running_loop()
        self._down = asyncio.Event()

    def fall(self) -> None:
        """Take note, in any thread, that a later epoch was found."""
        self._loop.call_soon_threadsafe(self._down.set)

    async def fallen(self) -> None:
        """Wait until a later epoch is found; also looks, should nothing be written."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._down.wait()
                return
            with suppress(StoreUnavailableError):
                if await self._read() != self._epoch:
                    return
