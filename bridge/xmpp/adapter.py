"""The XMPP side of the bridge: one stream, and three ways to meet over it.

    stream -> received -> the venue -> inbound -> core -> the venue -> stream

What belongs to which venue is told by the address, or by the first byte of what the
venue itself had written.
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from bridge import __version__
from bridge.core.ports import Host, State, Store, Unit
from bridge.model.delivery import (
    XMPP_SERVER,
    Arrival,
    Description,
    Later,
    Outcome,
    Parcel,
    Refusal,
    Refused,
    Route,
    Taken,
    Unreadable,
    Wire,
)
from bridge.model.events import AnyEvent, Invite, Message, Protection, Repictured
from bridge.model.places import Network, Person, Room
from bridge.model.records import Kind, Portal
from bridge.xmpp import contacts
from bridge.xmpp.chats import Chats
from bridge.xmpp.checking import Checking, Company
from bridge.xmpp.codec.names import (
    Jid,
    chat_parts,
    is_short,
    jid_called,
    mxid_of,
    parse,
    puppet_jid,
    room_local,
    room_of,
)
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.component import Stream
from bridge.xmpp.disco import Disco, nobody
from bridge.xmpp.gate import StanzaError, serialise
from bridge.xmpp.inbound import Inbound
from bridge.xmpp.means import OWN, RESOURCE, Means
from bridge.xmpp.muc.service import Hosted
from bridge.xmpp.mucs import Mucs
from bridge.xmpp.persons import Persons
from bridge.xmpp.poison import REJECTED, Poison
from bridge.xmpp.venue import Venue
from bridge.xmpp.written import NOTHING, Marks, begin

logger = logging.getLogger(__name__)

DRAIN_S = 1.0

_IQ = "{jabber:component:accept}iq"
_TO_PUPPET = f"/{RESOURCE}".encode()


def wanted(to: bytes) -> bool:
    """Tell whether a groupchat message to *to* says anything.

    Every puppet in a MUC gets a copy of what the listener is told.
    """
    return not to.endswith(_TO_PUPPET)


class XmppAdapter:
    """One network, seen from the core; see the ports ``Adapter`` and ``XmppRooms``.

    *written* is the file that tells the next run what this one had handed over.
    Without *omemo* nothing is sealed. *ignored* counts the stanzas that were for nobody
    or from nobody; *on_up* is called whenever the stream is open, *on_poison* when a
    parcel is given up that closes it.
    """

    devices: Checking
    _stream: Stream
    _host: Host
    _inbound: Inbound
    _persons: Persons
    _chats: Chats
    _mucs: Mucs
    _hosted: Hosted

    def __init__(  # noqa: PLR0913 - the edge of a network has many neighbours
        self,
        *,
        domain: str,
        secret: str,
        host: str,
        port: int,
        store: Store,
        tasks: asyncio.TaskGroup,
        written: Path,
        omemo: bool = True,
    ) -> None:
        self.ignored = 0
        self.on_poison: Callable[[], None] = lambda: None
        self.on_up: Callable[[], None] = lambda: None
        self._domain = domain
        self._secret = secret
        self._address = host, port
        self._store = store
        self._tasks = tasks
        self._path = written
        self._sealing = omemo
        self._poison = Poison()
        self._is_up = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._disco = Disco(domain, __version__, functools.partial(jid_called, domain))
        self._venues: dict[bytes, Venue] = {}

    @property
    def network(self) -> Network:
        """Which one."""
        return Network.XMPP

    async def start(self, host: Host) -> None:
        """Build the parts, and read what an earlier run left; connects to nothing."""
        written = await begin(self._path, self._store)
        stream = Stream(
            domain=self._domain,
            secret=self._secret,
            host=self._address[0],
            port=self._address[1],
            tasks=self._tasks,
            received=self.received,
            up=self.up,
            down=self.down,
            written=written,
            wanted=wanted,
            disco=self._disco,
        )
        await self.join(stream, Inbound(host, stream), host, written.marks)

    async def join(
        self, stream: Stream, inbound: Inbound, host: Host, marks: Marks = NOTHING
    ) -> None:
        """Join the venues to *stream*, *inbound* and *host*."""
        parts = self._domain, stream, host, self._store, inbound, self._tasks
        means = Means(*parts, marks.earlier)
        self._stream = stream
        self._inbound = inbound
        self._persons = Persons(means, self._disco.puppet, sealing=self._sealing)
        self._chats = Chats(means, self._persons)
        omemo = self._persons.endtoend
        self.devices = Checking(
            self._store, self._chats.secrecy, omemo, self._domain, self._company
        )
        self._mucs = Mucs(means, omemo, self._persons.hopes)
        self._hosted = Hosted(
            *parts, marks=marks, endtoend=omemo, hopes=self._persons.hopes
        )
        self._hosted.met = self._persons.met
        await self._persons.start()
        for venue in (self._chats, self._mucs, self._hosted):
            self._venues[venue.tag] = venue
            await venue.start()
        self._host = host
        inbound.lost = self._lost

    async def wait_up(self) -> None:
        """Wait until the stream is open for the first time."""
        await self._is_up.wait()

    async def recover(self) -> None:
        """Begin anew where keys are concerned; see the port ``Recovering``."""
        await self._persons.recover()

    async def run(self) -> None:
        """Be connected until closed.

        Raises ``ComponentRefusedError`` if the server will not have us.
        """
        create = self._tasks.create_task
        # It outlives the stream: what came last is still to be kept.
        self._keeping = create(self._inbound.run(), name="xmpp inbound")
        watching = create(self._mucs.run(), name="mucs elsewhere")
        tending = create(self._persons.run(), name="omemo")
        try:
            await self._stream.run()
        finally:
            watching.cancel()
            tending.cancel()
            self._mucs.close()

    async def close(self) -> None:
        """Let out what is written, keep what has come, and disconnect for good."""
        await self._stream.close()
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._inbound.wait_empty()
        except TimeoutError:
            logger.warning("what came last from XMPP could not be kept")
        if self._keeping is not None:
            self._keeping.cancel()

    async def up(self) -> None:
        """Take note that the stream is open."""
        self._inbound.up()
        for venue in self._venues.values():
            await venue.up()
        self._is_up.set()
        self.on_up()

    def down(self) -> None:
        """Take note that the stream is lost."""
        self._poison.suspect(self._stream.suspects, blamed=self._stream.blames)
        for venue in self._venues.values():
            venue.down()
        self._persons.down()

    def received(self, stanza: Element) -> None:
        """Give a stanza to whom it concerns."""
        sender, to = parse(stanza.get("from", "")), parse(stanza.get("to", ""))
        if sender is None or to is None or sender.domain == self._domain:
            # Ours comes back when it was sent to ourselves: an echo.
            self.ignored += 1
        elif not is_short(sender):
            self._write(contacts.too_long(stanza))
        elif to.local[:1] in ("#", "!"):
            self._hosted.received(stanza, sender, to)
        elif stanza.tag == _IQ:
            self._answer(stanza, sender, to)
        elif self._mucs.knows(sender.bare):
            self._mucs.received(stanza, sender, to)
        else:
            self._chats.received(stanza, sender, to)

    def glance(self, arrival: Arrival) -> Message | None:
        """Make a message of what came, if it is plain to see; see ``Adapter``."""
        venue = self._venues.get(arrival.raw[:1])
        return None if venue is None else venue.glance(arrival)

    async def read(self, taken: Taken, unit: Unit) -> AnyEvent | Unreadable | None:
        """Make an event of what came; see ``Adapter``."""
        venue = self._venues.get(taken.arrival.raw[:1])
        if venue is None:
            logger.error("arrival %d is in no format of ours", taken.seq)
            return None
        return await venue.read(taken, unit)

    def receipt(self, event: Message) -> bytes:
        """Note what *settle* will need; see ``Adapter``."""
        return self._venue(event.room.address).receipt(event)

    def prepare(self, event: Message, route: Route) -> Sequence[Wire] | Refusal:
        """Write a message from Matrix; see ``Adapter``."""
        return self._venue(route.room.address).prepare(event, route)

    async def apply(self, event: State, route: Route) -> Sequence[Wire]:
        """Show how things now stand on Matrix; see ``Adapter``."""
        if isinstance(event, Repictured):
            self._persons.repictured(puppet_jid(event.sender.id, self._domain))
            return ()
        return await self._venue(route.room.address).apply(event, route)

    async def send(self, parcels: Sequence[Parcel]) -> Sequence[Outcome | Later]:
        """Send the first of *parcels*, as many as go together; see ``Adapter``."""
        tag = parcels[0].wire.data[:1]
        portion = self._poison.portion(parcels)
        if not portion:
            self.on_poison()
        if not portion or tag not in self._venues:
            logger.error("parcel %d can never be sent", parcels[0].id)
            return [REJECTED]
        alike = [parcel for parcel in portion if parcel.wire.data[:1] == tag]
        if len(alike) < len(portion):
            alike = [portion[0]]
        outcomes = await self._venues[tag].send(alike)
        self._poison.cleared(alike, outcomes)
        if isinstance(outcomes[-1], Later) and not self._stream.connected:
            return [*outcomes[:-1], Later(outcomes[-1].after_s, XMPP_SERVER)]
        return outcomes

    def settle(self, receipt: bytes, outcome: Outcome) -> Sequence[Wire]:
        """Write what tells a sender how their message fared; see ``Adapter``."""
        venue = self._venues.get(receipt[:1])
        return () if venue is None else venue.settle(receipt, outcome)

    def notice(self, room: Room, words: str) -> Sequence[Wire]:
        """Write words of the bridge's own to *room*; see ``Adapter``."""
        return self._venue(room.address).notice(room, words)

    def protection(self, portal: Portal) -> Protection:
        """Tell how well what is sent to *portal* is guarded; see ``Adapter``.

        What came guarded is sealed on its way out, or does not leave.
        """
        if portal.kind in (Kind.FOREIGN, Kind.PLUMBED):
            return self._mucs.protection(portal)
        plain = portal.kind is Kind.HOSTED and not portal.encrypted
        return Protection.TRANSPORT if plain else Protection.END_TO_END

    def addressee(self, chat: Room) -> Person | Refusal | None:
        """Name the Matrix person of a direct chat; see ``XmppRooms``."""
        return self._chats.addressee(chat)

    def chat(self, person: Person, puppet: Person) -> Room:
        """Name a direct chat; see ``XmppRooms``."""
        return self._chats.chat(person, puppet)

    def alias(self, address: str) -> str | None:
        """Name the Matrix room that an address of ours means; see ``XmppRooms``."""
        jid = parse(address)
        if jid is None or jid.domain != self._domain:
            return None
        return room_of(jid.local)

    def canonical(self, text: str) -> str | None:
        """Read the address of a MUC as people type it; see ``XmppRooms``."""
        bare = text.removeprefix("https://xmpp.link/#").removeprefix("xmpp:")
        jid = parse(unquote(bare.partition("?")[0]))
        if jid is None or not jid.local or jid.domain == self._domain:
            return None
        return jid.bare if is_short(jid) else None

    def hosted(self, portal: Portal) -> str:
        """Name the address of a Matrix room; see ``XmppRooms``."""
        return f"{room_local(portal.alias or portal.matrix)}@{self._domain}"

    async def visit(self, muc: str) -> Description | Refusal:
        """Enter a MUC to listen; see ``XmppRooms``."""
        return await self._mucs.visit(muc)

    async def depart(self, portal: Portal) -> Sequence[Wire]:
        """Write what takes us out of a MUC, or all out of ours; see ``XmppRooms``."""
        if portal.kind is Kind.HOSTED:
            return self._hosted.depart(portal)
        return () if portal.kind is Kind.DIRECT else await self._mucs.depart(portal)

    async def invite(self, invite: Invite, portal: Portal) -> Refusal | None:
        """Ask somebody of XMPP into a room that we host; see ``XmppRooms``."""
        return await self._hosted.invite(invite, portal)

    def _company(self, portal: Portal) -> Company:
        venue = self._hosted if portal.kind is Kind.HOSTED else self._mucs
        return venue.company(portal.xmpp)

    async def _lost(self, arrival: Arrival) -> None:
        """Tell the sender of *arrival* that it cannot be kept."""
        event = await self.read(Taken(0, arrival), Unit())
        if isinstance(event, Message):
            receipt = self.receipt(event)
        elif isinstance(event, Unreadable):
            receipt = event.receipt
        else:
            return
        wires = self.settle(receipt, Refused(Refusal.MALFORMED))
        self._host.later(arrival.room, wires)

    def _venue(self, address: str) -> Venue:
        if chat_parts(address) is not None:
            return self._chats
        if address[:1] in ("#", "!") and address.endswith("@" + self._domain):
            return self._hosted
        return self._mucs

    def _answer(self, iq: Element, sender: Jid, to: Jid) -> None:
        """Answer a question about a puppet or the bridge itself."""
        if iq.get("type") not in ("get", "set"):
            return None
        name = "Matrix bridge" if to.local in OWN else mxid_of(to.local)
        if name is not None:
            return self._persons.asked(iq, sender, to, name)
        return self._write(nobody(iq))

    def _write(self, answer: Node | None) -> None:
        try:
            if answer is not None:
                self._stream.write(serialise(answer, self._domain))
        except StanzaError as error:
            logger.debug("an answer cannot be written: %s", error)
