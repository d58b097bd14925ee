"""Sends what was prepared, in order per conversation, until it has arrived.

    commit -> send -> outcome -> settle -> commit

What is sent is on disk before; sending again sends the same bytes.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bridge.core.directory import Directory
from bridge.core.lanes import Lanes
from bridge.core.ports import Adapter, Store, StoreUnavailableError, Unit
from bridge.model.delivery import Delivered, Later, Outcome, Parcel, Refused, Wire
from bridge.model.places import Network, PortalId, Room
from bridge.model.records import Alias

logger = logging.getLogger(__name__)

PAUSE_S_MAX = 30.0

Key = tuple[Network, str]


class Dispatch:
    """The way out of the bridge, on either side."""

    def __init__(
        self,
        adapters: Mapping[Network, Adapter],
        store: Store,
        directory: Directory,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._adapters = adapters
        self._store = store
        self._directory = directory
        self._pauses: dict[Key, float] = {}
        self._lanes: Lanes[Key, Parcel] = Lanes(
            tasks,
            work=self._work,
            refill=self._refill,
            order=lambda parcel: parcel.id,
        )

    async def start(self) -> None:
        """Take up what an earlier run had not sent for sure."""
        for key in await self._store.lanes_pending():
            self._lanes.wake(key)

    def close(self) -> None:
        """Send nothing more: what is left stays on disk."""
        self._lanes.close()

    async def wait_empty(self) -> None:
        """Wait until everything has arrived."""
        await self._lanes.wait_empty()

    def depth(self) -> int:
        """Count the parcels that wait in memory."""
        return self._lanes.depth()

    def add(
        self,
        unit: Unit,
        room: Room,
        wires: Sequence[Wire],
        *,
        receipt: bytes = b"",
        seq: int = 0,
    ) -> None:
        """Let *unit* also send *wires* to *room*, which is on the wires' network."""
        lane = self._directory.lane(room)
        portal = self._directory.portal(room)
        number = PortalId(0) if portal is None else portal.id
        for place, wire in enumerate(wires, 1):
            unit.parcels.append(
                Parcel(
                    self._store.number(),
                    room.network,
                    lane,
                    wire,
                    receipt,
                    place == len(wires),
                    seq,
                    number,
                )
            )

    def commit(self, unit: Unit) -> "asyncio.Future[frozenset[int]]":
        """Make *unit* durable, then send what it holds."""
        future = self._store.commit(unit)
        if unit.parcels:
            future.add_done_callback(lambda done: self._release(unit, done))
        return future

    def later(self, room: Room, wires: Sequence[Wire]) -> None:
        """Send *wires* to *room*, in order, once they are on disk."""
        unit = Unit()
        self.add(unit, room, wires)
        _log_failure(self.commit(unit))

    def regret(self, parcel: Parcel, refused: Refused) -> None:
        """Tell the sender of *parcel* that it did not arrive after all."""
        unit = Unit()
        if parcel.receipt:
            self._settle(unit, parcel, refused)
        _log_failure(self.commit(unit))

    def _release(self, unit: Unit, done: "asyncio.Future[frozenset[int]]") -> None:
        if done.cancelled() or done.exception() is not None:
            return
        for parcel in unit.parcels:
            self._lanes.put((parcel.network, parcel.lane), parcel)

    async def _refill(self, key: Key, after: int) -> Sequence[Parcel]:
        return await self._store.pending(key[0], key[1], after, 500)

    async def _work(self, key: Key, parcels: Sequence[Parcel]) -> int:
        outcomes = await self._adapters[key[0]].send(parcels)
        unit = Unit()
        through = 0
        for parcel, outcome in zip(parcels, outcomes, strict=False):
            if isinstance(outcome, Later):
                break
            self._finish(unit, parcel, outcome)
            through += 1
        if through:
            self._pauses.pop(key, None)
            _log_failure(self.commit(unit))
        elif outcomes and isinstance(outcomes[0], Later):
            await self._pause(key, outcomes[0].after_s)
        return through

    async def _pause(self, key: Key, after_s: float) -> None:
        pause = min(max(after_s, self._pauses.get(key, 0.0) * 2), PAUSE_S_MAX)
        self._pauses[key] = pause
        await asyncio.sleep(pause)

    def _finish(self, unit: Unit, parcel: Parcel, outcome: Outcome) -> None:
        """Settle with the sender, in the commit that marks the parcel as sent."""
        if isinstance(outcome, Delivered):
            unit.sent.append(parcel)
            unit.put.extend(
                Alias(ref.network, ref.id, parcel.portal, parcel.seq, "")
                for ref in outcome.refs
            )
            if not parcel.last:
                return
        else:
            # What was refused is no part of the room's history.
            unit.sent.append(replace(parcel, wire=replace(parcel.wire, archived=False)))
            logger.info("lane %s: refused: %s", parcel.lane, outcome.why.name)
        if parcel.receipt:
            self._settle(unit, parcel, outcome)

    def _settle(self, unit: Unit, parcel: Parcel, outcome: Outcome) -> None:
        near = self._adapters[parcel.network.other]
        room = self._directory.near_of(parcel)
        try:
            self.add(unit, room, near.settle(parcel.receipt, outcome))
        except Exception:
            # What its sender cannot be told must not stop the conversation.
            logger.exception("parcel %d cannot be settled", parcel.id)


def _log_failure(future: "asyncio.Future[frozenset[int]]") -> None:
    """Say so if a commit fails whose loss only means to do its work again."""

    def look(done: "asyncio.Future[frozenset[int]]") -> None:
        if not done.cancelled() and isinstance(done.exception(), StoreUnavailableError):
            logger.warning("nothing can be written at present; it will be done again")

    future.add_done_callback(look)
