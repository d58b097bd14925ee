"""Those who wait for a key."""

import asyncio
from collections.abc import Iterable

from bridge.matrix.megolm.inbound import Key


class Waiting:
    """Who waits for which session; nothing is kept of those who gave up."""

    def __init__(self) -> None:
        self._waiters: dict[Key, set[asyncio.Event]] = {}

    async def wait(self, key: Key) -> None:
        """Wait until *key* has come."""
        event = asyncio.Event()
        waiters = self._waiters.setdefault(key, set())
        waiters.add(event)
        try:
            await event.wait()
        finally:
            waiters.discard(event)
            if not waiters:
                self._waiters.pop(key, None)

    def wake(self, keys: Iterable[Key]) -> None:
        """Wake who waits for *keys*."""
        for key in keys:
            for event in self._waiters.pop(key, ()):
                event.set()
