"""Gives out numbers, each greater than all before it, also those of earlier runs."""

BLOCK = 1000


class Numbers:
    """Counts up from *start*, in the thread of the event loop.

    What is on disk says which numbers may be in use, a block at a time: whoever is
    killed leaves a gap and never a number that comes twice.
    """

    __slots__ = ("last",)

    def __init__(self, start: int) -> None:
        self.last = start

    def take(self) -> int:
        """Return the next number."""
        self.last += 1
        return self.last

    def skip(self, number: int) -> None:
        """Use no number up to *number*."""
        self.last = max(self.last, number)

    def to_reserve(self, reserved: int) -> int:
        """Return how far to reserve; *reserved* itself if that is far enough."""
        last = self.last
        return reserved if last <= reserved else last + BLOCK
