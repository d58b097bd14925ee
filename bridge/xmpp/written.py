"""Remembers across kill -9 which parcels the kernel has taken for the server.

A ring of ids in a mapped file: what a killed process wrote into it survives in the
page cache, without a single fsync. It does not survive the machine; so the ring
counts only on the boot that it was written on, and if it was the last run on the
database that wrote it. If not, all that waits from earlier runs is in doubt.
"""

import hashlib
import mmap
import os
import secrets
import struct
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path

from bridge.core.ports import Store, Unit
from bridge.model.records import Cursor

SLOTS = 16_384
"""More than can be on its way at once: 64 parcels in each of 256 busy lanes."""

_IDENTITY = "identity"
_WRITTEN = "written"
_HEADER = struct.Struct("<8s32sQ")
_OWNER = struct.Struct("<32s")
_SLOT = struct.Struct("<Q")
_RING = struct.Struct(f"<{SLOTS}Q")
_PLACE = struct.Struct("<Q")
_PLACE_OFFSET = 40
_OWNER_AT = slice(8, _PLACE_OFFSET)
_START = 64
_SIZE_BYTES = _START + SLOTS * _SLOT.size
_MAGIC = b"written1"
_DOUBT = 1 << 63
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Marks:
    """The parcels that were written before.

    Of those of an *earlier* run the kernel had the bytes. Whether those have arrived
    that are *doubted*, nobody knows: they were written to a stream that was then lost,
    or may have been by a run that has left no ring.
    """

    earlier: Container[int] = ()
    doubted: Container[int] = ()


NOTHING = Marks()


class Doubts:
    """Numbers: those noted, and all up to *through*."""

    def __init__(self, numbers: Iterable[int] = (), through: int = 0) -> None:
        self._numbers = frozenset(numbers)
        self._through = through

    def __contains__(self, number: object) -> bool:
        return number in self._numbers or (
            isinstance(number, int) and number <= self._through
        )

    def note(self, numbers: Iterable[int]) -> None:
        """Put *numbers* in the place of those that were noted before."""
        self._numbers = frozenset(numbers)


class Written:
    """The parcels whose bytes have left this process.

    *owner* names the run on a database that wrote the ring last. *earlier* are those
    which it had written. If it did not write this ring, all ids up to *since* are in
    doubt.
    """

    def __init__(
        self, path: Path, owner: str, boot: str | None = None, since: int = 0
    ) -> None:
        self._boot = _boot_id() if boot is None else boot
        self._seals = seal = self._seal(owner)
        self._map = _open(path)
        magic, found, place = _HEADER.unpack_from(self._map)
        if magic == _MAGIC and found == seal and self._boot:
            self._place = place % SLOTS
            marks = frozenset(self._marks()) - {0}
            self.earlier = frozenset(one for one in marks if not one & _DOUBT)
            self.doubted = Doubts({one & ~_DOUBT for one in marks} - self.earlier)
        else:
            self._map[:] = bytes(_SIZE_BYTES)
            _HEADER.pack_into(self._map, 0, _MAGIC, seal, 0)
            self._place = 0
            self.earlier = frozenset[int]()
            self.doubted = Doubts(through=since)

        self.count = 0
        self._arrived = 0

    def __contains__(self, parcel: int) -> bool:
        return parcel in self.earlier

    @property
    def marks(self) -> Marks:
        """What is known, now and later."""
        return Marks(self.earlier, self.doubted)

    def mark(self, parcels: Iterable[int]) -> None:
        """Note that the kernel has taken the bytes of *parcels*."""
        if self._ousted:
            return
        place = self._place
        for parcel in parcels:
            self.count += 1
            _SLOT.pack_into(self._map, _START + place * _SLOT.size, parcel)
            place = (place + 1) % SLOTS
        self._place = place
        _PLACE.pack_into(self._map, _PLACE_OFFSET, place)

    def arrived(self, count: int) -> None:
        """Note that the first *count* that this run has marked were routed for sure."""
        self._arrived = max(self._arrived, count)

    def forget(self) -> None:
        """Doubt what this run has marked and is not known to have arrived.

        The server may have fallen with it: what may be lost is sent again.
        """
        if self._ousted:
            return
        marks = list(self._marks())
        for back in range(min(self.count - self._arrived, SLOTS)):
            place = (self._place - 1 - back) % SLOTS
            marks[place] = self._doubt(marks[place])
        _RING.pack_into(self._map, _START, *marks)
        self.doubted.note(mark & ~_DOUBT for mark in marks if mark & _DOUBT)

    def belong(self, owner: str) -> None:
        """Note who writes here from now on."""
        self._seals = self._seal(owner)
        _OWNER.pack_into(self._map, len(_MAGIC), self._seals)

    @property
    def _ousted(self) -> bool:
        """Whether another run writes here: one that was frozen must not break that."""
        return self._map[_OWNER_AT] != self._seals

    def close(self) -> None:
        """Let go of the file; what it says stays."""
        self._map.close()

    def _seal(self, owner: str) -> bytes:
        return hashlib.sha256(f"{self._boot}\n{owner}".encode()).digest()

    def _doubt(self, mark: int) -> int:
        return mark | _DOUBT if mark and mark not in self.earlier else mark

    def _marks(self) -> Iterable[int]:
        return (number for (number,) in _SLOT.iter_unpack(self._map[_START:]))


def _open(path: Path) -> mmap.mmap:
    """Map the file, with all its blocks there: a full disk must not kill us later."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, _SIZE_BYTES)
        return mmap.mmap(descriptor, _SIZE_BYTES)
    finally:
        os.close(descriptor)


def _boot_id() -> str:
    """Name this run of the machine; empty, and so never the same, if it has none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


async def begin(path: Path, store: Store) -> Written:
    """Read what the last run on *store* has written, and begin another.

    Each run has a name of its own, in the database and in the ring: a ring that
    another machine or a backup has left behind says nothing.
    """
    last = await store.find(Cursor, _IDENTITY, _WRITTEN)
    written = Written(path, last.value if last else "", since=store.number())
    name = secrets.token_hex(16)
    await store.commit(Unit(put=[Cursor(_IDENTITY, _WRITTEN, name)]))
    written.belong(name)
    return written
