from collections.abc import Sequence

from bridge.store.paging import read_sure

PAGE = 2


class Shelf:
    """Numbers, read a page at a time."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers

    async def read(self, after: int) -> Sequence[int]:
        return [one for one in self._numbers if one > after][:PAGE]


async def read(shelf: Shelf, after: int, *unsure: int) -> Sequence[int]:
    return await read_sure(shelf.read, after, lambda one: one, set(unsure))


async def test_a_page_of_what_may_not_be_read_yet_is_not_the_end() -> None:
    """Else what lies behind it would wait for ever (simulation, seed 3013698)."""
    assert await read(Shelf(1, 2, 3, 4, 5), 0, 1, 2, 3, 4) == [5]


async def test_of_a_page_what_is_sure_is_returned() -> None:
    assert await read(Shelf(1, 2, 3), 0, 1) == [2]


async def test_after_all_that_is_there_comes_nothing() -> None:
    assert not await read(Shelf(1, 2), 2)
    assert not await read(Shelf(1, 2), 0, 1, 2)


async def test_what_becomes_sure_meanwhile_is_not_overtaken() -> None:
    """It was written, and is told so while we look behind it (simulation, seed 15)."""
    unsure, shelf = {1, 2, 3, 4}, Shelf(1, 2, 3, 4)

    async def told_meanwhile(after: int) -> Sequence[int]:
        page = await shelf.read(after)
        if after:
            unsure.clear()
        return page

    assert await read_sure(told_meanwhile, 0, lambda one: one, unsure) == [1, 2]
