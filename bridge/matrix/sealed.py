"""Rooms that are, or have ever been, encrypted: nothing goes there in the clear.

Encryption, once on in a room, never goes off again, whatever its state says later.
"""

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from bridge.core.ports import Store
from bridge.matrix.ghosts import remember
from bridge.model.records import Cursor

logger = logging.getLogger(__name__)

ENCRYPTED = "encrypted"
MEGOLM = "m.megolm.v1.aes-sha2"
CONTENT_BYTES_MAX = 1000

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Sealed:
    """The rooms known to be encrypted, and how, as far as that is known."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rooms: dict[str, Mapping[str, Any]] = {}

    def __contains__(self, room: object) -> bool:
        return room in self._rooms

    async def start(self) -> None:
        """Remember what an earlier run knew."""
        for cursor in await self._store.load(Cursor):
            if cursor.kind == ENCRYPTED:
                known = cursor.value.startswith("{")
                self._rooms[cursor.key] = _decode(cursor.value) if known else {}

    def encryption(self, room: str) -> Mapping[str, Any]:
        """Return the content of ``m.room.encryption``; empty if it is not known."""
        return self._rooms.get(room, {})

    def suspect(self, room: str) -> None:
        """Send nothing in the clear to *room*; a restart forgets that."""
        self._rooms.setdefault(room, {})

    async def add(self, room: str, content: object = None) -> None:
        """Send nothing in the clear to *room*, for ever.

        What was first said of an encryption that we know is not undone by another.
        """
        known = self._rooms.get(room, {})
        stated = content if isinstance(content, dict) and content else known
        if known.get("algorithm") == MEGOLM and stated.get("algorithm") != MEGOLM:
            stated = known
        raw = _encode(stated)
        self._rooms[room] = stated if len(raw) <= CONTENT_BYTES_MAX else {}
        value = raw.decode() if len(raw) <= CONTENT_BYTES_MAX else "{}"
        await remember(self._store, [Cursor(ENCRYPTED, room, value)])
        logger.info("room %s is encrypted", room)
