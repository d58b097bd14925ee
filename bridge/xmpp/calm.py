"""Tells the core how people stand in a MUC, but not more often than is worth it.

Who comes and goes, or changes nicks, a hundred times a minute is shown as they stand
in the end: presence is a state, not a queue. What people say is never held up by it.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from bridge.core.ports import State
from bridge.model.events import Join, Leave, Rename
from bridge.model.pace import Pace

EACH_PER_MINUTE = 6
ALL_PER_MINUTE = 60
LATE_MAX = 1_000


class Calm:
    """One MUC; *flush* tells what had to wait."""

    def __init__(
        self,
        tell: Callable[[State], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._each = Pace(EACH_PER_MINUTE, clock=clock)
        self._all = Pace(ALL_PER_MINUTE, clock=clock)
        self._late: dict[str, State] = {}
        self._known: set[str] = set()

    def __len__(self) -> int:
        return len(self._late)

    def __contains__(self, person: str) -> bool:
        """Tell whether *person* was told of and has not left since."""
        return person in self._known or person in self._late

    def tell(self, person: str, event: State, *, shown: bool = False) -> None:
        """Tell how *person* stands: now, or later if it changes too often.

        *shown* says that the far side may hold them to be there, whatever was told.
        """
        if person not in self._late and self._may(person):
            self._say(person, event)
            return
        before = self._late.pop(person, None)
        if isinstance(event, Leave) and not (shown or person in self._known):
            return  # they came and went, and nobody need know
        if isinstance(event, Rename) and isinstance(before, Join):
            event = replace(before, name=event.name)
        if len(self._late) < LATE_MAX:
            self._late[person] = event

    def flush(self) -> None:
        """Tell what waited, as far as it may now be told."""
        for person, event in tuple(self._late.items()):
            if not self._may(person):
                return
            del self._late[person]
            self._say(person, event)

    def _may(self, person: str) -> bool:
        return self._each.allows(person) and self._all.allows("")

    def _say(self, person: str, event: State) -> None:
        if isinstance(event, Leave):
            self._known.discard(person)
        else:
            self._known.add(person)
        self._tell(event)
