"""Tells a room that was deleted at the homeserver from one that shuts us out.

Whoever runs a homeserver can delete a room there (Synapse: ``DELETE
/_synapse/admin/v2/rooms/…``). All of its own users are put out, in silence, and it
forgets that it was ever in there: nobody of ours can come in again. Who was put out by
those in the room, and who may not speak there, must not be mixed up with that; nor may
a homeserver that is ill.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus

from bridge.core.ports import Host
from bridge.matrix.client import Homeserver, HomeserverDownError, MatrixError, join
from bridge.matrix.recent import Recent
from bridge.model.events import Vanished
from bridge.model.places import Network, Person, Ref, Room
from bridge.model.records import Kind, Portal

logger = logging.getLogger(__name__)

FRESH_S = 5.0
"""For so long a room that was still there is so, however much it refuses."""
ROOMS_MAX = 10_000
PAUSE_S = 2.0
LOOKS = 2
"""Workers of a homeserver know of what happened a moment one after another."""

_NOT_FOR_US = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)


class Gone:
    """Looks whether a room is still there, and tells the core if it is not.

    *host* returns the core, once it is there.
    """

    def __init__(self, homeserver: Homeserver, host: Callable[[], Host | None]) -> None:
        self._homeserver = homeserver
        self._server = homeserver.server_name
        self._host = host
        self.pause_s = PAUSE_S
        self._there: Recent[str, float] = Recent(ROOMS_MAX)

    async def look(self, room: str) -> bool:
        """Tell whether *room*, which a portal leads to, is gone for good.

        Only if all speaks for it: any doubt, as that nobody answers, leaves it there.
        """
        host, here = self._host(), Room(Network.MATRIX, room)
        portal = None if host is None else host.portal(here)
        if host is None or portal is None:
            return False
        if await self._is_there(portal):
            return False
        await self._free(portal)
        agent = Person(Network.MATRIX, portal.agent)
        ref, now = Ref(Network.MATRIX, room), datetime.now(UTC)
        host.tell(Vanished(ref=ref, room=here, sender=agent, sent_at=now))
        return True

    async def _is_there(self, portal: Portal) -> bool:
        seen_at = self._there.get(portal.matrix)
        if seen_at is not None and time.monotonic() - seen_at < FRESH_S:
            return True
        for number in range(LOOKS):
            await asyncio.sleep(self.pause_s if number else 0)
            if await self._knows(portal) or await self._admits(portal):
                self._there.put(portal.matrix, time.monotonic())
                return True
        return False

    async def _knows(self, portal: Portal) -> bool:
        """Tell whether our agent can still see how it stands in the room.

        Who has left, or was put out, can (Client-Server API, "Room events").
        """
        agent = portal.agent
        path = join("rooms", portal.matrix, "state", "m.room.member", agent)
        error = await self._refused("GET", path, agent)
        return error is None or error.status not in _NOT_FOR_US

    async def _admits(self, portal: Portal) -> bool:
        """Tell whether our agent can come in, or may be able to some day.

        A homeserver that is in the room says so itself (403) of who is banned or not
        invited. One that is not would have to ask others, and knows of none (404).
        """
        others = [name for name in _servers(portal) if name != self._server]
        query = {key: others[0] for key in ("server_name", "via") if others}
        path = join("join", portal.matrix)
        error = await self._refused("POST", path, portal.agent, query)
        if error is None:
            return True
        logger.info(
            "room %s: %s cannot come in: %s", portal.matrix, portal.agent, error
        )
        if error.status == HTTPStatus.FORBIDDEN:
            # Synapse says it in no other way, and keeps to these words.
            return "blocked on this server" not in error.message
        return bool(others) or error.status != HTTPStatus.NOT_FOUND

    async def _free(self, portal: Portal) -> None:
        """Let the alias that we gave to the room lead nobody there any more.

        Nobody asks us for one that leads somewhere: only a purge frees it.
        """
        if portal.kind is not Kind.FOREIGN:
            return
        path, agent = join("directory", "room", portal.alias), portal.agent
        try:
            found = await self._homeserver.request("GET", path, user=agent)
            if found.get("room_id") == portal.matrix:
                await self._homeserver.request("DELETE", path, user=agent)
        except (MatrixError, HomeserverDownError) as error:
            logger.info("room %s: its alias stays: %s", portal.matrix, error)

    async def _refused(
        self, method: str, path: str, agent: str, query: Mapping[str, str] = {}
    ) -> MatrixError | None:
        """Ask, and return the refusal; None if there is none, or no clear one."""
        body: Mapping[str, str] | None = {} if method == "POST" else None
        try:
            await self._homeserver.request(
                method, path, user=agent, query=query, body=body
            )
        except HomeserverDownError:
            return None
        except MatrixError as error:
            return None if error.errcode == "M_UNRECOGNIZED" else error
        return None


def _servers(portal: Portal) -> Sequence[str]:
    """List the servers that are known to be in the room of *portal*, or were."""
    _, _, maker = portal.matrix.partition(":")  # from room version 12 on there is none
    return [*portal.via.split(), *([maker] if maker else [])]
