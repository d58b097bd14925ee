"""Empties the inboxes of ghosts that people write to, whether anybody waits or not.

Whoever encrypts in a room sends its keys to every device there that can be written to.
A ghost's are fetched when something cannot be read without them; what nobody asks for
would lie at the homeserver for ever.
"""

import asyncio
import logging

from bridge.core.ports import Store, StoreUnavailableError
from bridge.matrix.feed import KIND, KeyFeed
from bridge.model.records import Cursor

logger = logging.getLogger(__name__)

EVERY_S = 6 * 3600.0
PAUSE_S = 5.0
"""Between two ghosts: this must disturb nobody."""


class Sweeping:
    """Lets *feed* fetch for each ghost that has an inbox, one after another."""

    def __init__(self, store: Store, feed: KeyFeed, bot: str) -> None:
        self._store = store
        self._feed = feed
        self._bot = bot

    async def run(self) -> None:
        """Sweep now and then, until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                await self._sweep()
            except StoreUnavailableError as error:
                logger.warning("inboxes are not swept: %s", error)
            except Exception:
                # The end of the line for this round: nobody waits for it.
                logger.exception("inboxes are not swept")
            await asyncio.sleep(max(PAUSE_S, EVERY_S - (clock() - began)))

    async def _sweep(self) -> None:
        cursors = await self._store.load(Cursor)
        owners = {one.key.partition(" ")[0] for one in cursors if one.kind == KIND}
        for user in sorted(owners - {self._bot}):
            await asyncio.sleep(PAUSE_S)
            if self._feed.connected:  # else it is the next time's
                await self._feed.pull(user)
