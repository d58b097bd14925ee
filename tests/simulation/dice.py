"""Chance that can be had again: the same seed, the same throws."""

from collections.abc import Sequence
from random import Random  # noqa: TID251 - a seed must give the same throws again
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """Throws that a seed decides."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - nothing here is secret

    def chance(self, probability: float) -> bool:
        """Say yes now and then."""
        return self._random.random() < probability

    def whole(self, low: int, high: int) -> int:
        """Choose a whole number from *low* to *high*, both included."""
        return low + int(self._random.random() * (high - low + 1))

    def span(self, low: float, high: float) -> float:
        """Choose a number between *low* and *high*."""
        return low + self._random.random() * (high - low)

    def delay(self, typical: float) -> float:
        """Choose how long something takes: mostly *typical*, sometimes much longer."""
        wild = self._random.random()
        stretch = 10.0 if wild > 0.97 else 1.0
        return typical * (0.2 + self._random.random() * 1.6) * stretch

    def pick(self, things: Sequence[T]) -> T:
        """Choose one of *things*."""
        return things[int(self._random.random() * len(things))]

    def token(self) -> str:
        """Make a name that nothing else bears."""
        return f"{self._random.getrandbits(64):016x}"
