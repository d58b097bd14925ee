from collections.abc import Sequence

import pytest

from bridge.core.parts import is_followed, read_rest, through_part
from bridge.model.delivery import Parcel, Wire
from bridge.model.places import Network

PAGE = 2


def parcel(number: int, *, seq: int = 0, last: bool = True) -> Parcel:
    """Make a parcel of one lane."""
    wire = Wire(str(number), b"")
    return Parcel(number, Network.MATRIX, "tea", wire, last=last, seq=seq)


WHOLE = parcel(1, seq=1)
FIRST = parcel(2, seq=2, last=False)
SECOND = parcel(3, seq=2, last=False)
THIRD = parcel(4, seq=2, last=False)
LAST = parcel(5, seq=2)
NEXT = parcel(6, seq=3)
WORDS = parcel(7, last=False)


@pytest.mark.parametrize(
    ("parcels", "sent"),
    [
        ([WHOLE, NEXT], [WHOLE, NEXT]),
        ([WHOLE, FIRST, SECOND], [WHOLE, FIRST]),
        ([SECOND, LAST, NEXT], [SECOND]),
        ([LAST, NEXT], [LAST, NEXT]),
        ([WORDS, NEXT], [WORDS, NEXT]),
    ],
)
def test_what_follows_a_part_waits_for_it(
    parcels: list[Parcel], sent: list[Parcel]
) -> None:
    assert list(through_part(parcels)) == sent


def test_what_the_bridge_itself_says_has_no_parts() -> None:
    assert not is_followed(WORDS)
    assert is_followed(FIRST)


@pytest.mark.parametrize(
    ("part", "rest"),
    [
        (FIRST, [SECOND, THIRD, LAST]),
        (SECOND, [THIRD, LAST]),
        (LAST, []),
        (WHOLE, []),
    ],
)
async def test_the_rest_ends_with_the_message(part: Parcel, rest: list[Parcel]) -> None:
    lane = [WHOLE, FIRST, SECOND, THIRD, LAST, NEXT]

    async def read(after: int) -> Sequence[Parcel]:
        return [one for one in lane if one.id > after][:PAGE]

    assert await read_rest(part, read) == rest


@pytest.mark.parametrize("left", [[], [NEXT]])
async def test_a_rest_that_was_sent_long_ago_is_none(left: list[Parcel]) -> None:
    async def read(_: int) -> Sequence[Parcel]:
        return left

    assert await read_rest(FIRST, read) == []
