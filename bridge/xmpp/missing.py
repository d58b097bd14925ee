"""Finds out who has left a MUC elsewhere while we did not see it.

They are whom Matrix may still show though the room, as we came in, did not: those who
were there before, and those who have spoken meanwhile.
"""

import asyncio

from bridge.xmpp.occupancy import Occupancy

GRACE_S = 30.0
"""So long may those take to come back who fell out together with us."""

DOUBTED_MAX = 10_000
"""So many are asked after; others are again when the bridge starts next."""


FEW = 40
"""Rooms of so many hide nobody; some count people once for each of their devices."""


class Missing:
    """The people of one MUC of whom it is in doubt whether they are there."""

    def __init__(self, occupancy: Occupancy) -> None:
        self._occupancy = occupancy
        self._doubted: dict[str, None] = {}
        self._complete = False
        self._due_at: float | None = None

    def __len__(self) -> int:
        return len(self._doubted)

    @property
    def due(self) -> bool:
        """Whether it is time to tell who is gone."""
        if self._due_at is None:
            return False
        return asyncio.get_running_loop().time() >= self._due_at

    def entered(self, occupants: int) -> None:
        """Take note that the room has shown us all whom it will.

        *occupants* is how many there were before us, as it said. If it shows fewer, as
        crowded rooms do, nobody is gone only because they are not to be seen.
        """
        self._complete = occupants <= max(len(self._occupancy), FEW)

    def inside(self) -> None:
        """Take note that all that was said before has been heard."""
        if self._complete:
            self._due_at = asyncio.get_running_loop().time() + GRACE_S

    def outside(self) -> None:
        """Take note that we are not in the room, and see nothing."""
        self._complete, self._due_at = False, None

    def doubt(self, person: str) -> None:
        """Take note of somebody who was there, and still is as far as Matrix knows."""
        if len(self._doubted) < DOUBTED_MAX:
            self._doubted[person] = None

    def spoke(self, person: str) -> None:
        """Take note of somebody who has said something, perhaps while we were away."""
        # Later, whoever speaks unseen is there all the same, and the room hides them.
        if self._complete:
            self.doubt(person)

    def next(self) -> str:
        """Name somebody who is gone; empty if there is nobody else, as of now."""
        while self._doubted:
            person = next(iter(self._doubted))
            del self._doubted[person]
            if self._occupancy.holder(person) is None:
                return person
        self._complete, self._due_at = False, None
        return ""
