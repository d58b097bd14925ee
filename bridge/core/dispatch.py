"""Sends what was prepared, in order per conversation, until it has arrived.

    commit -> send -> outcome -> settle -> commit

What is sent is on disk before; sending again sends the same bytes.
"""

import asyncio
import logging
from asyncio import sleep
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

from bridge.core.counters import Counters
from bridge.core.directory import Directory, unbridged
from bridge.core.lanes import Lanes
from bridge.core.letters import Letters
from bridge.core.outages import Outages
from bridge.core.parts import is_followed, read_rest, through_part
from bridge.core.ports import Adapter, Store, StoreUnavailableError, Unit
from bridge.model.delivery import (
    NO_PORTAL,
    Delivered,
    Later,
    Outcome,
    Parcel,
    Refusal,
    Refused,
    Wire,
)
from bridge.model.events import Protection
from bridge.model.places import Network, Room
from bridge.model.records import Alias, Portal, Record

logger = logging.getLogger(__name__)

PAUSE_S_MAX = 30.0
RETRY_S = 1.0
TRIES_MAX = 3
PARTS_PAGE = 100
LOADED_AGAIN_S = 30.0
TO_RESTART = "its code is not the one that was started: restart the bridge"
"""What was not loaded before the code was replaced is another, or nowhere."""
OURSELVES = "a part of the bridge"

Key = tuple[Network, str]


class Dispatch:
    """The way out of the bridge, on either side."""

    def __init__(
        self,
        adapters: Mapping[Network, Adapter],
        store: Store,
        directory: Directory,
        tasks: asyncio.TaskGroup,
        counters: Counters | None = None,
    ) -> None:
        self.counters = counters or Counters()
        self.letters = Letters(store, directory, self.counters, self._seals)
        self.retry = self.letters.retry
        self._outages = Outages(self._tell)
        self.back = self._outages.back
        self._adapters = adapters
        self._store = store
        self._directory = directory
        self._tasks = tasks
        self._pauses: dict[Key, float] = {}
        self._faults: dict[Key, int] = {}
        self._rests: dict[int, Sequence[Parcel]] = {}
        self._given_up: dict[Key, set[int]] = {}
        self._closed = False
        self._unwritten: deque[Unit] = deque()
        self._written = asyncio.Event()
        self._written.set()
        self._lanes: Lanes[Key, Parcel] = Lanes(
            tasks,
            work=self._work,
            refill=self._refill,
            order=lambda parcel: parcel.id,
            held=True,
        )

    async def start(self) -> None:
        """Take up what an earlier run had not sent for sure, and then what comes."""
        for key in await self._store.lanes_pending():
            self._lanes.wake(key)
        self._lanes.begin()

    def close(self) -> None:
        """Send nothing more: what is left stays on disk."""
        self._closed = True
        self._outages.close()
        self._lanes.close()

    async def wait_empty(self) -> None:
        """Wait until everything has arrived, and that is written down."""
        await self._lanes.wait_empty()
        await self._written.wait()

    def depth(self) -> int:
        """Count the parcels that wait in memory."""
        return self._lanes.depth()

    def away(self) -> dict[str, float]:
        """Tell which remotes are away, and for how many seconds."""
        return self._outages.away()

    def hasten(self, network: Network) -> None:
        """Try at once what waits for *network*: there are signs that it is back."""
        self._outages.hasten(network)

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
        if not wires:
            return
        here = self._directory.place(room)
        lane = unbridged(room) if here is None else here.lane
        number = NO_PORTAL if here is None else here.portal.id
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
        self.letters.follow(unit, future)
        if unit.parcels:
            future.add_done_callback(lambda done: self._release(unit, done))
        return future

    def later(self, room: Room, wires: Sequence[Wire]) -> None:
        """Send *wires* to *room*, in order, once they are on disk."""
        unit = Unit()
        self.add(unit, room, wires)
        self._write(unit)

    def revive(self, room: Room) -> None:
        """Send again what could not be sealed for *room*; see ``Host.retry``."""
        portal = self._directory.portal(room)
        if portal is not None:
            self._revive_soon(portal, Refusal.WOULD_EXPOSE)

    def tell(self, room: Room, words: str) -> None:
        """Tell the people in *room* itself."""
        self.later(room, self._adapters[room.network].notice(room, words))

    def warn(self, room: Room, words: str) -> None:
        """Tell the people on the far side of *room* what will not reach them."""
        if (portal := self._directory.portal(room)) is not None:
            self.tell(self._directory.far(portal, room), words)

    def note(self, *records: Record) -> None:
        """Remember *records*, after all that was sent: it may rely on that."""
        self._write(Unit(put=list(records)))

    def regret(self, parcel: Parcel, refused: Refused) -> None:
        """Tell the sender of *parcel* that it did not arrive after all."""
        unit = Unit()
        self.counters.add("refused", refused.why.name)
        self.letters.bury(unit, (parcel,), refused)
        if parcel.receipt:
            self._settle(unit, parcel, refused)
        self._write(unit)

    def _seals(self, network: Network, portal: Portal) -> bool:
        """Tell whether what leaves is sealed on its way out, or refused."""
        protection = self._adapters[network].protection(portal)
        return protection is Protection.END_TO_END

    def _revive_soon(self, portal: Portal, why: Refusal) -> None:
        self._tasks.create_task(self._revive(portal, why), name="revive")

    async def _revive(self, portal: Portal, why: Refusal) -> None:
        unit = Unit()
        try:
            await self._written.wait()
            if await self.retry(portal, why, unit):
                self._write(unit)
        except StoreUnavailableError:
            logger.warning("portal %d: what was refused is not tried again", portal.id)
        except Exception:
            # The end of the line for what one portal keeps: all else goes on.
            self.letters.spare(unit)
            logger.exception("portal %d: what was refused stays so", portal.id)

    def _tell(self, parcel: Parcel, words: str) -> None:
        """Tell whoever waits for *parcel*, in the room where they wrote it."""
        room = self._directory.near_of(parcel)
        try:
            self.later(room, self._adapters[room.network].notice(room, words))
        except Exception:
            # What its sender cannot be told must not stop the conversation.
            logger.exception("the sender of parcel %d is not told", parcel.id)

    def _write(self, unit: Unit) -> None:
        """Make *unit* durable, after those before it, however long that takes."""
        if self._unwritten:
            self._unwritten.append(unit)
        else:
            self.commit(unit).add_done_callback(lambda done: self._look(unit, done))

    def _look(self, unit: Unit, done: "asyncio.Future[frozenset[int]]") -> None:
        if done.cancelled() or done.exception() is None:
            return
        if not isinstance(done.exception(), StoreUnavailableError):
            logger.error("a change can never be written: %s", done.exception())
            return
        self._unwritten.append(unit)  # what comes after it relies on it
        if self._closed:
            logger.warning("nothing can be written; it will be done after the start")
        elif self._written.is_set():
            self._written.clear()
            self._tasks.create_task(self._write_again(), name="lane unwritten")

    async def _write_again(self) -> None:
        logger.warning("nothing can be written at present, will be retried")
        while self._unwritten and not self._closed:
            await sleep(RETRY_S)
            while self._unwritten and await self._is_written(self._unwritten[0]):
                self._unwritten.popleft()
        self._written.set()

    async def _is_written(self, unit: Unit) -> bool:
        try:
            await self.commit(unit)
        except StoreUnavailableError:
            return False
        except Exception:
            logger.exception("a change can never be written")
        return True

    def _release(self, unit: Unit, done: "asyncio.Future[frozenset[int]]") -> None:
        if done.cancelled() or done.exception() is not None:
            return
        if (known := done.result()) and unit.is_void(known):
            return
        for parcel in unit.parcels:
            self._lanes.put((parcel.network, parcel.lane), parcel)

    async def _refill(self, key: Key, after: int, limit: int) -> Sequence[Parcel]:
        return await self._store.pending(key[0], key[1], after, limit)

    async def _work(self, key: Key, parcels: Sequence[Parcel]) -> int:
        # What is sent while nothing can be written would be sent again after a crash.
        await self._written.wait()
        if given_up := self._leave_out(key, parcels):
            return given_up
        await self._turn(key, parcels)
        if self._closed:
            return 0
        outcomes = await self._send(key, through_part(parcels))
        if isinstance(outcomes[0], Later):
            outcomes = await self._put_off(key, parcels[0], outcomes[0])
        elif self._outages:
            self._outages.passed(key)
        unit = Unit()
        through = 0
        for parcel, outcome in zip(parcels, outcomes, strict=False):
            if isinstance(outcome, Later):
                break
            self._finish(unit, parcel, outcome)
            through += 1
        if through:
            self._pauses.pop(key, None)
            self._write(unit)
        return through

    async def _turn(self, key: Key, parcels: Sequence[Parcel]) -> None:
        """Wait while a remote is away."""
        if self._outages:
            awaited = next((parcel for parcel in parcels if parcel.seq), None)
            await self._outages.turn(key, awaited)

    async def _put_off(
        self, key: Key, parcel: Parcel, later: Later
    ) -> Sequence[Outcome | Later]:
        """Wait before *parcel* is tried again, or give it up."""
        refused = self._outages.failed(key, parcel, later)
        if refused is not None:
            return await self._with_rest(key, parcel, [refused])
        if not later.away:
            await self._pause(key, later.after_s)
        return [later]

    async def _send(
        self, key: Key, parcels: Sequence[Parcel]
    ) -> Sequence[Outcome | Later]:
        faults = self._faults.get(key, 0)
        try:
            # Alone, whatever breaks the sender is known.
            outcomes = await self._adapters[key[0]].send(
                parcels[:1] if faults else parcels
            )
        except StoreUnavailableError:
            logger.warning("lane %s: the store cannot be read, will be retried", key[1])
            return [Later()]
        except ImportError:
            logger.exception("parcel %d waits: %s", parcels[0].id, TO_RESTART)
            return [Later(LOADED_AGAIN_S, OURSELVES)]
        except Exception:
            logger.exception("parcel %d cannot be sent", parcels[0].id)
            self._faults[key] = faults + 1
            if faults + 1 < TRIES_MAX:
                return [Later()]
            outcomes = [Refused(Refusal.REJECTED)]
        self._faults.pop(key, None)
        if not outcomes:
            logger.error("parcel %d got no outcome, will be retried", parcels[0].id)
            return [Later()]
        if len(outcomes) <= len(parcels) and isinstance(outcomes[-1], Refused):
            return await self._with_rest(key, parcels[len(outcomes) - 1], outcomes)
        return outcomes

    async def _with_rest(
        self, key: Key, refused: Parcel, outcomes: Sequence[Outcome | Later]
    ) -> Sequence[Outcome | Later]:
        """Find the parts that come after *refused*, or ask for it once more."""
        if not is_followed(refused):
            return outcomes
        try:
            rest = await read_rest(
                refused, lambda after: self._refill(key, after, PARTS_PAGE)
            )
        except StoreUnavailableError:
            logger.warning("lane %s: the store cannot be read, will be retried", key[1])
            return [*outcomes[:-1], Later()]
        self._rests[refused.id] = rest
        self._given_up[key] = {part.id for part in rest}
        return outcomes

    def _leave_out(self, key: Key, parcels: Sequence[Parcel]) -> int:
        """Count the first *parcels*, which were given up with a part before them."""
        left = self._given_up.get(key)
        if left is None:
            return 0
        given_up = list(takewhile(left.__contains__, (one.id for one in parcels)))
        left.difference_update(given_up)
        if not left:
            del self._given_up[key]
        return len(given_up)

    async def _pause(self, key: Key, after_s: float) -> None:
        pause = max(after_s, min(self._pauses.get(key, 0.0) * 2, PAUSE_S_MAX))
        self._pauses[key] = pause
        await sleep(pause)

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
            parts = (parcel, *self._rests.pop(parcel.id, ()))
            # What was refused is no part of the room's history.
            for part in parts:
                unit.sent.append(replace(part, wire=replace(part.wire, archived=False)))
            self.counters.add("refused", outcome.why.name)
            self.letters.bury(unit, parts, outcome)
            logger.info("lane %s: refused: %s", parcel.lane, outcome.why.name)
            portal = self._directory.by_id(parcel.portal)
            if portal is not None and self.letters.comes_late(parcel, outcome):
                self._revive_soon(portal, outcome.why)
        if parcel.receipt:
            self._settle(unit, parcel, outcome)

    def _settle(self, unit: Unit, parcel: Parcel, outcome: Outcome) -> None:
        near = self._adapters[parcel.network.other]
        try:
            if wires := near.settle(parcel.receipt, outcome):
                self.add(unit, self._directory.near_of(parcel), wires)
        except Exception:
            # What its sender cannot be told must not stop the conversation.
            logger.exception("parcel %d cannot be settled", parcel.id)
