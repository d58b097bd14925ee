"""What the people in a room are called, as far as it has been asked.

Asked once per room, then kept up to date by the room's member events. What was not
used for long is forgotten.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from http import HTTPStatus

from bridge.matrix.client import Homeserver, HomeserverDownError, MatrixError, join
from bridge.matrix.codec.member import clean_name
from bridge.matrix.patience import patiently
from bridge.model.likeness import skeleton

logger = logging.getLogger(__name__)

NAMES_MAX = 200_000
ROOMS_MAX = 5_000
PATIENCE_S = 30.0
AGAIN_S = 60.0


class Roster:
    """The people who have joined one room; ghosts of ours are none."""

    __slots__ = ("_holders", "_names", "bot", "expires_at", "gone")

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._holders: dict[str, int] = {}
        self.gone: set[str] = set()
        self.bot = False
        self.expires_at = float("inf")

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, mxid: str) -> bool:
        return mxid in self._names

    def put(self, mxid: str, name: str) -> None:
        """Let *mxid* be in the room under *name*, which may be empty."""
        self.drop(mxid)
        name = plain_name(mxid, name)
        self._names[mxid] = name
        self._holders[name] = self._holders.get(name, 0) + 1

    def drop(self, mxid: str) -> None:
        """Let *mxid* be in the room no longer."""
        name = self._names.pop(mxid, None)
        if name is None:
            return
        self._holders[name] -= 1
        if not self._holders[name]:
            del self._holders[name]

    def has_like(self, name: str) -> bool:
        """Tell whether somebody's name looks like *name*."""
        wanted = skeleton(name)
        return any(skeleton(known) == wanted for known in self._holders)

    def shown(self, mxid: str) -> str:
        """Return the name that tells *mxid* from all others in the room.

        Client-server API, "Calculating the display name for a user".
        """
        name = self._names.get(mxid)
        if name is None:
            return plain_name(mxid, "")
        return name if self._holders[name] == 1 else f"{name} ({mxid})"


def plain_name(mxid: str, name: object) -> str:
    """Return *name* as one line; the MXID's localpart if nothing is left of it."""
    return clean_name(name) or mxid[1:].partition(":")[0]


class Members:
    """The rosters of the rooms in use, in bounded memory.

    *agent* tells who of ours is in a room and can ask; *ours* whether an MXID is
    ours; *bot* is ours too.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        agent: Callable[[str], str],
        ours: Callable[[str], bool],
        bot: str,
    ) -> None:
        self._homeserver = homeserver
        self._agent = agent
        self._ours = ours
        self._bot = bot
        self._rosters: OrderedDict[str, Roster] = OrderedDict()
        self._asked: dict[str, list[Roster]] = {}
        self._size = 0

    async def of(self, room: str) -> Roster:
        """Return the roster of *room*: empty if we cannot look."""
        known = self._rosters.get(room)
        if known is not None and known.expires_at > time.monotonic():
            self._rosters.move_to_end(room)
            return known
        return await self.load(room)

    def shown(self, room: str, mxid: str) -> str | None:
        """Return what *mxid* is called in *room*; None if that must be asked."""
        roster = self._rosters.get(room)
        if roster is None or mxid not in roster:
            return None
        if roster.expires_at <= time.monotonic():
            return None
        self._rosters.move_to_end(room)
        return roster.shown(mxid)

    async def name(self, room: str, mxid: str) -> str:
        """Return what *mxid*, who is or was in *room*, is called there."""
        roster = await self.of(room)
        if mxid in roster:
            return roster.shown(mxid)
        # They came and spoke while the roster was asked for, or have left since.
        path = join("rooms", room, "state", "m.room.member", mxid)
        try:
            member = await self._homeserver.request("GET", path, user=self._agent(room))
        except (MatrixError, HomeserverDownError):
            return plain_name(mxid, "")
        name = member.get("displayname")
        if member.get("membership") == "join":
            self.joined(room, mxid, name if isinstance(name, str) else "")
            # Meanwhile the roster may have been asked for anew.
            return self.shown(room, mxid) or plain_name(mxid, name)
        return plain_name(mxid, name)

    async def has_like(self, room: str, name: str) -> bool:
        """Tell whether somebody in *room* has a name that looks like *name*.

        A ghost must not pass for somebody who is there (UTS 39).
        """
        return (await self.of(room)).has_like(name)

    def known(self, room: str) -> Roster | None:
        """Return the roster of *room* if it has been asked for."""
        return self._rosters.get(room)

    async def load(self, room: str) -> Roster:
        """Ask who is in *room*."""
        self.forget(room)
        roster = Roster()
        self._asked.setdefault(room, []).append(roster)
        try:
            answer = await patiently(
                lambda: self._homeserver.request(
                    "GET",
                    join("rooms", room, "joined_members"),
                    user=self._agent(room),
                ),
                PATIENCE_S,
            )
        except (MatrixError, HomeserverDownError) as error:
            # Whoever is only invited, as when a chat begins, may not ask.
            invited = error.status == HTTPStatus.FORBIDDEN
            level = logging.DEBUG if invited else logging.WARNING
            logger.log(level, "room %s: its members cannot be read: %s", room, error)
            roster.expires_at = time.monotonic() + AGAIN_S
        else:
            self._fill(roster, answer.get("joined"))
        finally:
            self._answered(room, roster)
        self._keep(room, roster)
        return roster

    def joined(self, room: str, mxid: str, name: str) -> None:
        """Note that *mxid* is in *room*, or is now called *name* there."""
        if roster := self._rosters.get(room):
            self._size -= len(roster)
            roster.put(mxid, name)
            self._size += len(roster)
        for asked in self._asked.get(room, ()):
            asked.gone.discard(mxid)

    def left(self, room: str, mxid: str) -> None:
        """Note that *mxid* is not in *room*."""
        if roster := self._rosters.get(room):
            self._size -= len(roster)
            roster.drop(mxid)
            self._size += len(roster)
        # An answer that is on its way may still list them.
        for asked in self._asked.get(room, ()):
            asked.gone.add(mxid)

    def forget(self, room: str) -> None:
        """Ask anew when *room* is next used."""
        roster = self._rosters.pop(room, None)
        if roster is not None:
            self._size -= len(roster)

    def _fill(self, roster: Roster, joined: object) -> None:
        if not isinstance(joined, dict):
            return
        for mxid, member in joined.items():
            if mxid == self._bot:
                roster.bot = True
            elif not self._ours(mxid) and mxid not in roster.gone:
                name = member.get("display_name") if isinstance(member, dict) else None
                roster.put(mxid, name if isinstance(name, str) else "")

    def _answered(self, room: str, roster: Roster) -> None:
        self._asked[room].remove(roster)
        if not self._asked[room]:
            del self._asked[room]

    def _keep(self, room: str, roster: Roster) -> None:
        self.forget(room)
        self._rosters[room] = roster
        self._size += len(roster)
        while (self._size > NAMES_MAX and len(self._rosters) > 1) or len(
            self._rosters
        ) > ROOMS_MAX:
            self.forget(next(iter(self._rosters)))
