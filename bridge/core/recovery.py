"""Makes a restored backup safe to run on: nothing that it remembers is done twice.

What a later run may have carried and sent since the backup was made is not known any
more. So what waits in the backup is set aside, to be looked at, and what was said
before the later run ended is not read again.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby

from bridge.core.letters import Letters
from bridge.core.ports import Store, Unit
from bridge.model.delivery import Parcel, Refusal, Refused
from bridge.model.records import Cursor

logger = logging.getLogger(__name__)

PAGE = 500

IN_DOUBT = Refused(Refusal.IN_DOUBT)


async def set_aside(store: Store, letters: Letters, since_ms: int) -> None:
    """Set aside what waits; a later run was alive until *since_ms*.

    What was to be sent becomes dead letters: some of it has arrived, and only somebody
    who looks can tell. What had come is done: its senders saw it answered since.
    """
    until = datetime.fromtimestamp(since_ms / 1000, UTC).isoformat(timespec="seconds")
    logger.error(
        "recovery: the database is an old copy, perhaps a backup: a newer one was used"
        " until %s. What was said before that is taken for carried, keys are made anew,"
        " and what waited is listed by the command `dead`",
        until,
    )
    sent = await _bury(store, letters)
    done = await _forget(store)
    logger.warning("recovery: set aside: %d to be sent, %d to be carried", sent, done)


def moved(cursors: Iterable[Cursor], values: dict[str, str], unit: Unit) -> None:
    """Let *unit* move the cursors of each kind in *values* to that value."""
    unit.put.extend(
        Cursor(one.kind, one.key, values[one.kind])
        for one in cursors
        if one.kind in values
    )


async def _bury(store: Store, letters: Letters) -> int:
    count = 0
    for network, lane in await store.lanes_pending():
        after = 0
        while page := await store.pending(network, lane, after, PAGE):
            after = page[-1].id
            unit = Unit()
            for parts in _messages(page):
                letters.bury(unit, parts, IN_DOUBT)
                unit.sent.extend(parts)
                count += 1
            await store.commit(unit)
    return count


def _messages(page: Sequence[Parcel]) -> Iterable[Sequence[Parcel]]:
    """Group parcels by message; what the bridge itself does can be done again."""
    carried = (parcel for parcel in page if parcel.seq)
    return [list(parts) for _, parts in groupby(carried, lambda parcel: parcel.seq)]


async def _forget(store: Store) -> int:
    count = 0
    for room in await store.rooms_waiting():
        while page := await store.waiting([room], 0, PAGE):
            count += len(page)
            await store.commit(Unit(done=[taken.seq for taken in page]))
    return count
