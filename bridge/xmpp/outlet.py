"""Writes to the stream: in order, once per turn of the loop, noting what is gone."""

import asyncio
from collections import deque
from collections.abc import Sequence

from bridge.xmpp.written import Written

SUSPECT_S = 1.0
"""A stream that is closed so soon after a write was closed because of it."""

_LOOK_AGAIN_S = 0.005


class Outlet:
    """The way out through one *transport*.

    *written* learns of each parcel once the kernel has its bytes, and not before.
    """

    def __init__(self, transport: asyncio.WriteTransport, written: Written) -> None:
        self._transport = transport
        self._written = written
        self._loop = asyncio.get_running_loop()
        self._waiting: list[bytes] = []
        self._ids: list[int] = []
        self._sent_bytes = 0
        self.count = written.count
        self._unmarked: deque[tuple[int, list[int]]] = deque()
        self._recent: deque[tuple[float, list[int]]] = deque()
        self._watch: asyncio.Handle | None = None
        self._paused = False
        self._drained: list[asyncio.Future[None]] = []

    def put(self, stanzas: bytes, ids: Sequence[int] = ()) -> None:
        """Write *stanzas*, which carry the parcels *ids*, at the end of this turn."""
        if not self._waiting:
            self._loop.call_soon(self.flush)
        self._waiting.append(stanzas)
        self._ids.extend(ids)
        self.count += len(ids)

    def flush(self) -> None:
        """Write what is waiting at once."""
        if not self._waiting or self._transport.is_closing():
            return
        stanzas, ids = b"".join(self._waiting), self._ids
        self._waiting, self._ids = [], []
        self._transport.write(stanzas)
        self._sent_bytes += len(stanzas)
        if ids:
            self._unmarked.append((self._sent_bytes, ids))
            self._remember(ids)
            self._mark()

    def suspects(self) -> list[int]:
        """Name the parcels that were written so lately that one may be poison."""
        since = self._loop.time() - SUSPECT_S
        return [one for when, ids in self._recent if when >= since for one in ids]

    def empty(self) -> bool:
        """Tell whether the kernel has taken everything."""
        return not self._waiting and not self._transport.get_write_buffer_size()

    def pause(self) -> None:
        """Take note that the transport has more than it likes."""
        self._paused = True

    def resume(self) -> None:
        """Take note that the transport can take more."""
        self._paused = False
        drained, self._drained = self._drained, []
        for future in drained:
            if not future.done():
                future.set_result(None)

    async def drained(self) -> None:
        """Wait until the transport can take more, or nothing any more."""
        if self._paused:
            future = self._loop.create_future()
            self._drained.append(future)
            await future

    def doubt(self) -> None:
        """Take note that the stream was lost: what was on its way may have arrived."""
        while self._unmarked:
            self._written.mark(self._unmarked.popleft()[1])
        self._written.forget()

    def close(self) -> None:
        """Take note that the transport is gone; nobody waits any longer."""
        if self._watch is not None:
            self._watch.cancel()
        self._waiting, self._ids = [], []
        self.resume()

    def _remember(self, ids: list[int]) -> None:
        now = self._loop.time()
        recent = self._recent
        recent.append((now, ids))
        while recent[0][0] < now - SUSPECT_S:
            recent.popleft()

    def _mark(self) -> None:
        """Mark what the kernel has taken; look again soon if something is left."""
        taken = self._sent_bytes - self._transport.get_write_buffer_size()
        unmarked = self._unmarked
        while unmarked and unmarked[0][0] <= taken:
            self._written.mark(unmarked.popleft()[1])
        if unmarked and self._watch is None:
            # uvloop writes at the end of a turn; killed before the mark, we repeat it.
            self._watch = self._loop.call_soon(self._look_again)

    def _look_again(self) -> None:
        self._watch = None
        before = len(self._unmarked)
        self._mark()
        if self._watch is not None and len(self._unmarked) == before:
            self._watch.cancel()  # the server is slow: there is no hurry
            self._watch = self._loop.call_later(_LOOK_AGAIN_S, self._look_again)
