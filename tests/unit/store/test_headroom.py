import sqlite3
from pathlib import Path

import pytest

from bridge.store import headroom
from bridge.store.engine import LOG_PAGES, PAGE_BYTES
from bridge.store.headroom import lengthen
from tests.unit.store.world import database


def test_the_log_is_long_and_the_database_is_not(tmp_path: Path) -> None:
    opened = database(tmp_path)
    before = (tmp_path / "bridge.db").stat().st_size

    opened.make_headroom()

    log = (tmp_path / "bridge.db-wal").stat().st_size
    assert log >= LOG_PAGES * PAGE_BYTES
    assert (tmp_path / "bridge.db").stat().st_size == before
    cursor = opened.connected().cursor()
    cursor.execute("SELECT count(*) FROM sqlite_master WHERE name = 'headroom'", ())
    assert list(cursor.fetchall()) == [(0,)]
    cursor.execute("PRAGMA integrity_check", ())
    assert list(cursor.fetchall()) == [("ok",)]
    opened.close()


def test_what_is_committed_afterwards_is_there_after_a_crash(tmp_path: Path) -> None:
    opened = database(tmp_path)
    opened.make_headroom()
    cursor = opened.connected().cursor()
    opened.begin(cursor)
    cursor.execute("UPDATE instance SET reserved = 4711", ())
    opened.connected().commit()

    for name in ("bridge.db", "bridge.db-wal"):
        (tmp_path / f"left-{name}").write_bytes((tmp_path / name).read_bytes())
    left = sqlite3.connect(tmp_path / "left-bridge.db")

    assert left.execute("SELECT reserved FROM instance").fetchall() == [(4711,)]
    left.close()
    opened.close()


def test_a_small_disk_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = database(tmp_path)
    before = (tmp_path / "bridge.db-wal").stat().st_size
    monkeypatch.setattr(headroom, "FREE_MIN", 1 << 62)

    lengthen(opened.connected(), tmp_path / "bridge.db")

    assert (tmp_path / "bridge.db-wal").stat().st_size == before
    opened.close()


def test_a_locked_database_is_left_as_it_is(tmp_path: Path) -> None:
    opened = database(tmp_path)
    other = sqlite3.connect(tmp_path / "bridge.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    opened.make_headroom()

    other.execute("ROLLBACK")
    other.close()
    cursor = opened.connected().cursor()
    opened.begin(cursor)
    opened.connected().rollback()
    opened.close()
