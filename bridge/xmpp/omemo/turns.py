"""Has only so many questions at once on their way to the people of one server.

    question -> waits until few others to the same server are open -> asked

Rules: a server that is silent keeps nobody from asking another one; who waited while
it left somebody without an answer is not answered either, so that nobody waits for
it once more.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

ANSWER_S: Final = 15.0
AT_ONCE_MAX: Final = 8


class _Server:
    """Where people are, and how often it left a question unanswered."""

    def __init__(self) -> None:
        self.gate = asyncio.Semaphore(AT_ONCE_MAX)
        self.silences = 0


class Turns:
    """The servers that are being asked; those that are not are forgotten."""

    def __init__(self) -> None:
        self._servers: WeakValueDictionary[str, _Server] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, jid: str) -> AsyncIterator[None]:
        """Wait for a turn to ask *jid*, and for the answer no longer than 15 s.

        Raises ``TimeoutError``.
        """
        domain = jid.rpartition("@")[2]
        server = self._servers.setdefault(domain, _Server())
        before = server.silences
        async with server.gate:
            if server.silences != before:
                raise TimeoutError
            try:
                async with asyncio.timeout(ANSWER_S):
                    yield
            except TimeoutError:
                server.silences += 1
                raise
