"""Carries each event from the network it happened on to the other one.

    keep -> read -> route -> verdict -> prepare -> commit -> dispatch

The whole chain runs inside the portal's lane, so what two people see in a room has
one order. An arrival is done in the same commit that keeps what it becomes. What is
plain to see, while its lane is idle, needs no other commit: see ``intake``.
"""

import asyncio
import logging
from asyncio import sleep
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bridge.core.commands import Commands
from bridge.core.crossing import Crossing
from bridge.core.directory import Directory
from bridge.core.dispatch import LOADED_AGAIN_S, TO_RESTART, Dispatch
from bridge.core.guard import Guard, Limits
from bridge.core.intake import Intake
from bridge.core.lanes import Lanes
from bridge.core.ports import Adapter, State, Store, StoreUnavailableError, Unit
from bridge.core.provisioning import Provisioning
from bridge.model.delivery import (
    Arrival,
    Refusal,
    Refused,
    Route,
    Taken,
    Unreadable,
)
from bridge.model.events import (
    AnyEvent,
    Command,
    Invite,
    Leave,
    Message,
    Protection,
    Replaced,
    Vanished,
)
from bridge.model.places import Network, Room
from bridge.model.records import Kind, Portal

logger = logging.getLogger(__name__)

DELETED = (
    "The Matrix room that was linked with this was deleted there; what was said here"
    " last may have reached nobody. Whoever begins anew, here or there, gets a new one."
)
HOMES_MAX = 10_000
WAITING_MAX = 1000

Item = Taken | State | Vanished
Step = tuple[Item, Unit, "asyncio.Future[frozenset[int]]"]


class Hub:
    """The middle of the bridge; offers the port ``Host`` to the adapters."""

    def __init__(  # noqa: PLR0913 - the hub is where all the parts meet
        self,
        *,
        adapters: Mapping[Network, Adapter],
        store: Store,
        directory: Directory,
        dispatch: Dispatch,
        provisioning: Provisioning,
        commands: Commands,
        tasks: asyncio.TaskGroup,
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard or Guard(Limits())
        self._adapters = adapters
        self._store = store
        self._directory = directory
        self._dispatch = dispatch
        self._provisioning = provisioning
        self._commands = commands
        self._lanes: Lanes[str, Item] = Lanes(
            tasks, work=self._work, refill=self._refill, order=_order, held=True
        )
        self._crossing = Crossing(adapters, directory, dispatch, self._guard)
        put = self._put_taken
        self.keep = Intake(store, dispatch, self._crossing, self._is_idle, put).keep
        self._homes: dict[Room, str] = {}
        self._ahead: set[int] = set()
        self.portal = directory.portal
        self.bars = self._guard.bars
        self.request = self._guard.request
        self.open_hosted = provisioning.open_hosted
        self.open_foreign = provisioning.open_foreign
        self.describe = provisioning.describe
        self.look = provisioning.look
        self.called, self.pictured = provisioning.called, provisioning.pictured
        self.later = dispatch.later
        self.back = dispatch.back
        self.note = dispatch.note
        self.warn = dispatch.warn
        self.regret = dispatch.regret
        self.retry = dispatch.revive

    async def start(self) -> None:
        """Take up what an earlier run left undone, and then what comes."""
        for room in await self._store.rooms_waiting():
            self._lanes.wake(self._home(room))
        self._lanes.begin()

    def close(self) -> None:
        """Begin no further step."""
        self._lanes.close()

    async def wait_empty(self) -> None:
        """Wait until everything that came has been carried."""
        await self._lanes.wait_empty()

    def depth(self) -> int:
        """Count what waits in memory."""
        return self._lanes.depth()

    def tell(self, event: State | Vanished) -> None:
        """Take note of how things stand; see ``Host``."""
        self._put(event.room, event)

    def _put_taken(self, taken: Taken) -> None:
        self._put(taken.arrival.room, taken)

    def _put(self, room: Room, item: Item) -> None:
        self._lanes.put(self._lane(room), item)

    def _is_idle(self, room: Room) -> bool:
        """Tell whether nothing of what comes later would be overtaken."""
        busy, lane = self._lanes.busy, self._directory.lane(room)
        # As long as the lane that a room had is busy, it has that one still.
        known = self._homes.get(room, lane)
        return self._lanes.working and not busy(lane) and not busy(known)

    def _lane(self, room: Room) -> str:
        # Portals come and go while a room's lane is busy: what comes meanwhile must
        # queue behind, and nobody else may read it.
        lane = self._homes.get(room)
        if lane is None or not self._lanes.busy(lane):
            lane = self._home(room)
        return lane

    def _home(self, room: Room) -> str:
        if len(self._homes) >= HOMES_MAX:
            busy = self._lanes.busy
            self._homes = {r: lane for r, lane in self._homes.items() if busy(lane)}
        lane = self._homes[room] = self._directory.lane(room)
        return lane

    async def _refill(self, lane: str, after: int, limit: int) -> Sequence[Item]:
        rooms: list[Room] = []
        items: Sequence[Item] = ()
        # What comes meanwhile from the other side may be older than what is read.
        while rooms != (found := self._rooms_of(lane)):
            rooms = found
            items = await self._store.waiting(rooms, after, limit)
        return items

    def _rooms_of(self, lane: str) -> list[Room]:
        return [room for room, home in self._homes.items() if home == lane]

    async def _work(self, _: str, items: Sequence[Item]) -> int:
        """Carry *items*; their commits are awaited together, to share an fsync."""
        steps: deque[Step] = deque()
        for item in items:
            if _order(item) in self._ahead:
                self._ahead.discard(_order(item))
                continue
            unit = await self._carry(item)
            # What cannot be written at present must not be overtaken by this.
            while steps and steps[0][2].done():
                await self._settled(*steps.popleft())
            steps.append((item, unit, self._dispatch.commit(unit)))
        while steps:
            await self._settled(*steps.popleft())
        return len(items)

    async def _settled(
        self, item: Item, unit: Unit, commit: "asyncio.Future[frozenset[int]]"
    ) -> None:
        """Wait until *unit* is durable, however long nothing can be written."""
        tried = refused = False
        while True:
            try:
                await commit
            except StoreUnavailableError:
                if tried:
                    logger.warning("nothing can be written, will be retried")
                    await sleep(1)
                tried = True
            except Exception:
                # The end of the line for one arrival: it can never be written down.
                logger.exception("arrival %d cannot be committed", _order(item))
                unit = _done(item) if refused else await self._given_up(item)
                refused = True
            else:
                return
            commit = self._dispatch.commit(unit)

    async def _carry(self, item: Item) -> Unit:
        while True:
            unit = _done(item)
            try:
                await self._step(item, unit)
            except StoreUnavailableError:
                logger.warning("arrival %d: the store is away", _order(item))
                await sleep(1)
                continue
            except ImportError:
                logger.exception("arrival %d waits: %s", _order(item), TO_RESTART)
                await sleep(LOADED_AGAIN_S)
                continue
            except Exception:
                # The end of the line for one arrival: its conversation goes on.
                logger.exception("arrival %d cannot be carried", _order(item))
                unit = await self._given_up(item)
            return unit

    async def _given_up(self, item: Item) -> Unit:
        """Tell the sender, if there is one, that *item* breaks us."""
        unit = _done(item)
        if isinstance(item, Taken):
            near = self._adapters[item.arrival.room.network]
            try:
                event = await near.read(item, unit)
                if isinstance(event, Message):
                    self._crossing.refuse(
                        event, near.receipt(event), Refusal.REJECTED, unit
                    )
            except Exception:
                logger.exception("the sender of arrival %d is not told", item.seq)
                return _done(item)
        return unit

    async def _step(self, item: Item, unit: Unit) -> None:
        if isinstance(item, Taken):
            await self._provisioning.resume(item.arrival.room)
            near = self._adapters[item.arrival.room.network]
            event = await near.read(item, unit)
            if isinstance(event, Unreadable):
                wires = near.settle(event.receipt, Refused(event.why, event.detail))
                self._dispatch.add(unit, item.arrival.room, wires)
                return
            await self._cross(event, item.seq, unit)
        else:
            await self._cross(item, 0, unit)

    async def _cross(self, event: AnyEvent | None, seq: int, unit: Unit) -> None:
        match event:
            case None:
                return
            case Message():
                await self._message(event, seq, unit)
            case Invite():
                await self._catch_up(await self._provisioning.invited(event))
            case Command():
                await self._command(event, unit)
            case Replaced():
                await self._provisioning.replaced(event, unit)
            case Vanished():
                await self._vanished(event, unit)
            case _:
                await self._state(event, unit)

    async def _message(self, event: Message, seq: int, unit: Unit) -> None:
        near = self._adapters[event.room.network]
        receipt = near.receipt(event)
        portal = self._directory.portal(event.room)
        made = portal or await self._provisioning.open(event, unit)
        if made is None:
            return  # a room that is bridged nowhere: nobody expects an answer
        if isinstance(made, Refusal):
            self._crossing.refuse(event, receipt, made, unit)
            return
        made = await self._guarded(event, made, unit)
        self._crossing.message(event, made, receipt, seq, unit)

    async def _guarded(self, event: Message, portal: Portal, unit: Unit) -> Portal:
        """Encrypt the Matrix room of a chat in which XMPP has begun to encrypt.

        That a room is encrypted is written down for ever, whoever did it.
        """
        matrix = self._adapters[Network.MATRIX]
        if portal.encrypted:
            return portal
        sealed = matrix.protection(portal) is Protection.END_TO_END
        if not sealed and event.room.network is Network.XMPP and event.protection:
            sealed = await self._provisioning.protect(portal)
            now = self._directory.portal(event.room)
            if now is not None and now.id != portal.id:
                return await self._guarded(event, now, unit)  # the chat has moved
        if sealed:
            portal = replace(portal, encrypted=True)
            self._directory.put(portal, unit)
        return portal

    async def _vanished(self, event: Vanished, unit: Unit) -> None:
        """Let the portal of a Matrix room that is no more be opened anew."""
        portal = self._directory.portal(event.room)
        if portal is None:
            return
        logger.warning("portal %d: %s is no more", portal.id, portal.matrix)
        self._dispatch.counters.add("ended", portal.kind.name)
        if portal.kind is not Kind.HOSTED:  # of ours each is told as they are put out
            far = self._directory.far(portal, event.room)
            self._dispatch.add(
                unit, far, self._adapters[far.network].notice(far, DELETED)
            )
        await self._provisioning.unplumb(portal, unit)

    async def _command(self, event: Command, unit: Unit) -> None:
        why = self._guard.request(event.sender)
        if why is None:
            await self._commands.obey(event, unit)
            return
        logger.info("room %s: a command: %s", event.room.address, why.name)
        if why is Refusal.TOO_FAST and self._guard.answers(event, why):
            near = self._adapters[event.room.network]
            words = f"{why.value[0].upper()}{why.value[1:]}."
            self._dispatch.add(unit, event.room, near.notice(event.room, words))

    async def _catch_up(self, missed: Sequence[Arrival]) -> None:
        """Carry what was said before we were let in, ahead of all that waits.

        Some of it may wait itself: pushed since, or left by an earlier run.
        """
        taken = [Taken(self._store.number(), arrival) for arrival in missed]
        known = await self._taken(taken)
        rooms = list({item.arrival.room for item in taken}) if known else []
        waits = await self._store.waiting(rooms, 0, WAITING_MAX)
        waiting = {item.arrival.key: item for item in waits}
        for item in taken:
            first = waiting.get(item.arrival.key) if item.seq in known else item
            if first is not None and first.seq not in self._ahead:
                # Another invitation among it catches up, too, with some of the same.
                self._ahead.add(first.seq)
                unit = await self._carry(first)
                await self._settled(first, unit, self._dispatch.commit(unit))
                if first is item:
                    self._ahead.discard(first.seq)

    async def _taken(self, taken: list[Taken]) -> frozenset[int]:
        """Have *taken* on disk, however long nothing more is taken in.

        Whose step were begun anew would be let in again, which counts as asked again.
        """
        while True:
            try:
                return await self._store.commit(Unit(take=taken))
            except StoreUnavailableError:
                logger.warning("what was missed cannot be kept, will be retried")
                await sleep(1)

    async def _state(self, event: State, unit: Unit) -> None:
        portal = self._directory.portal(event.room)
        if portal is None:
            return
        if self._guard.bars(event.sender) and not isinstance(event, Leave):
            return
        far = self._adapters[event.room.network.other]
        route = Route(portal, self._directory.far(portal, event.room))
        if isinstance(event, Leave) and await self._provisioning.left(event, unit):
            if event.declined:
                words = f"Not delivered: {Refusal.DECLINED.value}"
                self._dispatch.add(unit, route.room, far.notice(route.room, words))
            return
        self._directory.note(portal, event, unit)
        self._dispatch.add(unit, route.room, await far.apply(event, route))


def _done(item: Item) -> Unit:
    return Unit(done=[item.seq] if isinstance(item, Taken) else [])


def _order(item: Item) -> int:
    return item.seq if isinstance(item, Taken) else 0
