"""Direct chats whose Matrix rooms are being made.

Somebody may answer in such a room before we know that it is there, and we may fall
before the portal is on disk: that a chat is being opened is written down before.
"""

from bridge.core.ports import Store, Unit
from bridge.model.events import Message, Protection
from bridge.model.frozen import dataclass
from bridge.model.places import Network, Person, PortalId, Room
from bridge.model.records import Cursor

KIND = "opening"


@dataclass(frozen=True, slots=True)
class Opening:
    """Who began *chat*, called *name*, and how guarded their words came.

    *number* is that of the portal to be, so that a run that comes after this one sends
    in one lane what both carried.
    """

    number: PortalId
    chat: Room
    host: Person
    name: str
    protection: Protection


class Openings:
    """What is being opened, also by the run before this one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[Room, Opening] | None = None

    async def begin(self, event: Message) -> Opening:
        """Write down that *event* opens its chat, unless that is known.

        Whoever writes encrypted, now or when it was tried before, is known to.
        """
        openings = await self._load()
        known = openings.get(event.room)
        number = PortalId(self._store.number()) if known is None else known.number
        guarded = event.protection
        if known is not None:
            guarded = max(guarded, known.protection)
        opening = Opening(number, event.room, event.sender, event.name, guarded)
        if opening != known:
            await self._store.commit(Unit(put=[_record(opening)]))
            openings[event.room] = opening
        return opening

    async def all(self) -> tuple[Opening, ...]:
        """List what is being opened."""
        return tuple((await self._load()).values())

    def end(self, chat: Room, unit: Unit) -> None:
        """Forget, in *unit*, that *chat* is being opened."""
        opening = None if self._open is None else self._open.pop(chat, None)
        if opening is not None:
            unit.drop.append(_record(opening))

    async def _load(self) -> dict[Room, Opening]:
        if self._open is None:
            records = await self._store.load(Cursor)
            found = [_read(one) for one in records if one.kind == KIND]
            # Others may have read them meanwhile, and have begun more.
            if self._open is None:
                self._open = {opening.chat: opening for opening in found}
        return self._open


def _record(opening: Opening) -> Cursor:
    host, guarded = opening.host.id, int(opening.protection)
    said = f"{opening.number}\n{guarded}\n{host}\n{opening.name}"
    return Cursor(KIND, opening.chat.address, said)


def _read(record: Cursor) -> Opening:
    number, protection, host, name = record.value.split("\n", 3)
    return Opening(
        PortalId(int(number)),
        Room(Network.XMPP, record.key),
        Person(Network.XMPP, host),
        name,
        Protection(int(protection)),
    )
