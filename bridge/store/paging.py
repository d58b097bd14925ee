"""Reads page by page past what nobody may read yet."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def read_sure(
    read: Callable[[int], Awaitable[Sequence[T]]],
    after: int,
    number: Callable[[T], int],
    unsure: set[int],
) -> list[T]:
    """Read on *after* a number until something is found that is not *unsure*.

    *read* returns the page that comes after a number, empty at the end. A page may
    hold nothing else than what may or may not have been written: that is not the end.
    What was passed over and is sure by now comes first.
    """
    passed: list[int] = []
    while page := await read(passed[-1] if passed else after):
        if not unsure.issuperset(passed):
            passed = []
            continue
        if sure := [one for one in page if number(one) not in unsure]:
            return sure
        passed += map(number, page)
    return []
