"""Which of our Matrix users are in which room, and under what name."""

import time
from collections.abc import Awaitable, Callable, Sequence

from bridge.core.ports import Store
from bridge.matrix.client import Homeserver, HomeserverDownError, MatrixError, join
from bridge.matrix.ghosts import NAME_MAX, Ghosts, remember
from bridge.matrix.patience import patiently
from bridge.matrix.recent import Locks, Recent
from bridge.model.records import Presence

PRESENCES_MAX = 100_000
SHOWN_MAX = 10_000
PATIENCE_S = 300.0


class Presences:
    """Who of ours is in which room, and under what name.

    *agent* tells who of ours is in a room for sure, and can invite. *taken* tells
    whether somebody of Matrix has a name there that people would mix up with another.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        store: Store,
        ghosts: Ghosts,
        agent: Callable[[str], str],
        taken: Callable[[str, str], Awaitable[bool]],
    ) -> None:
        self._homeserver = homeserver
        self._store = store
        self._ghosts = ghosts
        self._agent = agent
        self._taken = taken
        self._names: Recent[tuple[str, str], str] = Recent(PRESENCES_MAX)
        self.shown: Recent[tuple[str, str], float] = Recent(SHOWN_MAX)
        self._locks: Locks[tuple[str, str]] = Locks()

    def fits(self, room: str, mxid: str, name: str) -> bool:
        """Tell, from memory, whether *mxid* is in *room* under *name*.

        An empty *name* fits any.
        """
        known = self._names.get((room, mxid))
        return known is not None and (not name or known == name)

    async def find(self, room: str, mxid: str) -> Presence | None:
        """Find out whether *mxid* is in *room*."""
        name = self._names.get((room, mxid))
        if name is not None:
            return Presence(room, mxid, name)
        known = await self._store.find(Presence, room, mxid)
        if known is not None:
            self._names.put((room, mxid), known.name)
        return known

    async def enter(self, room: str, mxid: str, person: str, name: str) -> None:
        """Let *mxid* be in *room* under *name*.

        Raises ``MatrixError`` if neither they may come in nor our agent may invite.
        """
        name = name[:NAME_MAX]
        async with self._locks((room, mxid)):
            await self.find(room, mxid)
            if self.fits(room, mxid, name):
                return
            # Whoever bears a nick of one MUC only is called by it nowhere else.
            own_name = "" if "/" in person else name
            await self._ghosts.ensure(mxid, person, own_name)
            shown = await self._told_apart(room, person, name)
            await self._join(room, mxid, shown)
            await self.note(room, mxid, name)

    async def note(self, room: str, mxid: str, name: str) -> None:
        """Remember that *mxid* is in *room* under *name*."""
        if self._names.get((room, mxid)) is None:
            self.shows(room, mxid)
        self._names.put((room, mxid), name)
        await remember(self._store, [Presence(room, mxid, name)])

    def shows(self, room: str, mxid: str) -> None:
        """Take note that those in *room* see *mxid*, or a device of theirs, just now.

        ``shown`` tells when that was.
        """
        self.shown.put((room, mxid), time.monotonic())

    async def forget(self, room: str, mxid: str) -> None:
        """Remember that *mxid* is not in *room*, or no longer."""
        self._names.drop((room, mxid))
        await remember(self._store, drop=[Presence(room, mxid)])

    async def stays(self, room: str, mxid: str) -> bool:
        """Ask whether *mxid* is in *room* as it stands now; they are if nobody says."""
        path = join("rooms", room, "state", "m.room.member", mxid)
        try:
            member = await patiently(
                lambda: self._homeserver.request("GET", path, user=mxid), PATIENCE_S
            )
        except MatrixError:
            return False  # whoever is not may not look
        except HomeserverDownError:
            return True
        return member.get("membership") == "join"

    async def all_in(self, room: str) -> Sequence[Presence]:
        """List who of ours is in *room*. Slow: it reads every presence there is."""
        return [p for p in await self._store.load(Presence) if p.room == room]

    async def _told_apart(self, room: str, person: str, name: str) -> str:
        """Return *name*, with who it truly is if it looks like somebody else's."""
        if not name or not await self._taken(room, name):
            return name
        return f"{name} ({person.partition('/')[0]})"

    async def _join(self, room: str, mxid: str, name: str) -> None:
        """Join and name the ghost by one request.

        Without a name the homeserver takes that of the profile.
        """
        path = join("rooms", room, "state", "m.room.member", mxid)
        body = {"membership": "join"} | ({"displayname": name} if name else {})
        try:
            await self._homeserver.request("PUT", path, user=mxid, body=body)
        except MatrixError as error:
            agent = self._agent(room)
            if error.errcode != "M_FORBIDDEN" or agent == mxid:
                raise
            await self.invite(room, agent, mxid)
            await self._homeserver.request("PUT", path, user=mxid, body=body)

    async def invite(self, room: str, by: str, whom: str) -> None:
        """Let *by*, of ours, invite *whom*."""
        await self._homeserver.request(
            "POST", join("rooms", room, "invite"), user=by, body={"user_id": whom}
        )
