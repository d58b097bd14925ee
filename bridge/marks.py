"""Tells a database that is the newest from a restored copy of an older one.

Running on an old copy would use keys again that are used up, and send again what was
sent. So a mark counts up, once a minute while there is work, in the database first and
then beside it: in a file and at the homeserver, as account data of the bot. A database
whose mark is lower than one of those has been overtaken.
"""

import logging
import time
from asyncio import sleep
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bridge.core.ports import Store, StoreUnavailableError, Unit
from bridge.matrix.client import Homeserver, HomeserverDownError, MatrixError, join
from bridge.model.records import Cursor

logger = logging.getLogger(__name__)

CURSOR = "mark"
TYPE = "io.github.xmpp_matrix_bridge.mark"
EVERY_S = 60.0
HOMESERVER_EVERY = 10


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """How often was counted up, and when last, in milliseconds since 1970.

    *number* is how far the numbers of the store had come by then.
    """

    count: int = 0
    at_ms: int = 0
    number: int = 0

    @classmethod
    def read(cls, text: str) -> "Mark":
        """Read what *write* wrote; what it did not write is no mark."""
        numbers = text.split()
        if len(numbers) != len(fields(cls)) or not text.isascii():
            return cls()
        try:
            return cls(*map(int, numbers))
        except ValueError:
            return cls()

    def write(self) -> str:
        """Write it."""
        return f"{self.count} {self.at_ms} {self.number}"


class Marks:
    """The mark in *store*, and its copies in the file *path* and at *homeserver*."""

    def __init__(
        self, store: Store, homeserver: Homeserver, bot: str, path: Path
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._account = join("user", bot, "account_data", TYPE)
        self._bot = bot
        self._path = path
        self._newest = Mark()
        self._number = 0

    async def overtaken(self) -> Mark | None:
        """Return the mark of a later run; None if ours is the newest database."""
        cursor = await self._store.find(Cursor, CURSOR, "")
        own = Mark.read("" if cursor is None else cursor.value)
        known = max(self._of_file(), await self._of_homeserver())
        self._newest = max(own, known)
        # A database without a mark is new: it remembers nothing that could be used up.
        return known if known.count > own.count > 0 else None

    async def count_up(self, *, everywhere: bool = True) -> None:
        """Make the mark higher than any before: in the database, then beside it."""
        self._number = self._store.number()
        now_ms = time.time_ns() // 1_000_000
        mark = Mark(self._newest.count + 1, now_ms, self._number)
        await self._store.commit(Unit(put=[Cursor(CURSOR, "", mark.write())]))
        self._newest = mark
        try:
            self._path.write_text(mark.write() + "\n", encoding="ascii")
        except OSError as error:
            logger.warning("%s cannot be written: %s", self._path, error.strerror)
        if everywhere:
            await self._tell_homeserver(mark)

    async def run(self, every_s: float = EVERY_S) -> None:
        """Count up while there is work, until cancelled."""
        turn = 0
        while True:
            await sleep(every_s)
            number = self._store.number()
            if number == self._number + 1:
                self._number = number
                continue  # nobody but us has taken one: nothing has happened
            turn = (turn + 1) % HOMESERVER_EVERY
            try:
                await self.count_up(everywhere=turn == 0)
            except StoreUnavailableError:
                logger.debug("the mark cannot be written at present")

    def _of_file(self) -> Mark:
        try:
            return Mark.read(self._path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return Mark()
        except (OSError, UnicodeDecodeError) as error:
            logger.warning("%s cannot be read: %s", self._path, error)
            return Mark()

    async def _of_homeserver(self) -> Mark:
        try:
            answer = await self._homeserver.request(
                "GET", self._account, user=self._bot
            )
        except (MatrixError, HomeserverDownError) as error:
            if not isinstance(error, MatrixError) or error.errcode != "M_NOT_FOUND":
                logger.info("the homeserver does not tell the mark: %s", error)
            return Mark()
        return Mark.read(str(answer.get("mark", "")))

    async def _tell_homeserver(self, mark: Mark) -> None:
        body: dict[str, Any] = {"mark": mark.write()}
        try:
            await self._homeserver.request(
                "PUT", self._account, user=self._bot, body=body
            )
        except (MatrixError, HomeserverDownError) as error:
            logger.warning("the homeserver does not keep the mark: %s", error)
