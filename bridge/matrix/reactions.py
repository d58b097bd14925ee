"""Reactions, which do not cross yet: a room is told so once.

Whoever takes one back does not hear that something is still to be seen elsewhere.
"""

from collections.abc import Callable, Mapping
from typing import Any

from bridge.matrix.codec.envelope import RawEvent
from bridge.matrix.recent import Recent

TYPE = "m.reaction"
REMEMBERED_MAX = 10_000


class Reactions:
    """Remembers which events were reactions, and which rooms have been told.

    *bridged* tells whether a room is.
    """

    def __init__(self, bridged: Callable[[str], bool]) -> None:
        self._bridged = bridged
        self._known: Recent[str, None] = Recent(REMEMBERED_MAX)
        self._told: Recent[str, None] = Recent(REMEMBERED_MAX)

    def wants(self, event: RawEvent) -> bool:
        """Take note of a reaction; tell whether its room is still to be told."""
        if not self._bridged(event.room_id):
            return False
        self._known.put(event.event_id, None)
        return not self._told.has(event.room_id)

    def tells(self, room: str) -> bool:
        """Tell whether *room* has not been told, and take it that it is now."""
        if self._told.has(room):
            return False
        self._told.put(room, None)
        return True

    def takes_back(self, event: Mapping[str, Any]) -> bool:
        """Tell whether the redaction *event* is of nothing but a reaction."""
        content = event.get("content")
        inner = content.get("redacts") if isinstance(content, dict) else None
        target = event.get("redacts", inner)  # room version 11 moved it inside
        return isinstance(target, str) and self._known.has(target)
