"""Rooms that are, or have ever been, encrypted: nothing goes there in the clear.

Encryption, once on in a room, never goes off again.
"""

import logging

from bridge.core.ports import Store
from bridge.matrix.ghosts import remember
from bridge.model.records import Cursor

logger = logging.getLogger(__name__)

ENCRYPTED = "encrypted"


class Sealed:
    """The rooms known to be encrypted."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rooms: set[str] = set()

    def __contains__(self, room: object) -> bool:
        return room in self._rooms

    async def start(self) -> None:
        """Remember what an earlier run knew."""
        cursors = await self._store.load(Cursor)
        self._rooms.update(c.key for c in cursors if c.kind == ENCRYPTED)

    def suspect(self, room: str) -> None:
        """Send nothing more to *room*; a restart forgets that."""
        self._rooms.add(room)

    async def add(self, room: str) -> None:
        """Send nothing more to *room*, for ever."""
        self.suspect(room)
        await remember(self._store, [Cursor(ENCRYPTED, room, "1")])
        logger.info("room %s is encrypted", room)
