"""The venue for MUCs elsewhere, in a world of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from bridge.core.ports import Unit
from bridge.model.delivery import Description, Refusal, Taken, Unreadable, Wire
from bridge.model.events import AnyEvent, Message
from bridge.model.places import Person
from bridge.xmpp.codec.names import Jid
from bridge.xmpp.endtoend import EndToEnd
from bridge.xmpp.mucs import Mucs
from bridge.xmpp.stay import Stay
from tests.unit.xmpp.elsewhere import ALICE, MUC, World, build, route, said


@dataclass
class MucsWorld(World):
    """A world with the venue in it."""

    mucs: Mucs

    @property
    def stay(self) -> Stay:
        """Our stay in the MUC."""
        return self.mucs._stays[MUC]

    async def connect(self) -> None:
        """Let the stream come up."""
        self.server.connected = True
        await self.mucs.up()
        await self.settle()

    def disconnect(self) -> None:
        """Let the stream be lost."""
        self.server.connected = False
        self.mucs.down()

    async def events(self) -> list[AnyEvent]:
        """Read everything that has arrived."""
        taken = [Taken(n, a) for n, a in enumerate(self.intake.arrivals.values(), 1)]
        read = [await self.read(one, Unit()) for one in taken]
        return [one for one in read if one and not isinstance(one, Unreadable)]

    async def read(self, taken: Taken, unit: Unit) -> AnyEvent | Unreadable | None:
        """Read *taken*, at a glance, too: then nothing else is to be noted of it."""
        glanced = self.mucs.glance(taken.arrival)
        read = await self.mucs.read(taken, unit)
        assert glanced is None or (glanced, unit) == (read, Unit())
        return read

    async def bodies(self) -> list[str]:
        """Read what people have said."""
        events = await self.events()
        return [e.content.body.plain for e in events if isinstance(e, Message)]

    def restart(self, tasks: asyncio.TaskGroup) -> "MucsWorld":
        """Fall, and come back with what is on disk."""
        self.disconnect()
        return join(build(tasks), self)

    def wires(self, words: str, name: str = "$1", person: Person = ALICE) -> list[Wire]:
        """Let somebody of Matrix say *words*, and write them for the MUC."""
        wires = self.mucs.prepare(said(words, name, person), route())
        assert not isinstance(wires, Refusal)
        return list(wires)


def join(
    world: World,
    former: MucsWorld | None = None,
    endtoend: EndToEnd | None = None,
) -> MucsWorld:
    """Put the venue into *world*, after *former* has fallen."""
    means = world.means
    if former is not None:
        world.server, world.intake = former.server, former.intake
        world.store.disk = former.store.disk
        means = type(means)(
            means.domain,
            world.server,
            world.host,
            world.store,
            world.intake,
            means.tasks,
        )
    mucs = Mucs(means, endtoend)

    def received(stanza: Element, sender: Jid, to: Jid) -> None:
        if world.server.connected:
            mucs.received(stanza, sender, to)

    world.server.received = received
    return MucsWorld(means, world.server, world.host, world.intake, world.store, mucs)


@asynccontextmanager
async def tea_time(*, visited: bool = False) -> AsyncIterator[MucsWorld]:
    """Put the Hatter into the MUC, and the bridge too if it has *visited*."""
    async with asyncio.TaskGroup() as tasks:
        made = join(build(tasks))
        made.server.occupants["Hatter"] = "hatter@wonder.example/tea"
        if visited:
            assert isinstance(await made.mucs.visit(MUC), Description)
            await made.settle()
        yield made
        made.mucs.close()
