import asyncio

import pytest

from bridge.xmpp.codec.presence import Seen
from bridge.xmpp.missing import DOUBTED_MAX, Missing
from bridge.xmpp.occupancy import Occupancy

MUC = "tea@muc.example"
HATTER = f"{MUC}/Hatter"


class Muc:
    """A MUC that we have entered."""

    def __init__(self) -> None:
        self.occupancy = Occupancy(MUC)
        self.missing = Missing(self.occupancy)
        self.comes("Matrix bridge")

    def comes(self, nick: str) -> None:
        self.occupancy.enter(Seen(nick, gone=False, statuses=frozenset()))

    def let_in(self, occupants: int = 0) -> None:
        self.missing.entered(occupants)
        self.missing.inside()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.xmpp.missing.GRACE_S", 0.0)


async def test_whoever_was_there_and_is_not_seen_is_gone() -> None:
    muc = Muc()
    muc.missing.doubt(HATTER)

    muc.let_in()

    assert muc.missing.due
    assert muc.missing.next() == HATTER
    assert muc.missing.next() == ""
    assert not muc.missing.due


async def test_whoever_comes_meanwhile_is_not() -> None:
    muc = Muc()
    muc.missing.doubt(HATTER)
    muc.let_in()

    muc.comes("Hatter")

    assert muc.missing.next() == ""


async def test_there_is_time_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.xmpp.missing.GRACE_S", 0.01)
    muc = Muc()
    muc.missing.doubt(HATTER)

    muc.let_in()

    assert not muc.missing.due
    async with asyncio.timeout(5):
        while not muc.missing.due:  # noqa: ASYNC110 - a clock, and no event
            await asyncio.sleep(0.005)


async def test_a_room_that_hides_somebody_tells_of_nobody() -> None:
    muc = Muc()
    muc.missing.doubt(HATTER)

    muc.let_in(1000)
    muc.missing.spoke(f"{MUC}/Hare")

    assert not muc.missing.due
    assert len(muc.missing) == 1


async def test_who_leaves_as_we_come_hides_nobody() -> None:
    muc = Muc()

    muc.let_in(1)

    assert muc.missing.due


async def test_whoever_spoke_unseen_as_we_came_in_is_asked_after() -> None:
    muc = Muc()
    muc.missing.spoke(f"{MUC}/too early")
    muc.let_in()
    muc.comes("Hare")

    muc.missing.spoke(f"{MUC}/Hare")
    muc.missing.spoke(HATTER)

    assert muc.missing.next() == HATTER
    assert muc.missing.next() == ""
    muc.missing.spoke(HATTER)
    assert len(muc.missing) == 0


async def test_out_of_the_room_nothing_is_known() -> None:
    muc = Muc()
    muc.missing.doubt(HATTER)
    muc.let_in()

    muc.missing.outside()

    assert not muc.missing.due
    muc.missing.inside()
    assert not muc.missing.due


async def test_memory_is_bounded() -> None:
    muc = Muc()

    for number in range(2 * DOUBTED_MAX):
        muc.missing.doubt(f"{MUC}/{number}")

    assert len(muc.missing) == DOUBTED_MAX
