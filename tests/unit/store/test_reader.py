from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from bridge.core.ports import StoreUnavailableError
from bridge.store.engine import parse
from bridge.store.reader import Reader
from tests.unit.store.world import database


def answer(connection: Connection) -> object:
    return connection.scalar(text("SELECT 42"))


async def test_a_query_runs_beside_the_loop(tmp_path: Path) -> None:
    reader = Reader(parse(f"sqlite:///{tmp_path}/bridge.db"))

    assert await reader.read(answer) == 42

    await reader.close()


async def test_what_cannot_be_read_twice_is_unavailable(tmp_path: Path) -> None:
    reader = Reader(parse(f"sqlite:///{tmp_path}/bridge.db"))

    with pytest.raises(StoreUnavailableError, match="no such table"):
        await reader.read(lambda c: c.execute(text("SELECT * FROM inbox")))

    await reader.close()


async def test_a_reader_sees_what_was_committed_meanwhile(tmp_path: Path) -> None:
    opened = database(tmp_path)
    reader = Reader(parse(f"sqlite:///{tmp_path}/bridge.db"))

    def epoch(connection: Connection) -> object:
        return connection.scalar(text("SELECT epoch FROM instance"))

    assert await reader.read(epoch) == 1
    opened.close()
    opened.open()

    assert await reader.read(epoch) == 2
    await reader.close()
    opened.close()
