import pytest

from bridge.matrix.client import MatrixError
from bridge.matrix.megolm.ports import Feed
from bridge.matrix.pulls import Mark, Pulls
from tests.homeserver import Fault
from tests.unit.matrix.world import BOT, MatrixWorld

LETTER = {"type": "m.dummy", "sender": "@alice:hs", "content": {}}


@pytest.fixture(params=["sliding", "sync"])
def slides(request: pytest.FixtureRequest, matrix: MatrixWorld) -> bool:
    """Have a homeserver that knows sliding sync, and one that does not."""
    matrix.server.users.add(BOT)
    matrix.server.slides = request.param == "sliding"
    return matrix.server.slides


async def test_what_is_read_is_not_brought_again(
    matrix: MatrixWorld, *, slides: bool
) -> None:
    pulls = Pulls(matrix.homeserver)
    inbox = matrix.server.keys.inboxes[BOT, "D"]
    inbox.append(LETTER)

    first = await pulls.pull(BOT, "D", Mark())
    again = await pulls.pull(BOT, "D", Mark())
    inbox.append({**LETTER, "type": "m.other"})
    second = await pulls.pull(BOT, "D", first.mark)

    assert list(first.feed.to_device) == list(again.feed.to_device) == [LETTER]
    assert [one["type"] for one in second.feed.to_device] == ["m.other"]
    assert bool(first.mark.pos) is slides
    assert bool(first.mark.plain) is not slides


async def test_the_first_time_nobody_knows_what_changed_before(
    matrix: MatrixWorld, *, slides: bool
) -> None:
    del slides
    pulls = Pulls(matrix.homeserver)

    first = await pulls.pull(BOT, "D", Mark())
    matrix.server.changes.append("@alice:hs")
    second = await pulls.pull(BOT, "D", first.mark)

    assert first.feed.gap
    assert second.feed == Feed(
        to_device=[], changed=("@alice:hs",), one_time=0, fallback=False
    )


async def test_what_comes_while_it_is_waited_for_comes_at_once(
    matrix: MatrixWorld, *, slides: bool
) -> None:
    del slides
    pulls = Pulls(matrix.homeserver)
    first = await pulls.pull(BOT, "D", Mark())
    matrix.server.keys.inboxes[BOT, "D"].append(LETTER)

    second = await pulls.pull(BOT, "D", first.mark, 30.0)

    assert list(second.feed.to_device) == [LETTER]


async def test_many_messages_come_in_pages(matrix: MatrixWorld) -> None:
    matrix.server.users.add(BOT)
    matrix.server.keys.inboxes[BOT, "D"] += [LETTER] * 100

    pulled = await Pulls(matrix.homeserver).pull(BOT, "D", Mark())

    assert pulled.more


@pytest.mark.parametrize("status", [400, 404, 405, 501])
async def test_who_knows_no_sliding_sync_is_asked_by_the_other_way(
    matrix: MatrixWorld, status: int
) -> None:
    """What the homeserver does counts, not what it is."""
    matrix.server.users.add(BOT)
    matrix.server.keys.inboxes[BOT, "D"].append(LETTER)
    error = {"errcode": "M_UNRECOGNIZED", "error": "unknown"}
    matrix.server.faults.append(Fault("simplified", status, error))
    pulls = Pulls(matrix.homeserver)

    pulled = await pulls.pull(BOT, "D", Mark())
    await pulls.pull(BOT, "D", pulled.mark)

    assert list(pulled.feed.to_device) == [LETTER]
    assert len(matrix.server.asked("simplified")) == 1


async def test_a_refusal_is_no_reason_to_ask_otherwise(matrix: MatrixWorld) -> None:
    matrix.server.users.add(BOT)
    matrix.server.faults.append(Fault("simplified", 429, {"errcode": "M_X"}))

    with pytest.raises(MatrixError):
        await Pulls(matrix.homeserver).pull(BOT, "D", Mark())

    assert matrix.server.asked("/sync") == matrix.server.asked("simplified")


async def test_an_answer_of_nonsense_brings_nothing(matrix: MatrixWorld) -> None:
    matrix.server.users.add(BOT)
    nonsense = {
        "extensions": {
            "to_device": {"events": ["x"], "next_batch": 7},
            "e2ee": {
                "device_one_time_keys_count": {"signed_curve25519": "x"},
                "device_lists": {"changed": {}, "left": [1]},
            },
        }
    }
    matrix.server.faults.append(Fault("simplified", 200, nonsense))

    pulled = await Pulls(matrix.homeserver).pull(BOT, "D", Mark(since="3"))

    assert pulled.feed == Feed(to_device=[], gap=True)
    assert pulled.mark == Mark(since="3")
