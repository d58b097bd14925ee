from pathlib import Path

import pytest

from bridge.core.ports import StoreUnavailableError
from bridge.store.errors import AlreadyRunningError
from tests.unit.store.world import database


def test_a_connection_that_was_given_up_is_made_anew(tmp_path: Path) -> None:
    opened = database(tmp_path)
    first = opened.connected()
    assert opened.connected() is first

    opened.disconnect()

    assert opened.connected() is not first
    opened.close()


def test_a_closed_database_can_be_opened_by_another(tmp_path: Path) -> None:
    first = database(tmp_path)
    with pytest.raises(AlreadyRunningError):
        database(tmp_path)
    first.close()

    database(tmp_path).close()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "bridge.db").write_text("A plague o' both your houses! " * 99)

    with pytest.raises(StoreUnavailableError, match="file is not a database"):
        database(tmp_path)
