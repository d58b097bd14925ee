"""Opens what came encrypted, and keeps what cannot be opened yet.

    event -> key known? -> wait a little -> plain | kept sealed -> told -> key -> again

An unknown key is waited for in its room's lane, but not for long: then later messages
pass. When the key comes within a day, the message is carried late, and the notice that
had told of it says so.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from bridge.core.ports import Unit
from bridge.matrix.client import HomeserverDownError, MatrixError
from bridge.matrix.feed import KeyFeed
from bridge.matrix.late import Late, Lates
from bridge.matrix.megolm.machine import Machine
from bridge.matrix.megolm.ports import Opened, Plain, Rejected, Unknown, Withheld
from bridge.matrix.patience import patiently
from bridge.matrix.recent import Recent
from bridge.model.delivery import Arrival

logger = logging.getLogger(__name__)

WAIT_S = 3.0
ASK_AGAIN_S = 0.5
PATIENCE_S = 10.0


class Opening:
    """The way of an encrypted event to what it says.

    *agent* tells who of ours is in a room, and is sent its keys.
    """

    def __init__(
        self,
        machine: Machine,
        feed: KeyFeed,
        lates: Lates,
        agent: Callable[[str], str],
    ) -> None:
        self._machine = machine
        self._feed = feed
        self._lates = lates
        self._agent = agent
        self.wait_s = WAIT_S
        self._awaited: Recent[tuple[str, str], None] = Recent(10_000)

    async def open(
        self, arrival: Arrival, event: Mapping[str, Any], unit: Unit
    ) -> Plain | Rejected | None:
        """Return what *event* says; None if it is kept until its key comes."""
        room = event["room_id"]
        opened = await self._decrypt(unit, event)
        first = arrival.key == event["event_id"]
        if isinstance(opened, Unknown) and first:
            await self._wait(room, opened.session)
            opened = await self._decrypt(unit, event)
        if isinstance(opened, Plain | Rejected):
            if not first:
                self._lates.carried(event["event_id"], unit)
            return opened
        words = opened.words if isinstance(opened, Withheld) else ""
        late = Late(room, event["event_id"], event["sender"], opened.session)
        late = msgspec.structs.replace(
            late, raw=msgspec.Raw(arrival.raw), at=time.time(), words=words
        )
        self._lates.keep(late, unit)
        return None

    async def _decrypt(self, unit: Unit, event: Mapping[str, Any]) -> Opened:
        try:
            return await patiently(
                lambda: self._machine.decrypt(unit, event), PATIENCE_S
            )
        except (MatrixError, HomeserverDownError) as error:
            # Its sender's devices could not be asked for: as if the key was missing.
            logger.warning("%s cannot be opened yet: %s", event["event_id"], error)
            content = event.get("content")
            session = content.get("session_id") if isinstance(content, dict) else ""
            return Unknown(str(session))

    async def _wait(self, room: str, session: str) -> None:
        """Wait for the key of a session, once: all that it encrypted waited by then."""
        if self._awaited.get((room, session), False) is None:
            return
        self._awaited.put((room, session), None)
        try:
            async with asyncio.timeout(self.wait_s):
                while not await self._comes(room, session):
                    pass
        except TimeoutError:
            logger.info("room %s: the key of a message has not come", room)

    async def _comes(self, room: str, session: str) -> bool:
        """Fetch keys and wait a moment; tell whether the one wanted is there."""
        await self._feed.pull(self._agent(room))
        try:
            async with asyncio.timeout(ASK_AGAIN_S):
                await self._machine.key(room, session)
        except TimeoutError:
            return False
        return True
