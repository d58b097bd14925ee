"""Whom Matrix still shows of the MUCs elsewhere, as the bridge starts."""

from collections.abc import Sequence

from bridge.core.ports import Store
from bridge.model.records import Ghost, Kind, Portal, Presence


class Shown:
    """What an earlier run has left in the Matrix rooms of MUCs elsewhere.

    All rooms are read at once, when the first is asked for, and each is forgotten when
    it has been asked for.
    """

    def __init__(self) -> None:
        self._rooms: dict[str, list[str]] | None = None

    async def take(self, store: Store, room: str) -> Sequence[str]:
        """Name the people whose ghosts are in *room*, of Matrix; once only."""
        if self._rooms is None:
            self._rooms = await _read(store)
        found = [await store.find(Ghost, m) for m in self._rooms.get(room, ())]
        self._rooms.pop(room, None)
        return [ghost.person for ghost in found if ghost is not None and ghost.person]


async def _read(store: Store) -> dict[str, list[str]]:
    elsewhere = (Kind.FOREIGN, Kind.PLUMBED)
    portals = await store.load(Portal)
    rooms: dict[str, list[str]] = {p.matrix: [] for p in portals if p.kind in elsewhere}
    for presence in await store.load(Presence) if rooms else ():
        if presence.room in rooms:
            rooms[presence.room].append(presence.mxid)
    return rooms
