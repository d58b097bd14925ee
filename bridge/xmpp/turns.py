"""Has only so many at once busy with the people or rooms of one server.

    whoever wants something of a server -> waits until few others do
                                        -> and, if that is asked for, few of all -> turn

Rules: a server that is slow or silent, or means ill, keeps nobody from another one; who
waited while it left somebody's question without an answer is not answered either, so
that nobody waits for it once more.
"""

from asyncio import Semaphore, timeout
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Final
from weakref import WeakValueDictionary

ALL_MAX: Final = 64
OF_ONE_MAX: Final = 8
ANSWER_S: Final = 15.0


class _Server:
    """Where people and rooms are, and how often it left a question unanswered."""

    def __init__(self) -> None:
        self.gate = Semaphore(OF_ONE_MAX)
        self.silences = 0


class Turns:
    """The servers that somebody is busy with; those that nobody is are forgotten.

    *all_max* have a turn at once, whatever the server; any number if it is None.
    """

    def __init__(self, all_max: int | None = None) -> None:
        self._servers: WeakValueDictionary[str, _Server] = WeakValueDictionary()
        self._everybody: AbstractAsyncContextManager[None] = nullcontext()
        if all_max is not None:
            self._everybody = Semaphore(all_max)

    @asynccontextmanager
    async def turn(self, jid: str) -> AsyncIterator[None]:
        """Wait for a turn at the server of *jid*, and only then in the line of all."""
        server = self._server(jid)  # known as long as somebody has it in hand
        async with server.gate, self._everybody:
            yield

    @asynccontextmanager
    async def question(self, jid: str) -> AsyncIterator[None]:
        """Wait for a turn to ask *jid*, and for the answer no longer than 15 s.

        Raises ``TimeoutError``.
        """
        server = self._server(jid)
        before = server.silences
        async with self.turn(jid):
            if server.silences != before:
                raise TimeoutError
            try:
                async with timeout(ANSWER_S):
                    yield
            except TimeoutError:
                server.silences += 1
                raise

    def _server(self, jid: str) -> _Server:
        return self._servers.setdefault(jid.rpartition("@")[2], _Server())
