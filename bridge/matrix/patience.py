"""Asking again: the homeserver may be restarting, or have had enough of us."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeVar

from bridge.matrix.client import Homeserver, HomeserverDownError, MatrixError
from bridge.matrix.recent import Recent
from bridge.model.delivery import HOMESERVER, Later, Refusal, Refused

logger = logging.getLogger(__name__)

T = TypeVar("T")

PAUSE_S = 0.5
PAUSE_S_MAX = 30.0
LATER_S = 1.0
TRIES_MAX = 5
BLOCKED_S_MAX = 600.0


async def patiently(ask: Callable[[], Awaitable[T]], for_s: float) -> T:
    """Return what *ask* returns; ask again while the homeserver is not there.

    After *for_s* the last error is raised. A refusal is raised at once.
    """
    end = time.monotonic() + for_s
    pause_s = PAUSE_S
    while True:
        try:
            return await ask()
        except (HomeserverDownError, MatrixError) as error:
            wait_s = _wait_s(error, pause_s)
            if wait_s < 0 or time.monotonic() + wait_s > end:
                raise
        await asyncio.sleep(wait_s)
        pause_s = min(pause_s * 2, PAUSE_S_MAX)


def _wait_s(error: HomeserverDownError | MatrixError, pause_s: float) -> float:
    """Tell how long to wait before asking again; below 0 if that is no use."""
    if isinstance(error, HomeserverDownError):
        return pause_s
    if error.status == HTTPStatus.TOO_MANY_REQUESTS:
        return max(error.retry_after_s, pause_s)
    return -1.0


class Trials:
    """Tells a homeserver that is ill from one that cannot digest one message.

    Some content makes a homeserver answer 500 however often it is asked. It must
    not hold up its conversation for ever, nor may an illness of the homeserver,
    however long, cost a message.
    """

    def __init__(self, homeserver: Homeserver) -> None:
        self._homeserver = homeserver
        self._sent = 0
        self._failed: Recent[str, tuple[int, float, int]] = Recent(1000)

    def passed(self) -> None:
        """Note that the homeserver took a message."""
        self._sent += 1

    async def failed(self, key: str) -> Later | Refused:
        """Decide about a message that got a 500: again, or never."""
        now = time.monotonic()
        count, since, sent = self._failed.get(key) or (0, now, self._sent)
        count += 1
        self._failed.put(key, (count, since, sent))
        if count < TRIES_MAX:
            return Later(LATER_S)
        # Others got through meanwhile, or it blocks its room for very long already.
        alone = self._sent > sent
        if not alone and (now - since < BLOCKED_S_MAX or not await self._runs()):
            return Later(LATER_S, HOMESERVER)
        self._failed.drop(key)
        logger.warning("a message makes the homeserver fail, and is given up")
        return Refused(Refusal.REJECTED, "the homeserver fails at it")

    async def _runs(self) -> bool:
        try:
            await self._homeserver.request(
                "GET", "/_matrix/client/versions", timeout_s=10
            )
        except (HomeserverDownError, MatrixError):
            return False
        return True
