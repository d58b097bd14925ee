"""The device of one account, and its operations: one at a time, each whole or not.

    operation(unit) -> changes in memory -> staged -> unit committed -> on disk

Rules: an operation never waits for the network; if it fails nothing has changed; its
unit writes only the rows that it touched, as they stand when the unit is handed in,
and those of operations before it whose unit was not: it may never be.

A row may by then hold what a later operation did. So while one has been done whose
unit was not handed in yet (a message read, not yet carried), what it had found out
is written along, under *opened*: after a crash the ratchet has moved on, and the
message could not be opened again.
"""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from itertools import chain
from typing import Final, NamedTuple

import msgspec
from omemo import Backend
from omemo.identity_key_pair import IdentityKeyPairSeed

from bridge.core.ports import Unit
from bridge.model.records import Secret
from bridge.xmpp.endtoend import Empty, Plain
from bridge.xmpp.omemo import trust
from bridge.xmpp.omemo.backends import backends
from bridge.xmpp.omemo.device import Bundles, Desk, OwnDevice, Wanted, device_class
from bridge.xmpp.omemo.names import NAMESPACES, owner
from bridge.xmpp.omemo.shelf import Shelf

ROTATION_S: Final = 7 * 86_400
ABANDONED_S: Final = 900
IDLE_S: Final = 30

_NEVER_S: Final = 10**9
_RECALLED_MAX: Final = 64
_OPENED: Final = "opened"
_RENEWED: Final = "/pep/renewed"
_SEED_LENGTH: Final = 32
_SIGN: Final = 0x80


class Kept(msgspec.Struct):
    """What an arrival had turned out to be, as it is kept."""

    plain: Plain | None = None
    empty: Empty | None = None


class Recalled(NamedTuple):
    """What an operation found out, and the rows that it touched."""

    found: Plain | Empty
    rows: frozenset[str]


class Account:
    """One account of ours; see the module."""

    def __init__(
        self, jid: str, desk: Desk, device: OwnDevice, versions: Iterable[Backend]
    ) -> None:
        self.jid = jid
        self.desk = desk
        self.shelf = desk.shelf
        self.device = device
        self.versions = {one.namespace: one for one in versions}
        self.fed: dict[tuple[str, str], frozenset[int]] = {}
        self.healed: dict[tuple[str, str, int], float] = {}
        self.used_at = time.monotonic()
        self._held = 0
        self._lock = asyncio.Lock()
        self._waiting: dict[str, float] = {}
        self._recalled: OrderedDict[str, Recalled] = OrderedDict()
        self._unwritten: frozenset[str] = frozenset()
        self._begun: frozenset[Wanted] = frozenset()
        self._found: tuple[str, Plain | Empty] | None = None
        self._written = self.shelf.holds(_OPENED)
        self._reload()

    @classmethod
    async def open(
        cls, jid: str, rows: Mapping[str, bytes], bundles: Bundles, label: str
    ) -> "Account":
        """Load an account from its *rows*, or make its device if there are none."""
        shelf = Shelf(owner(jid), rows)
        if not rows:
            await _choose_identity(shelf)
        desk = Desk(jid, shelf, bundles)
        versions = backends(shelf, desk.pick)
        device = await device_class(desk).create(
            list(versions),
            shelf,
            jid,
            label,
            trust.UNDECIDED,
            signed_pre_key_rotation_period=_NEVER_S,
        )
        # It only renews keys, whenever it likes; we do so ourselves, in an operation.
        await device.shutdown()
        if not rows:
            shelf.put(_RENEWED, time.time())
        return cls(jid, desk, device, versions)

    @property
    def id(self) -> int:
        """The number of the device."""
        number: int = self.shelf.get("/own_device_id")
        return number

    @property
    def is_idle(self) -> bool:
        """Whether it may be forgotten: nothing that it did is still on its way."""
        resting = time.monotonic() - self.used_at > IDLE_S
        return resting and not self._held and not self.waits

    @property
    def waits(self) -> bool:
        """Whether an operation was done whose unit was not handed in yet."""
        now = time.monotonic()
        for key in [k for k, at in self._waiting.items() if at < now - ABANDONED_S]:
            del self._waiting[key]
        return bool(self._waiting)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep it in memory, though it waits for the network between operations.

        Of two copies each would go on with the same ratchets.
        """
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self.used_at = time.monotonic()

    @asynccontextmanager
    async def operation(self, unit: Unit) -> AsyncIterator[None]:
        """Do something at once or not at all; what changes is staged into *unit*."""
        async with self._lock:
            self.used_at = time.monotonic()
            self.shelf.begin()
            self.desk.clear()
            self._found = None
            try:
                yield
            except BaseException:
                self.shelf.undo()
                self.desk.unpick()
                self.fed.clear()
                raise
            rows = self.shelf.touched()
            begun = frozenset(device for device, _ in self.desk.picked)
            self._begun |= begun
            if self._found is None:
                # What comes to nothing, as it is too large once sealed, is not undone.
                self._unwritten |= rows
                self._stage(unit, rows, "", begun)
            else:
                self._keep(*self._found, rows)
                self._stage(unit, rows, self._found[0], begun)

    def remember(self, key: str, found: Plain | Empty) -> None:
        """Within an operation: keep what the arrival *key* turned out to be.

        Until its unit is handed in, it is also known after a crash.
        """
        if key:
            self._found = key, found

    def recall(self, key: str, unit: Unit) -> Plain | Empty | None:
        """Return what the arrival *key* had turned out to be, and stage it again."""
        if not key:
            return None
        known = self._recalled.get(key)
        if known is not None:
            self._stage(unit, known.rows, key)
            return known.found
        return None

    async def renew(self, older_s: float | None = None) -> bool:
        """Within an operation: renew signed pre keys that are too old."""
        due = False
        older_s = ROTATION_S if older_s is None else older_s
        for version in self.versions.values():
            if await version.signed_pre_key_age() > older_s:
                await version.rotate_signed_pre_key()
                await self.device._upload_bundle(  # noqa: SLF001 - our own hook
                    await version.get_bundle(self.jid, self.id)
                )
                due = True
        if due:
            self.shelf.put(_RENEWED, time.time())
        return due

    def sessions(self, peer: str) -> list[tuple[str, int]]:
        """List the devices of *peer* that there are sessions with, by namespace."""
        return [
            (namespace, device)
            for namespace in NAMESPACES
            for device in self.shelf.get(f"/{namespace}/{peer}/device_ids") or ()
        ]

    def _reload(self) -> None:
        """Take note of what an earlier run had opened and not carried."""
        for place in self.shelf.keys(_OPENED):
            kept = msgspec.convert(self.shelf.get(place), Kept)
            key = place.removeprefix(_opened(""))
            self._keep(key, kept.plain or kept.empty or Empty(), frozenset())
            self._waiting[key] = time.monotonic()

    def _keep(self, key: str, found: Plain | Empty, rows: frozenset[str]) -> None:
        self._recalled[key] = Recalled(found, rows)
        if len(self._recalled) > _RECALLED_MAX + len(self._waiting):
            old = next(one for one in self._recalled if one not in self._waiting)
            del self._recalled[old]

    def _stage(
        self,
        unit: Unit,
        rows: frozenset[str],
        key: str,
        begun: frozenset[Wanted] = frozenset(),
    ) -> None:
        if key:
            self._waiting[key] = time.monotonic()
        if rows or key or begun:
            unit.late.append(lambda: self._records(rows, key, begun))

    def _records(
        self, rows: frozenset[str], key: str, begun: frozenset[Wanted]
    ) -> Iterable[Secret]:
        """Write *rows*, and which keys of others have begun sessions, as they stand."""
        rows, self._unwritten = rows | self._unwritten, frozenset()
        begun, self._begun = begun | self._begun, frozenset()
        self._waiting.pop(key, None)
        opened = {k: self._recalled[k] for k in self._waiting if k in self._recalled}
        known_places = {_opened(one) for one in opened}
        for gone in set(self.shelf.keys(_OPENED)) - known_places:
            self.shelf.put(gone, None)
        for one, known in opened.items():
            self.shelf.put(_opened(one), _kept(known.found))
        if opened or self._written:
            rows |= {_OPENED}
        self._written = bool(opened)
        used = map(self.desk.bundles.used.record, begun)
        return chain(self.shelf.records(rows), used)


def _opened(key: str) -> str:
    return f"/{_OPENED}/{key}"


def _kept(found: Plain | Empty) -> Kept:
    return Kept(plain=found) if isinstance(found, Plain) else Kept(empty=found)


async def _choose_identity(shelf: Shelf) -> None:
    """Make an identity key whose Ed25519 form has the sign 0, as XEdDSA has it.

    Converse 14 forgets the sign, and finds the signatures of other keys invalid.
    """
    seed = secrets.token_bytes(_SEED_LENGTH)
    while IdentityKeyPairSeed(seed).identity_key[-1] & _SIGN:
        seed = secrets.token_bytes(_SEED_LENGTH)
    await shelf.store("/ikp/is_seed", value=True)
    await shelf.store_bytes("/ikp/key", seed)
