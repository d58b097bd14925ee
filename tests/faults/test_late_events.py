"""Events that come late from other homeservers."""

from pathlib import Path

from tests.hostile.stage import staged
from tests.unit.matrix.world import ALICE, HALL


async def test_what_is_older_but_comes_later_is_said_later(tmp_path: Path) -> None:
    """Row 29: the order is that in which the homeserver came to know."""
    async with staged(tmp_path) as stage:
        said = {"msgtype": "m.text", "body": "late"}
        times = {"origin_server_ts": 1_600_000_000_000}
        await stage.alice_says("first")
        late = stage.server.add(HALL, ALICE, "m.room.message", said, **times)
        await stage.happens(late)
        await stage.alice_says("last")

        assert stage.heard() == ["first", "late", "last"]
