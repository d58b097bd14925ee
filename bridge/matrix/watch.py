"""Knows whether the homeserver is up, and says when it has come back.

A homeserver that restarts forgets what it was about to push, and one that could not
reach us for a while waits up to minutes before it tries again. Both end here.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable

from bridge.core.ports import StoreUnavailableError
from bridge.matrix.client import Homeserver, HomeserverDownError, MatrixError, join

logger = logging.getLogger(__name__)

CHECK_EVERY_S = 5.0
CHECK_DOWN_EVERY_S = 1.0
CHECK_GAP_S = 0.25
RETRY_S = 30.0

_UNKNOWN_ENDPOINT = (404, 405)


class Watch:
    """Watches *homeserver*, which knows us by the registration *appservice_id*.

    *on_return* is awaited at the start and whenever it was down and is up again.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        appservice_id: str,
        on_return: Callable[[], Awaitable[None]],
        check_every_s: float = CHECK_EVERY_S,
    ) -> None:
        self._homeserver = homeserver
        self._appservice_id = appservice_id
        self._on_return = on_return
        self._every_s = check_every_s
        self._up = asyncio.Event()
        self._doubt = asyncio.Event()
        self._back = asyncio.Event()
        homeserver.on_trouble = self._doubt.set

    @property
    def up(self) -> bool:
        """Whether it answered when it was last asked."""
        return self._up.is_set()

    async def wait_up(self) -> None:
        """Wait until it answers."""
        await self._up.wait()

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look_again(), name="homeserver watch")
            tasks.create_task(self._welcome(), name="homeserver return")

    async def _look_again(self) -> None:
        while True:
            self._doubt.clear()
            self._found(up=await self._homeserver.alive())
            await asyncio.sleep(min(CHECK_GAP_S, self._every_s))
            if not self.up:
                # Every failed send would call for a look; at ease instead.
                await asyncio.sleep(min(CHECK_DOWN_EVERY_S, self._every_s))
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._doubt.wait()

    def _found(self, *, up: bool) -> None:
        if up and not self.up:
            logger.info("the homeserver is up")
            self._up.set()
            self._back.set()
        elif self.up and not up:
            logger.warning("the homeserver is down; messages for it wait")
            self._up.clear()

    async def _welcome(self) -> None:
        while True:
            await self._back.wait()
            self._back.clear()
            pinged = fetched = False
            while not (pinged and fetched) and not self._back.is_set():
                pinged = pinged or await ping(self._homeserver, self._appservice_id)
                fetched = fetched or await self._fetched()
                if not (pinged and fetched):
                    await self._pause()

    async def _fetched(self) -> bool:
        try:
            await self._on_return()
        except (HomeserverDownError, StoreUnavailableError) as error:
            logger.warning("what was missed cannot be fetched yet: %s", error)
            return False
        return True

    async def _pause(self) -> None:
        """Wait a while, or until it went and came back again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(RETRY_S, 6 * self._every_s)):
                await self._back.wait()


async def ping(homeserver: Homeserver, appservice_id: str) -> bool:
    """Have the homeserver try to reach us; return False if it cannot.

    Synapse then leaves its back-off of up to 512 s at once. Not all know it.
    """
    path = join("appservice", appservice_id, "ping", version="v1")
    try:
        await homeserver.request(
            "POST", path, body={"transaction_id": secrets.token_hex(8)}
        )
    except MatrixError as error:
        if error.status in _UNKNOWN_ENDPOINT:
            logger.debug("the homeserver knows no ping")
            return True
        logger.error("the homeserver refuses the ping: %s", error)  # noqa: TRY400 - no traceback
        return False
    except HomeserverDownError as error:
        if error.errcode:
            logger.error("the homeserver cannot reach us: %s", error)  # noqa: TRY400 - no traceback
        return error.status in _UNKNOWN_ENDPOINT
    return True
