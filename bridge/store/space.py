"""Sees to it that the disk is never full: before that, nothing more is taken in.

What is in already can then still be sent, which makes room. So nobody is told that we
have something which we then cannot keep.
"""

import logging
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
RELIEF = 1.1
"""How many times as much must be free before the disk counts as mended."""

MEGABYTE = 1 << 20
SWING = 32 * MEGABYTE
"""By so much SQLite may grow at once, when it moves its log into the database."""


@dataclass(frozen=True, slots=True)
class Floor:
    """How much of a disk is to stay free: the smaller of both counts."""

    percent: int = 5
    megabytes: int = 500


class Space:
    """How full the disk is on which *file* lies; None if there is none of ours.

    What the database has free within itself, in bytes as *spare* tells them, is free.
    """

    def __init__(
        self,
        file: Path | None,
        floor: Floor,
        *,
        spare: Callable[[Path], int] = lambda _: 0,
        statvfs: Callable[[Path], os.statvfs_result] = os.statvfs,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file
        self._spare = spare
        self._floor = floor
        self._statvfs = statvfs
        self._clock = clock
        self._next = 0.0
        self._low = False

    def low(self) -> bool:
        """Tell whether so little is free that nothing more may be taken in."""
        if self._file is not None and self._clock() >= self._next:
            self._next = self._clock() + LOOK_EVERY_S
            self._look(self._file)
        return self._low

    def _look(self, file: Path) -> None:
        try:
            disk = self._statvfs(file.parent)
        except OSError as error:
            logger.warning("how full the disk is cannot be seen: %s", error.strerror)
            return
        free = disk.f_bavail * disk.f_frsize
        floor = self._least(disk.f_blocks * disk.f_frsize)
        if self._low:
            floor = int(floor * RELIEF)
        low = free < floor and free + self._spare(file) < floor
        if low and not self._low:
            logger.error(
                "only %d MB are free where the database lies: nothing more is taken in"
                " until there are %d MB; make room",
                free // MEGABYTE,
                int(floor * RELIEF) // MEGABYTE,
            )
        elif self._low and not low:
            logger.info("there is room on the disk again")
        self._low = low

    def _least(self, size: int) -> int:
        """Tell how much of a disk of that *size* has to be free, in bytes."""
        floor = min(size * self._floor.percent // 100, self._floor.megabytes * MEGABYTE)
        return max(floor, min(SWING, size // 2)) if floor else 0


def spare_bytes(file: Path) -> int:
    """Tell how much room an SQLite database has for new rows before it grows."""
    try:
        connection = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)
    except sqlite3.Error:
        return 0
    try:
        (pages,) = connection.execute("PRAGMA freelist_count").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    except sqlite3.Error:
        return 0
    finally:
        connection.close()
    return int(pages) * int(size)
