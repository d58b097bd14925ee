"""Has few MUCs entered at once, and of one service fewer than of all.

To enter takes as long as the MUC likes: it answers late, or its archive has no end. A
service that is slow, or means ill, must not keep us out of the MUCs of others.
"""

from asyncio import Semaphore
from types import TracebackType
from typing import Final
from weakref import WeakValueDictionary

ALL_MAX: Final = 64
OF_ONE_MAX: Final = 8


class Turn:
    """To be held while a MUC is entered."""

    def __init__(self, own: Semaphore, everybody: Semaphore) -> None:
        self._own = own
        self._everybody = everybody

    async def __aenter__(self) -> None:
        """Wait in the line of the service, and only then in that of all."""
        await self._own.acquire()
        try:
            await self._everybody.acquire()
        except BaseException:
            self._own.release()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the next one in."""
        self._everybody.release()
        self._own.release()


class Turns:
    """The lines before all services."""

    def __init__(self) -> None:
        self._everybody = Semaphore(ALL_MAX)
        self._own: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()

    def of(self, muc: str) -> Turn:
        """Line up before the service of *muc*, an address."""
        service = muc.partition("@")[2]
        own = self._own.get(service) or Semaphore(OF_ONE_MAX)
        self._own[service] = own
        return Turn(own, self._everybody)
