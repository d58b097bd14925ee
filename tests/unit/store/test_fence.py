import asyncio
from collections.abc import Sequence

import pytest

from bridge.core.ports import StoreUnavailableError
from bridge.store import fence as module
from bridge.store.fence import Fence


class Epochs:
    """What the database answers, each time it is asked; the last for ever."""

    def __init__(self, answers: Sequence[int | Exception]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self) -> int:
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.001)


async def test_who_has_nothing_to_write_still_learns_that_another_has_begun() -> None:
    epochs = Epochs([3, 3, 4])

    async with asyncio.timeout(10):
        await Fence(3, epochs).fallen()

    assert epochs.asked == 3


async def test_a_database_that_is_away_says_nothing() -> None:
    epochs = Epochs([StoreUnavailableError("away"), StoreUnavailableError("away"), 4])

    async with asyncio.timeout(10):
        await Fence(3, epochs).fallen()

    assert epochs.asked == 3


async def test_whoever_writes_learns_it_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Told in the thread that writes."""
    monkeypatch.setattr(module, "LOOK_EVERY_S", 1000)
    epochs = Epochs([3])
    fence = Fence(3, epochs)

    await asyncio.to_thread(fence.fall)
    async with asyncio.timeout(10):
        await fence.fallen()

    assert epochs.asked == 0
