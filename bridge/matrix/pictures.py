"""What people of Matrix look like: asked for once somebody wants to see it.

    profile -> mxc://server/id -> thumbnail of the homeserver's -> told by its bytes

Rules: what is kept has a bound, whoever asks; whoever keeps a file may lie, be slow or
send without end, and what they uploaded goes nowhere as it is; what was seen is fresh
for a while, or until a room shows another.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from bridge.matrix.client import Homeserver, HomeserverDownError, MatrixError, join
from bridge.matrix.codec.member import clean_uri
from bridge.matrix.recent import Locks, Recent
from bridge.model.pictures import BYTES_MAX, NO_PICTURE, Picture, recognise

logger = logging.getLogger(__name__)

FRESH_S: Final = 600.0
BROKEN_S: Final = 3600.0
TROUBLE_S: Final = 60.0
ANSWER_S: Final = 10.0
PEOPLE_MAX: Final = 10_000
FILES_MAX: Final = 5_000
ROOM_MAX: Final = 8 * 1024 * 1024
AT_ONCE_MAX: Final = 8
"""So many questions are open at once: others need the way to the homeserver, too."""

# A size that homeservers make beforehand; one that does not move is a PNG or JPEG
# (Client-Server API, "GET /_matrix/client/v1/media/thumbnail").
_SMALL: Final = {
    "width": "96",
    "height": "96",
    "method": "crop",
    "animated": "false",
    "timeout_ms": f"{ANSWER_S * 1000:.0f}",
}
_NOBODY: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)


class Pictures:
    """The pictures that were asked for; *clock* counts seconds."""

    def __init__(
        self, homeserver: Homeserver, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._homeserver = homeserver
        self._clock = clock
        self._files: Recent[str, tuple[str | None, float]] = Recent(PEOPLE_MAX)
        self._kept: OrderedDict[str, tuple[Picture | None, float]] = OrderedDict()
        self._size = 0
        self._locks: Locks[str] = Locks()
        self._doubted: set[str] = set()
        self._gate = asyncio.Semaphore(AT_ONCE_MAX)

    async def of(self, mxid: str) -> Picture | None:
        """Tell what somebody looks like, NO_PICTURE if nobody can see it.

        None if it cannot be said now.
        """
        file = await self._file(mxid)
        if file is None:
            return None
        return await self._shown(file) if file else NO_PICTURE

    def learn(self, mxid: str, file: str) -> None:
        """Take note that somebody shows *file* in a room: look again if it is new."""
        known = self._files.get(mxid)
        if known is not None and known[0] != file:
            self._files.drop(mxid)
        if self._locks(mxid).locked():
            self._doubted.add(mxid)  # what is being asked for may be old

    async def _file(self, mxid: str) -> str | None:
        """Name the file that somebody's profile shows; "" if it shows none.

        None if that cannot be said now: then those who wait need not ask, too.
        """
        async with self._locks(mxid):
            known = self._files.get(mxid)
            if known is not None and self._clock() < known[1]:
                return known[0]
            try:
                async with self._gate:
                    file = await self._profiled(mxid)
                if mxid not in self._doubted:
                    for_s = TROUBLE_S if file is None else FRESH_S
                    self._files.put(mxid, (file, self._clock() + for_s))
                return file
            finally:
                self._doubted.discard(mxid)

    async def _profiled(self, mxid: str) -> str | None:
        path = join("profile", mxid)
        try:
            profile = await self._homeserver.request("GET", path, timeout_s=ANSWER_S)
        except HomeserverDownError:
            return None
        except MatrixError as error:
            return "" if error.status in _NOBODY else None
        return clean_uri(profile.get("avatar_url"))

    async def _shown(self, file: str) -> Picture | None:
        """Return the picture in *file*, downloaded once for all who ask."""
        async with self._locks(file):
            known = self._kept.get(file)
            if known is not None and self._clock() < known[1]:
                self._kept.move_to_end(file)
                return known[0]
            async with self._gate:
                found = await self._download(file)
            self._keep(file, found)
            return found

    async def _download(self, file: str) -> Picture | None:
        server, _, name = file.removeprefix("mxc://").partition("/")
        path = join("media", "thumbnail", server, name, version="v1")
        try:
            data = await self._homeserver.fetch(
                path, _SMALL, bytes_max=BYTES_MAX, timeout_s=ANSWER_S
            )
        except HomeserverDownError as error:
            logger.debug("%s cannot be had now: %s", file, error)
            return None
        except MatrixError as error:
            logger.debug("%s has no thumbnail: %s", file, error)
            return None if error.retry_after_s else NO_PICTURE
        return recognise(data)

    def _keep(self, file: str, found: Picture | None) -> None:
        for_s = TROUBLE_S if found is None else BROKEN_S
        # What an address means never changes, but what is not shown may be mended.
        until = float("inf") if found else self._clock() + for_s
        self._forget(file)
        self._kept[file] = found, until
        self._size += _size(found)
        while self._size > ROOM_MAX or len(self._kept) > FILES_MAX:
            self._forget(next(iter(self._kept)))

    def _forget(self, file: str) -> None:
        found, _ = self._kept.pop(file, (None, 0.0))
        self._size -= _size(found)


def _size(found: Picture | None) -> int:
    return len(found.data) if found else 0
