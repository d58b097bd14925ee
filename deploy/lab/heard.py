"""What people hear, kept in order per conversation until somebody asks for it.

Strict: the next thing heard in a conversation has to be the one expected. So what
comes twice, or in the wrong order, or should never have come, is found at once.
"""

import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

PATIENCE_S = 20.0

T = TypeVar("T")


class NotHeardError(AssertionError):
    """Something did not come as it should."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message as its reader sees it.

    *name* is what the sender is called there, *id* what the network calls the
    message, *raw* all there is of it.
    """

    where: str
    sender: str
    text: str
    id: str = ""
    name: str = ""
    raw: object = field(default=None, compare=False, repr=False)


class Ears:
    """What one person has heard and nobody has asked for yet."""

    def __init__(self, whose: str, pull: Callable[[float], Awaitable[None]]) -> None:
        self._whose = whose
        self._pull = pull
        self._waiting: dict[str, deque[Heard]] = {}

    def put(self, heard: Heard) -> None:
        """Add what was heard last."""
        self._waiting.setdefault(heard.where, deque()).append(heard)

    def forget(self) -> None:
        """Forget all that was heard before."""
        self._waiting.clear()

    async def next(self, where: str, within_s: float = PATIENCE_S) -> Heard:
        """Return what is heard next in a conversation."""
        queue = self._waiting.setdefault(where, deque())
        await self.until(lambda: queue or None, f"a message in {where}", within_s)
        return queue.popleft()

    async def hears(
        self, text: str, sender: str, where: str, within_s: float = PATIENCE_S
    ) -> Heard:
        """Expect *text* as the very next message of a conversation.

        *sender* may be the address or the name.
        """
        try:
            heard = await self.next(where, within_s)
        except NotHeardError:
            raise NotHeardError(
                f"{self._whose} did not hear {sender} say {text[:80]!r} in {where}"
            ) from None
        if heard.text != text or sender not in {heard.sender, heard.name}:
            raise NotHeardError(
                f"{self._whose} heard {heard.sender} ({heard.name}) say"
                f" {heard.text[:300]!r} in"
                f" {where}, and not {sender} say {text[:300]!r}"
            )
        return heard

    async def hears_unordered(
        self, wanted: Iterable[tuple[str, str]], where: str
    ) -> None:
        """Expect all these (text, sender), in any order, and nothing in between."""
        left = list(wanted)
        while left:
            heard = await self.next(where)
            said = {(heard.text, heard.sender), (heard.text, heard.name)}
            if (match := next((one for one in left if one in said), None)) is None:
                raise NotHeardError(f"{self._whose} heard {heard}, and not of {left}")
            left.remove(match)

    def all_heard(self, where: str) -> list[Heard]:
        """Return what was heard in a conversation and not asked for, and forget it."""
        queue = self._waiting.setdefault(where, deque())
        heard = list(queue)
        queue.clear()
        return heard

    async def count(self, where: str, number: int, within_s: float) -> list[Heard]:
        """Wait until *number* messages came in a conversation; return all of them."""
        queue = self._waiting.setdefault(where, deque())
        try:
            await self.until(
                lambda: len(queue) >= number or None, f"{number} messages", within_s
            )
        except NotHeardError:
            raise NotHeardError(
                f"{self._whose} heard {len(queue)} of {number} messages in {where}:"
                f" the last is {queue[-1] if queue else None}"
            ) from None
        return self.all_heard(where)

    async def until(
        self, ready: Callable[[], T | None], what: str, within_s: float = PATIENCE_S
    ) -> T:
        """Listen until *ready* returns something."""
        deadline = time.monotonic() + within_s
        while (found := ready()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                others = {k: list(v)[:3] for k, v in self._waiting.items() if v}
                raise NotHeardError(
                    f"{self._whose} waited {within_s:.0f} s for {what};"
                    f" heard meanwhile and not asked for: {others}"
                )
            await self._pull(left)
        return found
