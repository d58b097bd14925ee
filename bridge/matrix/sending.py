"""Sends the orders that wires hold, one at a time in each lane.

    order -> registered? joined? -> PUT -> outcome

Sending an order again is no harm: a message has its txnId, and the rest is state.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import quote

from bridge.matrix.audiences import Audiences
from bridge.matrix.client import (
    Homeserver,
    HomeserverDownError,
    MatrixError,
    event_id,
    join,
    masquerade,
)
from bridge.matrix.ghosts import DEVICE, Ghosts
from bridge.matrix.gone import Gone
from bridge.matrix.guests import DeclinedError, Guests
from bridge.matrix.patience import LATER_S, Trials
from bridge.matrix.presences import Presences
from bridge.matrix.sealing import Sealing
from bridge.matrix.wires import Order, Says, Stands, Titles, order
from bridge.model.delivery import (
    HOMESERVER,
    Delivered,
    Later,
    Outcome,
    Parcel,
    Refusal,
    Refused,
)
from bridge.model.places import Network, Ref

logger = logging.getLogger(__name__)

ROOMS_AT_ONCE_MAX = 8
"""More sends at a time make a homeserver slower, not faster."""

ENTERING_MAX = 8
"""So many may be on their way into a room besides: some take a minute."""

TOGETHER_S = 0.004
"""How long senders wait, at most, for others to hear with them that all arrived."""

DETAIL_MAX = 200
TOKEN_PAUSE_S = 30.0
LIMITED = "the homeserver, which limits us,"

_DOUBTFUL = (Refusal.NOT_ALLOWED, Refusal.REJECTED, Refusal.UNENCRYPTABLE)
"""So it also sounds where the room itself is no more."""


class Sending:
    """The way out to the homeserver, in order per lane."""

    def __init__(  # noqa: PLR0913 - what is said passes all of them
        self,
        *,
        homeserver: Homeserver,
        ghosts: Ghosts,
        presences: Presences,
        guests: Guests,
        audiences: Audiences,
        trials: Trials,
        sealing: Sealing,
        gone: Gone,
        said: Callable[[str, str], None] = lambda _, __: None,
    ) -> None:
        self._sealing = sealing
        self._gone = gone
        self._said = said
        self._homeserver = homeserver
        self._ghosts = ghosts
        self._presences = presences
        self._guests = guests
        self._audiences = audiences
        self._trials = trials
        self._slots = asyncio.Semaphore(ROOMS_AT_ONCE_MAX)
        self._doors = asyncio.Semaphore(ENTERING_MAX)

    async def send(self, parcels: Sequence[Parcel]) -> Sequence[Outcome | Later]:
        """Send the first of *parcels*, and more for as long as that is quick."""
        async with self._slots:
            until = time.monotonic() + TOGETHER_S
            outcomes: list[Outcome | Later] = []
            for parcel in parcels:
                outcomes.append(await self._seen_to(parcel))
                if not isinstance(outcomes[-1], Delivered) or time.monotonic() > until:
                    break
            return outcomes

    @asynccontextmanager
    async def _aside(self) -> AsyncIterator[None]:
        """Hold up no other room while somebody enters one."""
        self._slots.release()
        try:
            async with self._doors:
                yield
        finally:
            await self._slots.acquire()

    async def _seen_to(self, parcel: Parcel) -> Outcome | Later:
        outcome = await self._send(parcel)
        if not isinstance(outcome, Refused) or outcome.why not in _DOUBTFUL:
            return outcome
        async with self._aside():
            gone = await self._gone.look(order(parcel.wire.data).room)
        return Refused(Refusal.NO_SUCH_ROOM) if gone else outcome

    async def _send(self, parcel: Parcel) -> Outcome | Later:
        key = parcel.wire.key
        try:
            return await self._execute(order(parcel.wire.data), parcel)
        except DeclinedError:
            return Refused(Refusal.DECLINED)
        except HomeserverDownError as error:
            if error.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                return await self._trials.failed(key)
            return Later(LATER_S, HOMESERVER)
        except MatrixError as error:
            if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                return await self._trials.failed(key)
            return _refused(error)

    async def _execute(self, task: Order, parcel: Parcel) -> Outcome:
        match task:
            case Says():
                return await self._say(task, parcel)
            case Stands(membership="join"):
                async with self._aside():
                    await self._come(task)
            case Stands():
                await self._leave(task)
            case Titles():
                await self._title(task)
        return Delivered()

    async def _say(self, says: Says, parcel: Parcel) -> Outcome:
        room, user = says.room, says.user
        if not says.own:
            await self._recall(room, user)
        if self._is_to_come(says):
            async with self._aside():
                await self._come(says)
        await self._look_around(room, user)
        final = await self._sealing.final(parcel, says)
        if isinstance(final, Refused):
            return final
        try:
            name = await self._put(final, parcel.wire.key)
        except MatrixError as error:
            if not _may_be_absent(error):
                raise
            async with self._aside():
                final = await self._back(final, error)
            if not final.device:
                again = await self._sealing.final(parcel, says)
                final = final if isinstance(again, Refused) else again
            name = await self._put(final, parcel.wire.key)
        # They may have gone out meanwhile: what was said waits for them in the room.
        with suppress(DeclinedError):
            await self._recall(room, user)
        self._trials.passed()
        if says.about:
            self._said(says.about, name)
        return Delivered((Ref(Network.MATRIX, name),))

    def _is_to_come(self, says: Says) -> bool:
        """Tell whether there is anything to be done before somebody *says* it."""
        room, user = says.room, says.user
        sealed = room in self._sealing and not says.device
        return (sealed and not self._sealing.is_introduced(user)) or not (
            self._presences.fits(room, user, says.name)
        )

    async def _come(self, who: Says | Stands) -> None:
        """Have whoever speaks, or is there, in the room, and known there."""
        room, user = who.room, who.user
        new = await self._introduce(who)
        if not self._presences.fits(room, user, who.name):
            await self._presences.enter(room, user, who.person, who.name)
        if new:
            self._presences.shows(room, user)

    async def _look_around(self, room: str, user: str) -> None:
        """Give clients the time to look up *user*, whom they see for the first time.

        Meanwhile others speak elsewhere.
        """
        shown = self._presences.shown.get((room, user))
        if shown is None or room not in self._sealing:
            return
        there = await self._audiences.of(room)
        if there.members - there.awaited <= {user}:
            return  # nobody is to read it yet
        wait_s = shown + self._audiences.pause_s - time.monotonic()
        if wait_s > 0:
            self._slots.release()
            try:
                await asyncio.sleep(wait_s)
            finally:
                await self._slots.acquire()
        self._presences.shown.drop((room, user))

    async def _introduce(self, who: Says | Stands) -> bool:
        """Have whoever speaks registered, with a device where that is needed."""
        if who.room not in self._sealing or (isinstance(who, Says) and who.device):
            return False
        own_name = "" if "/" in who.person else who.name
        await self._ghosts.ensure(who.user, who.person, own_name)
        return await self._sealing.introduce(who.user, who.room)

    async def _back(self, says: Says, error: MatrixError) -> Says:
        """Have whoever *says* it there again; return how it can be sent then."""
        if says.device and "UNKNOWN_DEVICE" in error.errcode:
            return await self._sealing.lost(says)
        # Put out, or forgotten by a homeserver that was set up anew.
        await self._presences.forget(says.room, says.user)
        if error.status != HTTPStatus.FORBIDDEN or "registered" in error.message:
            await self._ghosts.forget(says.user)
        await self._presences.enter(says.room, says.user, says.person, says.name)
        return says

    async def _recall(self, room: str, user: str) -> None:
        if room in self._guests:
            await self._guests.recall(room, user)
            self._audiences.forget(room)

    async def _put(self, says: Says, key: str) -> str:
        asked = _as(says.user, says.device)
        path = f"{_room_path(says.room)}/send/{says.type}/{key}?{asked}"
        return event_id(await self._homeserver.send(path, bytes(says.content)))

    async def _leave(self, task: Stands) -> None:
        """Let the ghost leave, or our agent put *target* out."""
        body = {"membership": task.membership}
        if task.reason:
            body["reason"] = task.reason
        alone = task.target == task.user
        if alone and await self._presences.find(task.room, task.user) is None:
            return
        path = join("rooms", task.room, "state", "m.room.member", task.target)
        try:
            await self._homeserver.request("PUT", path, user=task.user, body=body)
        except MatrixError as error:
            if error.passing:
                raise
            # Gone already, or not ours to put out: the room remains as it is.
            logger.info("room %s: %s stays: %s", task.room, task.target, error)
        self._audiences.forget(task.room)
        if alone:
            await self._presences.forget(task.room, task.user)

    async def _title(self, task: Titles) -> None:
        """Set the topic unless it is that already; MUCs repeat theirs at each join."""
        path = join("rooms", task.room, "state", "m.room.topic", "")
        try:
            known = await self._homeserver.request("GET", path, user=task.agent)
        except MatrixError as error:
            known = {}
            if error.errcode != "M_NOT_FOUND":
                raise
        if known.get("topic", "") == task.topic:
            return
        body = {"topic": task.topic}
        if await self._presences.find(task.room, task.user) is not None:
            try:
                await self._homeserver.request("PUT", path, user=task.user, body=body)
            except MatrixError as error:
                if error.errcode != "M_FORBIDDEN":
                    raise
            else:
                return
        await self._homeserver.request("PUT", path, user=task.agent, body=body)


def _refused(error: MatrixError) -> Refused | Later:
    """Say what a refusal by the homeserver means to whoever waits."""
    detail = error.message[:DETAIL_MAX]
    match error.status:
        case HTTPStatus.TOO_MANY_REQUESTS:
            return Later(error.retry_after_s, LIMITED)
        case HTTPStatus.UNAUTHORIZED:
            logger.error("the homeserver does not accept our token: %s", error)
            return Later(TOKEN_PAUSE_S, HOMESERVER)
        case HTTPStatus.FORBIDDEN:
            return Refused(Refusal.NOT_ALLOWED, detail)
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return Refused(Refusal.TOO_LARGE, detail)
        case _:
            return Refused(Refusal.REJECTED, detail)


def _may_be_absent(error: MatrixError) -> bool:
    return error.status == HTTPStatus.FORBIDDEN or "UNKNOWN_DEVICE" in error.errcode


@lru_cache(10_000)
def _room_path(room: str) -> str:
    return f"/_matrix/client/v3/rooms/{quote(room, safe='')}"


@lru_cache(10_000)
def _as(user: str, device: str) -> str:
    return masquerade(user, device or DEVICE)
