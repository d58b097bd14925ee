"""People of Matrix who left the direct room in which they are written to.

The next message to them invites them again; whoever declined is left in peace for
a while.
"""

import logging
import time

from bridge.core.ports import Store
from bridge.matrix.client import Homeserver, MatrixError, join
from bridge.matrix.ghosts import remember
from bridge.matrix.presences import Presences
from bridge.model.records import Cursor

logger = logging.getLogger(__name__)

ABSENT, GUEST = "absent", "guest"
PEACE_S = 3600
GLANCE_EVENTS = 20

_SAID = ("m.room.message", "m.room.encrypted")


class DeclinedError(Exception):
    """The guest does not want to be invited."""


class Guests:
    """Who is absent from which direct room."""

    def __init__(
        self, homeserver: Homeserver, store: Store, presences: Presences
    ) -> None:
        self._homeserver = homeserver
        self._store = store
        self._presences = presences
        self._absent: dict[str, Cursor] = {}
        self._whose: dict[str, str] = {}

    def __contains__(self, room: object) -> bool:
        return room in self._absent

    async def start(self) -> None:
        """Remember what an earlier run knew."""
        for cursor in await self._store.load(Cursor):
            if cursor.kind == ABSENT:
                self._absent[cursor.key] = cursor
            elif cursor.kind == GUEST:
                self._whose[cursor.key] = cursor.value

    async def begins(self, room: str, guest: str) -> None:
        """Note that the chat in *room* is with *guest*, whoever else comes there."""
        if self._whose.get(room) != guest:
            self._whose[room] = guest
            await remember(self._store, [Cursor(GUEST, room, guest)])

    async def ends(self, room: str) -> None:
        """Forget the chat that was in *room*."""
        guest, absent = self._whose.pop(room, None), self._absent.pop(room, None)
        known = None if guest is None else Cursor(GUEST, room, guest)
        if drop := [cursor for cursor in (known, absent) if cursor is not None]:
            await remember(self._store, drop=drop)

    def whose(self, room: str) -> str | None:
        """Tell with whom the chat in *room* is; None if that was not noted."""
        return self._whose.get(room)

    async def left(self, room: str, guest: str, *, declined: bool) -> None:
        """Note that *guest* went out of *room*, or did not want to come in."""
        peace_until = int(time.time()) + PEACE_S if declined else 0
        cursor = Cursor(ABSENT, room, f"{peace_until} {guest}")
        self._absent[room] = cursor
        await remember(self._store, [cursor])

    async def came(self, room: str, guest: str) -> None:
        """Note that *guest* is in *room*, or invited."""
        cursor = self._absent.get(room)
        if cursor is not None and cursor.value.partition(" ")[2] == guest:
            del self._absent[room]
            await remember(self._store, drop=[cursor])

    async def miss(self, room: str, ghost: str, leave: str) -> None:
        """Invite the guest again if *ghost* spoke after their *leave* event.

        What is said while they go out meets the bridge before the news does.
        """
        page = await self._homeserver.request(
            "GET",
            join("rooms", room, "messages"),
            user=ghost,
            query={"dir": "b", "limit": str(GLANCE_EVENTS)},
        )
        for event in page.get("chunk", ()):
            if event.get("event_id") == leave:
                return
            if event.get("sender") == ghost and event.get("type") in _SAID:
                await self.recall(room, ghost)
                return

    async def recall(self, room: str, by: str) -> None:
        """Let the ghost *by* invite the guest again, if they are absent.

        Raises ``DeclinedError`` if they have declined not long ago.
        """
        cursor = self._absent.get(room)
        if cursor is None:
            return
        peace_until, _, guest = cursor.value.partition(" ")
        if int(peace_until) > time.time():
            raise DeclinedError
        await self.invite(room, by, guest)
        await self.came(room, guest)

    async def invite(self, room: str, by: str, guest: str) -> None:
        """Let the ghost *by* invite *guest*, who may be there already."""
        try:
            await self._presences.invite(room, by, guest)
        except MatrixError as error:
            if "already in the room" not in error.message:
                raise
