"""Gives those who have come in the keys that were put aside for them."""

import asyncio
import contextlib
import logging
from http import HTTPStatus

from bridge.core.ports import StoreUnavailableError
from bridge.matrix.audiences import Audiences
from bridge.matrix.client import HomeserverDownError, MatrixError
from bridge.matrix.megolm.machine import Machine

logger = logging.getLogger(__name__)

RETRY_S = 30.0
MARGIN_S = 0.2
"""So that who has just come in has surely had the time: clocks are not that exact."""

_OUT = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
"""Nobody of ours is in the room any more: until we are, there is nothing to try."""


class Admissions:
    """Sees to it that promises of keys are kept, a moment after somebody came in."""

    def __init__(self, machine: Machine, audiences: Audiences) -> None:
        self._machine = machine
        self._audiences = audiences
        self._due: dict[str, float] = {}
        self._any = asyncio.Event()
        machine.on_promise(self.soon)
        audiences.on_join = self.soon

    def soon(self, room: str, wait_s: float | None = None) -> None:
        """Look at *room* when its people have looked around there."""
        clock = asyncio.get_running_loop().time
        pause_s = self._audiences.pause_s if wait_s is None else wait_s
        self._due[room] = clock() + pause_s + MARGIN_S
        self._any.set()

    async def run(self) -> None:
        """Keep what was promised, also by an earlier run, until cancelled."""
        for room in self._machine.promised:
            self.soon(room, 0.0)
        clock = asyncio.get_running_loop().time
        while True:
            await self._any.wait()
            if not self._due:
                self._any.clear()
                continue
            room, at = min(self._due.items(), key=lambda due: due[1])
            if at > clock():
                self._any.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(at):
                        await self._any.wait()
                self._any.set()
                continue
            del self._due[room]
            await self._admit(room)

    async def _admit(self, room: str) -> None:
        if room not in self._machine.promised:
            return
        try:
            await self._machine.admit(await self._audiences.of(room))
        except (HomeserverDownError, MatrixError, StoreUnavailableError) as error:
            logger.warning("room %s: keys wait for who came in: %s", room, error)
            if not (isinstance(error, MatrixError) and error.status in _OUT):
                self.soon(room, RETRY_S)
        except Exception:
            # The end of the line for one room: the others get their keys.
            logger.exception("room %s: who came in lacks keys", room)
