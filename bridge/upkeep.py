"""What the bridge does beside carrying: it looks after itself."""

import logging
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime
from pathlib import Path

from bridge.core.directory import Directory
from bridge.core.dispatch import Dispatch
from bridge.core.office import Office
from bridge.core.ports import Recovering, Store, Unit
from bridge.core.progress import Progress
from bridge.core.recovery import moved, set_aside
from bridge.marks import Marks
from bridge.matrix.audit import CLOCK_SLACK_MS, CURSOR as AUDITED
from bridge.matrix.client import Homeserver
from bridge.model.records import Cursor
from bridge.xmpp.recall import CURSOR as HEARD

logger = logging.getLogger(__name__)

NUMBERS_A_MINUTE = 1_000_000
"""More than a run can use between two marks."""

Work = Coroutine[None, None, None]


class Upkeep:
    """Dead letters, counters, the backlog, and the mark of the database.

    *folder* is where the configuration lies; *depth* tells how much waits in memory.
    """

    def __init__(  # noqa: PLR0913 - it looks after every part
        self,
        store: Store,
        directory: Directory,
        dispatch: Dispatch,
        homeserver: Homeserver,
        *,
        bot: str,
        folder: Path,
        depth: Callable[[], int],
    ) -> None:
        self._store = store
        self._dispatch = dispatch
        self._folder = folder
        self._recovers = False
        self.counters = dispatch.counters
        self.progress = Progress(store.counts, depth)
        self._office = Office(store, directory, dispatch)
        self._marks = Marks(store, homeserver, bot, folder / "bridge.mark")

    async def begin(self) -> None:
        """See whether the database is a restored copy, before any part reads it."""
        mark = await self._marks.overtaken()
        if mark is None:
            return
        self._recovers = True
        self._store.skip(mark.number + NUMBERS_A_MINUTE)
        await set_aside(self._store, self._dispatch.letters, mark.at_ms)
        unit = Unit()
        moved(await self._store.load(Cursor), _ends(mark.at_ms), unit)
        await self._store.commit(unit)
        # Which parcels were handed over, it tells by numbers that come again.
        (self._folder / "written.ring").unlink(missing_ok=True)

    async def ready(self, parts: Iterable[object]) -> None:
        """Have what is unsafe to use again forgotten by *parts*, which are started."""
        if self._recovers:
            for part in parts:
                if isinstance(part, Recovering):
                    await part.recover()
            logger.warning("recovery: done; keys are made anew")

    async def mark(self) -> None:
        """Mark the database as the newest, now that it is the one in use."""
        await self._marks.count_up()
        await self.progress.look()

    def works(self) -> dict[str, Work]:
        """Name what is to be run until the end."""
        return {
            "office": self._office.run(),
            "counters": self.counters.run(),
            "progress": self.progress.run(),
            "mark": self._marks.run(),
        }


def _ends(since_ms: int) -> dict[str, str]:
    """Write the cursors of what had been read until then."""
    stamp = datetime.fromtimestamp(since_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {AUDITED: f"$restored {since_ms + CLOCK_SLACK_MS}", HEARD: f"{stamp} "}
