from pathlib import Path

import pytest

from bridge.store.errors import AlreadyRunningError
from bridge.store.lock import FileLock


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "bridge.db"), FileLock(tmp_path / "bridge.db")
    first.acquire()

    with pytest.raises(AlreadyRunningError, match=r"bridge\.db\.lock"):
        second.acquire()

    first.release()
    second.acquire()
    second.release()


def test_letting_go_twice_does_no_harm(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "bridge.db")
    lock.acquire()

    lock.release()
    lock.release()


def test_nobody_else_may_read_the_lock(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "bridge.db")
    lock.acquire()

    mode = (tmp_path / "bridge.db.lock").stat().st_mode

    assert mode & 0o777 == 0o600
    lock.release()
