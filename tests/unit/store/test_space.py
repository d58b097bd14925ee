import logging
import os
import sqlite3
from pathlib import Path

import pytest

from bridge.core.ports import StoreUnavailableError, Unit
from bridge.store.space import MEGABYTE, Floor, Space, spare_bytes
from bridge.store.store import SqlStore
from tests.unit.store.world import KEY, taken

HERE = Path("bridge.db")


class Disk:
    """A disk of so many megabytes, and a clock."""

    def __init__(self, size: int, free: int) -> None:
        self.size, self.free = size, free
        self.now = 1.0
        self.broken = False
        self.looks = 0
        self.spare = 0

    def statvfs(self, _: Path) -> os.statvfs_result:
        self.looks += 1
        if self.broken:
            raise OSError(5, "Input/output error")
        size, free = self.size, self.free
        return os.statvfs_result(
            (MEGABYTE, MEGABYTE, size, free, free, 1, 1, 1, 0, 255)
        )

    def space(self, floor: Floor | None = None) -> Space:
        return Space(
            HERE,
            floor or Floor(),
            spare=lambda _: self.spare * MEGABYTE,
            statvfs=self.statvfs,
            clock=lambda: self.now,
        )


@pytest.mark.parametrize(
    ("size", "free", "low"),
    [
        (1_000_000, 501, False),
        (1_000_000, 499, True),
        (1_000, 51, False),
        (1_000, 49, True),
        (100, 33, False),
        (100, 31, True),
        (20, 11, False),
        (20, 9, True),
    ],
)
def test_the_smaller_of_share_and_size_counts_but_a_log_always_fits(
    size: int, free: int, *, low: bool
) -> None:
    assert Disk(size, free).space().low() is low


def test_the_admin_is_told_once_and_when_it_is_mended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    disk = Disk(1_000, 49)
    space = disk.space()

    for free, low in ((49, True), (40, True), (54, True), (60, False)):
        disk.free = free
        disk.now += 10
        assert space.low() is low

    levels = [record.levelname for record in caplog.records]
    assert levels == ["ERROR", "INFO"]
    assert "only 49 MB are free" in caplog.text


def test_what_is_free_within_the_database_is_free() -> None:
    """What was sent leaves room in the file, which itself does not shrink."""
    disk = Disk(1_000, 10)
    space = disk.space()
    assert space.low()

    disk.spare, disk.now = 50, 10

    assert not space.low()


def test_the_database_tells_what_is_free_within_it(tmp_path: Path) -> None:
    file = tmp_path / "some.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE words (said BLOB)")
        connection.execute("INSERT INTO words VALUES (zeroblob(1000000))")
        connection.commit()
        assert spare_bytes(file) == 0
        connection.execute("DELETE FROM words")
    connection.close()

    assert 900_000 < spare_bytes(file) < 1_100_000
    assert spare_bytes(tmp_path / "none.db") == 0
    (tmp_path / "no.db").write_bytes(b"nonsense" * 1000)
    assert spare_bytes(tmp_path / "no.db") == 0


def test_it_does_not_look_each_time() -> None:
    disk = Disk(1_000, 500)
    space = disk.space()

    for _ in range(1000):
        space.low()

    assert disk.looks == 1


def test_a_disk_that_cannot_be_seen_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk = Disk(1_000, 1)
    disk.broken = True

    assert not disk.space().low()
    assert "Input/output error" in caplog.text


def test_a_floor_of_nothing_is_no_floor() -> None:
    assert not Disk(1_000, 0).space(Floor(0, 0)).low()
    assert not Space(None, Floor()).low()


async def test_a_disk_that_is_nearly_full_takes_nothing_in_and_sends_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(1_000, 500)
    store = await SqlStore.open(f"sqlite:///{tmp_path}/bridge.db", KEY)
    monkeypatch.setattr(store, "_space", disk.space())
    await store.commit(Unit(take=[taken(1)]))

    disk.free, disk.now = 10, 100
    with pytest.raises(StoreUnavailableError, match="nearly full"):
        await store.commit(Unit(take=[taken(2)]))
    await store.commit(Unit(done=[1]))
    disk.free, disk.now = 500, 200
    await store.commit(Unit(take=[taken(2)]))

    assert (await store.counts())["waiting"] == 1
    await store.close()
