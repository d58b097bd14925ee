"""Sees to it that the disk is never full: before that, nothing more is taken in.

What is in already can then still be sent, which makes room. So nobody is told that we
have something which we then cannot keep.
"""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
RELIEF = 1.1
"""How many times as much must be free before the disk counts as mended."""

MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Floor:
    """How much of a disk is to stay free: the smaller of both counts."""

    percent: int = 5
    megabytes: int = 500


class Space:
    """How full the disk is on which *folder* lies; None if there is none of ours."""

    def __init__(
        self,
        folder: Path | None,
        floor: Floor,
        *,
        statvfs: Callable[[Path], os.statvfs_result] = os.statvfs,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._floor = floor
        self._statvfs = statvfs
        self._clock = clock
        self._next = 0.0
        self._low = False

    def low(self) -> bool:
        """Tell whether so little is free that nothing more may be taken in."""
        if self._folder is not None and self._clock() >= self._next:
            self._next = self._clock() + LOOK_EVERY_S
            self._look(self._folder)
        return self._low

    def _look(self, folder: Path) -> None:
        try:
            disk = self._statvfs(folder)
        except OSError as error:
            logger.warning("how full the disk is cannot be seen: %s", error.strerror)
            return
        free = disk.f_bavail * disk.f_frsize
        floor = min(
            disk.f_blocks * disk.f_frsize * self._floor.percent // 100,
            self._floor.megabytes * MEGABYTE,
        )
        low = free < floor * (RELIEF if self._low else 1)
        if low and not self._low:
            logger.error(
                "only %d MB are free where the database lies: nothing more is taken in"
                " until there are %d MB; make room",
                free // MEGABYTE,
                floor * RELIEF // MEGABYTE,
            )
        elif self._low and not low:
            logger.info("there is room on the disk again")
        self._low = low
