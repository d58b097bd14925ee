"""MUCs elsewhere whose Matrix rooms are being made.

The homeserver may have made such a room, and let people in by its alias, though its
answer never came to us: so that one is being made is written down before.
"""

from bridge.core.ports import Store, Unit
from bridge.model.places import Network, Room
from bridge.model.records import Cursor

KIND = "founding"


class Foundings:
    """What is being made, also by the run before this one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: set[Room] = set()
        self._loaded = False

    async def begin(self, muc: Room, unit: Unit) -> None:
        """Write down, in *unit*, that the room of *muc* is being made."""
        (await self._load()).add(muc)
        unit.put.append(_record(muc))

    async def all(self) -> tuple[Room, ...]:
        """List the MUCs whose rooms are being made."""
        return tuple(await self._load())

    async def end(self, muc: Room, unit: Unit) -> None:
        """Forget, in *unit*, that the room of *muc* is being made."""
        open_ = await self._load()
        if muc in open_:
            open_.discard(muc)
            unit.drop.append(_record(muc))

    async def _load(self) -> set[Room]:
        if not self._loaded:
            records = await self._store.load(Cursor)
            # Others may have read them meanwhile, and have ended some.
            if not self._loaded:
                self._open |= {_read(one) for one in records if one.kind == KIND}
                self._loaded = True
        return self._open


def _record(muc: Room) -> Cursor:
    return Cursor(KIND, muc.address, "")


def _read(record: Cursor) -> Room:
    return Room(Network.XMPP, record.key)
