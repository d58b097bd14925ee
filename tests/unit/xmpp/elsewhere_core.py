"""The core, as what speaks with an XMPP server sees it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bridge.core.ports import State, Unit
from bridge.model.delivery import (
    Arrival,
    Description,
    Parcel,
    Refusal,
    Refused,
    Wire,
)
from bridge.model.events import Vanished
from bridge.model.pictures import NO_PICTURE, Picture
from bridge.model.places import Person, Room
from bridge.model.records import Portal, Record
from tests.fakes_store import FakeStore


@dataclass
class Host:
    """The core as an adapter sees it."""

    portals: dict[Room, Portal] = field(default_factory=dict)
    told: list[State] = field(default_factory=list)
    regretted: list[tuple[Parcel, Refused]] = field(default_factory=list)
    warned: list[tuple[Room, str]] = field(default_factory=list)
    retried: list[Room] = field(default_factory=list)
    barred: set[str] = field(default_factory=set)
    known: bool | None = True
    pictures: dict[str, Picture | None] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    returned: list[str] = field(default_factory=list)
    written: list[tuple[Room, Sequence[Wire]]] = field(default_factory=list)
    store: FakeStore = field(default_factory=FakeStore)

    def portal(self, room: Room) -> Portal | None:
        return self.portals.get(room)

    def warn(self, room: Room, words: str) -> None:
        self.warned.append((room, words))

    def back(self, remote: str) -> None:
        self.returned.append(remote)

    def retry(self, room: Room) -> None:
        self.retried.append(room)

    def note(self, *records: Record) -> None:
        _ = self.store.commit(Unit(put=list(records)))

    async def keep(self, arrivals: Sequence[Arrival]) -> None:
        raise NotImplementedError

    def tell(self, event: State | Vanished) -> None:
        assert not isinstance(event, Vanished)
        self.told.append(event)

    def bars(self, person: Person) -> bool:
        return person.id in self.barred

    def request(self, person: Person) -> Refusal | None:
        return Refusal.NOT_ALLOWED if self.bars(person) else None

    def later(self, room: Room, wires: Sequence[Wire]) -> None:
        self.written.append((room, wires))

    def regret(self, parcel: Parcel, refused: Refused) -> None:
        self.regretted.append((parcel, refused))

    async def open_hosted(
        self, address: Room, guest: Person, name: str
    ) -> Portal | Refusal:
        return Refusal.NO_SUCH_ROOM

    async def open_foreign(self, muc: Room) -> Portal | Refusal:
        return Refusal.NO_SUCH_ROOM

    async def describe(self, portal: Portal) -> Description:
        return Description()

    async def called(self, person: Person) -> str | None:
        if not self.known:
            return None if self.known is None else ""
        return self.names.get(person.id, person.id)

    async def pictured(self, person: Person) -> Picture | None:
        return self.pictures.get(person.id, NO_PICTURE)

    async def look(self, address: Room) -> Description | Refusal:
        return Refusal.NO_SUCH_ROOM


@dataclass
class Intake:
    """Keeps arrivals once for each key, as the inbox does."""

    arrivals: dict[str, Arrival] = field(default_factory=dict)

    def add(self, arrival: Arrival) -> None:
        self.arrivals.setdefault(arrival.key, arrival)

    def after(self, call: Callable[[], None]) -> None:
        call()
