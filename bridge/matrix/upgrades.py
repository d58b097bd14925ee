"""Follows a room that was replaced by another, if that one truly says so.

Whoever may write the tombstone of a room could name any other as its successor, even
one that is none of theirs: only what the new room itself says proves it
(CVE-2021-32659).
"""

import asyncio
import logging
import time
from collections.abc import Callable
from http import HTTPStatus

from bridge.matrix.bot import Bot
from bridge.matrix.client import Homeserver, MatrixError, join
from bridge.matrix.patience import patiently
from bridge.matrix.presences import Presences
from bridge.matrix.rooms import Rooms
from bridge.matrix.views import About, Place, Views, place_of, refusing
from bridge.model.delivery import Refusal
from bridge.model.records import Portal

logger = logging.getLogger(__name__)

PATIENCE_S = 300.0
INVITED_S = 60.0
"""Clients that replace a private room have it made first, and invite people then."""
INVITED_EVERY_S = 1.0


class Upgrades:
    """Lets our agent go from a room to its successor."""

    def __init__(
        self,
        *,
        homeserver: Homeserver,
        bot: Bot,
        presences: Presences,
        views: Views,
        rooms: Rooms,
        too_large: Callable[[About | None], bool],
    ) -> None:
        self._homeserver = homeserver
        self._bot = bot
        self._presences = presences
        self._views = views
        self._rooms = rooms
        self._too_large = too_large

    async def follow(self, portal: Portal, room: str, by: str) -> Portal | Refusal:
        """Let the agent of *portal* into *room*, to which *by* has moved it.

        Return what *room* is like, without an id and an XMPP address.
        """
        return await refusing(
            patiently(lambda: self._follow(portal, room, by), PATIENCE_S)
        )

    async def _follow(self, portal: Portal, room: str, by: str) -> Portal | Refusal:
        place = place_of(room)
        via = tuple(dict.fromkeys((by.partition(":")[2], *place.via)))
        place = Place(place.room, via, place.alias)
        agent = portal.agent
        if self._too_large(await self._views.outside(place, agent)):
            return Refusal.TOO_LARGE
        await self._enter(place, agent)
        if not await self._succeeds(place.room, portal.matrix, agent):
            logger.warning("room %s does not say that it replaces another", place.room)
            await self._leave(place.room, agent)
            return Refusal.NOT_ALLOWED
        return await self._rooms.portal(portal.kind, place, agent)

    async def _enter(self, place: Place, agent: str) -> None:
        """Let *agent* in, for whom an invitation may still be under way."""
        until = time.monotonic() + INVITED_S
        while True:
            try:
                await self._join(place, agent)
            except MatrixError as error:
                closed = error.status == HTTPStatus.FORBIDDEN
                if not closed or time.monotonic() > until:
                    raise
            else:
                return
            await asyncio.sleep(INVITED_EVERY_S)

    async def _join(self, place: Place, agent: str) -> None:
        if agent == self._bot.mxid:
            await self._bot.join(place)
            return
        query = {"via": place.via[0]} if place.via else {}
        path = join("join", place.room)
        await self._homeserver.request("POST", path, user=agent, query=query, body={})
        await self._presences.note(place.room, agent, "")

    async def _succeeds(self, room: str, old: str, agent: str) -> bool:
        """Tell whether *room* says that it was made to replace *old*."""
        create = await self._views.content(room, "m.room.create", agent)
        before = create.get("predecessor")
        return isinstance(before, dict) and before.get("room_id") == old

    async def _leave(self, room: str, agent: str) -> None:
        await self._presences.forget(room, agent)
        try:
            path = join("rooms", room, "leave")
            await self._homeserver.request("POST", path, user=agent, body={})
        except MatrixError as error:
            logger.info("room %s: %s stays: %s", room, agent, error)
