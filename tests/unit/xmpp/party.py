"""A MUC elsewhere, for members only, who all encrypt."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

from bridge.core.ports import Unit
from bridge.model.delivery import (
    Description,
    Later,
    Outcome,
    Parcel,
    Refusal,
    Taken,
    Unreadable,
)
from bridge.model.events import AnyEvent, Protection
from bridge.model.places import Person
from tests.unit.xmpp.elsewhere import (
    ALICE,
    FEATURES,
    MUC,
    ROOM,
    TEA,
    build,
    parcels,
    route,
    said,
)
from tests.unit.xmpp.muc.cipher import FakeCipher, secret
from tests.unit.xmpp.mucs_world import MucsWorld, join

BOT = "bridge@bridge.example"
ALICES, BOBS = "alice_hs.example@bridge.example", "bob_hs.example@bridge.example"
HATTER, HARE = "hatter@wonder.example", "hare@wonder.example"
SECRET = (*FEATURES, "muc_membersonly", "muc_nonanonymous")
WORDS = secret("no room!", BOT, ALICES, BOBS)


@dataclass
class Party:
    """A MUC for members only, who all encrypt; the Hatter is there."""

    around: MucsWorld
    cipher: FakeCipher

    async def hears(self) -> list[AnyEvent | Unreadable | None]:
        """Read what has come since last asked."""
        await self.around.settle()
        arrivals, self.around.intake.arrivals = self.around.intake.arrivals, {}
        read: list[AnyEvent | Unreadable | None] = []
        for number, arrival in enumerate(arrivals.values(), 1):
            unit = Unit()
            read.append(await self.around.read(Taken(number, arrival), unit))
            await self.around.store.commit(unit)
        return read

    def writes(
        self, words: str, number: int = 1, *, sealed: bool = True, by: Person = ALICE
    ) -> Parcel:
        """Write what somebody of Matrix says."""
        event = said(words, f"${number}", by)
        if sealed:
            event = replace(event, protection=Protection.END_TO_END)
        wires = self.around.mucs.prepare(event, route())
        assert not isinstance(wires, Refusal)
        return parcels(wires, number)[0]

    async def sends(self, *sent: Parcel) -> Sequence[Outcome | Later]:
        outbox = self.around.store.disk.outbox
        new = [one for one in sent if one.id not in outbox]
        await self.around.store.commit(Unit(parcels=new))
        return await self.around.mucs.send(sent)

    def shown(self) -> list[Element]:
        """List what the bridge has said in the room."""
        written = self.around.server.written
        return [one for one in written if one.get("type") == "groupchat"]

    def allows(self) -> None:
        self.around.host.portals[ROOM] = replace(TEA, exposed=True)


@asynccontextmanager
async def gathered() -> AsyncIterator[Party]:
    """Have everybody come."""
    async with asyncio.TaskGroup() as tasks:
        cipher = FakeCipher()
        made = join(build(tasks), endtoend=cipher)
        made.server.features = SECRET
        made.server.occupants["Hatter"] = f"{HATTER}/tea"
        made.server.members = [HATTER, BOT, ALICES, BOBS]
        assert isinstance(await made.mucs.visit(MUC), Description)
        await made.settle()
        yield Party(made, cipher)
        made.mucs.close()
