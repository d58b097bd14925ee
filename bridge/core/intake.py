"""Takes charge of what came, so that it is on disk before anybody is told so.

What is plain to see is carried at once, and the commit that takes it carries it. The
rest is taken first, and then goes through its portal's lane.
"""

import asyncio
import logging
from asyncio import Future, sleep
from collections import Counter
from collections.abc import Callable, Sequence

from bridge.core.crossing import Crossing
from bridge.core.dispatch import Dispatch
from bridge.core.ports import Store, StoreUnavailableError, Unit
from bridge.model.delivery import Arrival, Taken
from bridge.model.places import Network, Room

logger = logging.getLogger(__name__)

TURN_MAX = 64
"""So many arrivals are looked at before others have their turn."""

Answer = Future[frozenset[int]]


class Intake:
    """Where arrivals come in; offers ``Host.keep``.

    *idle* tells whether nothing waits in the lane of a room, *put* queues there what
    was taken.
    """

    def __init__(
        self,
        store: Store,
        dispatch: Dispatch,
        crossing: Crossing,
        idle: Callable[[Room], bool],
        put: Callable[[Taken], None],
    ) -> None:
        self._store = store
        self._dispatch = dispatch
        self._crossing = crossing
        self._idle = idle
        self._put = put
        self._coming: Counter[Room] = Counter()
        self._turns = {network: asyncio.Lock() for network in Network}

    async def keep(self, arrivals: Sequence[Arrival]) -> None:
        """Take charge of *arrivals*; see ``Host``."""
        if not arrivals:
            return
        answers: list[tuple[Answer, Taken | None]] = []
        # What is read again, page by page, must not be overtaken by what is pushed.
        async with self._turns[arrivals[0].room.network]:
            for first in range(0, len(arrivals), TURN_MAX):
                if first:
                    await sleep(0)
                answers += self._hand_in(arrivals[first : first + TURN_MAX])
        unfit = await _written(answers)
        if unfit:
            # Its lane tells the sender of what can never be written down.
            await _written([(self._take(unfit), None)])

    def _hand_in(
        self, arrivals: Sequence[Arrival]
    ) -> list[tuple[Answer, Taken | None]]:
        answers: list[tuple[Answer, Taken | None]] = []
        later: list[Taken] = []
        behind: set[Room] = set()
        for arrival in arrivals:
            taken = Taken(self._store.number(), arrival)
            unit = None if arrival.room in behind else self._carried(taken)
            if unit is None:
                behind.add(arrival.room)
                later.append(taken)
            else:
                answers.append((self._dispatch.commit(unit), taken))
        if later:
            answers.append((self._take(later), None))
        return answers

    def _carried(self, taken: Taken) -> Unit | None:
        """Carry *taken* at once, unless something of its conversation still waits."""
        room = taken.arrival.room
        if room in self._coming or not self._idle(room):
            return None
        try:
            return self._crossing.at_once(taken)
        except Exception:
            # Whatever it is, it will be met, and told, by the chain.
            logger.debug("room %s: not carried at once", room.address, exc_info=True)
            return None

    def _take(self, taken: Sequence[Taken]) -> Answer:
        answer = self._store.commit(Unit(take=list(taken)))
        self._coming.update(item.arrival.room for item in taken)
        # What is on disk is carried, in its order, whoever still waits for it here.
        answer.add_done_callback(lambda done: self._took(taken, done))
        return answer

    def _took(self, taken: Sequence[Taken], done: Answer) -> None:
        for item in taken:
            room = item.arrival.room
            self._coming[room] -= 1
            if not self._coming[room]:
                del self._coming[room]
        if done.cancelled() or done.exception() is not None:
            return
        for item in taken:
            if item.seq not in done.result():
                self._put(item)


async def _written(answers: Sequence[tuple[Answer, Taken | None]]) -> list[Taken]:
    """Wait for *answers*; return what was carried in a way that cannot be written.

    Raises why nothing was written. Whoever gives up waiting stops nothing.
    """
    for answer, _ in answers:
        # Those that are committed together are done together: few are waited for.
        if not answer.done():
            await asyncio.wait([answer])
    faults = [(answer.exception(), taken) for answer, taken in answers]
    for fault, taken in faults:
        if isinstance(fault, StoreUnavailableError) or (fault and taken is None):
            raise fault
    return [taken for fault, taken in faults if fault is not None and taken is not None]
