"""The network between the processes: questions that take time, and pipes with order.

What has left a process is on its way whatever becomes of it; what comes for one that
is frozen waits for it, and what comes for a dead one is lost.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from tests.simulation.dice import Dice
from tests.simulation.loop import Process, SimLoop

T = TypeVar("T")

LOST_S = 30.0


class ServerError(Exception):
    """What a server may answer instead of doing as it is asked."""


class DownError(ServerError):
    """Nobody answers, or not as they should."""


class Net:
    """Carries questions to servers and brings the answers back."""

    def __init__(self, loop: SimLoop, dice: Dice) -> None:
        self.loop = loop
        self.dice = dice
        self.latency_s = 0.005
        self.plain_percent = 0

    async def ask(self, act: Callable[[], T]) -> T:
        """Have a server *act*, and wait for what it answers.

        *act* may raise a ``ServerError``. It may return a ``Lost``: it has acted,
        but the answer will not come, and whoever asks finds out in their own time.
        """
        answer: asyncio.Future[Any] = self.loop.create_future()

        def arrive() -> None:
            try:
                result = act()
            except ServerError as error:
                why = error
                self.after(self.latency_s, lambda: _fail(answer, why))
                return
            if isinstance(result, Lost):
                lost = DownError("no answer")
                self.after(result.after_s, lambda: _fail(answer, lost))
            else:
                self.after(self.latency_s, lambda: _answer(answer, result))

        self.after(self.latency_s, arrive)
        found: T = await answer
        return found

    def after(self, typical_s: float, call: Callable[[], None]) -> None:
        """Call in the world outside of all processes."""
        pause_s = self.dice.delay(typical_s)
        self.loop.call_later(pause_s, call, context=self.loop.world)


class Lost:
    """The answer is lost on its way."""

    def __init__(self, after_s: float = LOST_S) -> None:
        self.after_s = after_s


class Pipe:
    """One direction of a connection: in order, each thing after a moment.

    *owner* is the process at its end, None if that is a server.
    """

    def __init__(
        self, net: Net, take: Callable[[Any], None], owner: Process | None
    ) -> None:
        self._net = net
        self._take = take
        self._context = net.loop.world if owner is None else owner.context
        self._last = 0.0
        self._open = True

    def put(self, thing: object) -> None:
        """Send *thing*."""
        net = self._net
        at = net.loop.time() + net.dice.delay(net.latency_s)
        self._last = at = max(at, self._last)
        net.loop.call_at(at, self._arrive, thing, context=self._context)

    def cut(self) -> None:
        """Lose all that is on its way."""
        self._open = False

    def _arrive(self, thing: object) -> None:
        if self._open:
            self._take(thing)


def _answer(future: "asyncio.Future[Any]", result: object) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
