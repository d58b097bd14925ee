"""The XMPP side of a simulated bridge: small, and confirming as the real one does.

Direct chats: one message in flight, then a barrier (bridge/xmpp/chats.py). Hosted
rooms: many in one write, then a barrier (bridge/xmpp/muc/fanout.py). MUCs: shown by
the MUC (``stay`` beside this). The way in is the real ``Inbound``.
"""

import asyncio
from collections.abc import Callable, Sequence

from bridge.core.ports import Host, State, Store, Unit
from bridge.model.delivery import (
    Arrival,
    Delivered,
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
from bridge.model.events import AnyEvent, Join, Message, Text
from bridge.model.places import Network, Person, Ref, Room
from bridge.model.records import Portal
from bridge.model.text import RichText
from bridge.xmpp.inbound import Inbound
from tests.fakes import FakeNetwork, FakeXmppRooms
from tests.simulation.line import Line
from tests.simulation.matrix import EPOCH, pondering
from tests.simulation.net import Net
from tests.simulation.stanza import Stanza, is_plain_to_see, read, write
from tests.simulation.stay import MUC_DOMAIN, Stay

TOGETHER_MAX = 64
HOSTED = "#hosted@b"
OCCUPANTS = ("benvolio@x", "tybalt@x")


class SimXmpp(FakeNetwork, FakeXmppRooms):
    """The ports ``Adapter`` and ``XmppRooms`` towards the simulated server."""

    def __init__(self, line_of: Callable[..., Line], net: Net, store: Store) -> None:
        FakeNetwork.__init__(self, Network.XMPP)
        FakeXmppRooms.__init__(self)
        self.line = line_of(self.received)
        self.stay: Stay
        self._net = net
        self._store = store
        self._bounced: set[str] = set()
        self._expected = ""

    async def start(
        self, host: Host, tasks: asyncio.TaskGroup, mucs: Sequence[str]
    ) -> None:
        """Build the parts, and begin to connect."""
        self._host = host
        self.inbound = Inbound(host, self.line)
        (muc,) = mucs
        self.stay = Stay(muc, self.line, self.inbound, host, tasks)
        await self.stay.start(self._store)
        self.line.on_up = self._up
        self.line.on_down = self.stay.lost
        tasks.create_task(self.inbound.run(), name="inbound")
        tasks.create_task(self.stay.run(), name="stay")
        tasks.create_task(self.line.run(), name="line")

    def _up(self) -> None:
        self.inbound.up()
        self.stay.up()

    def received(self, stanza: Stanza) -> None:
        """Take a stanza."""
        if stanza.sender.endswith(MUC_DOMAIN) or stanza.to == self.stay.address:
            self.stay.received(stanza)
        elif stanza.kind == "error":
            self._bounced.add(stanza.id)
        elif stanza.kind in ("chat", "room"):
            address = HOSTED if stanza.kind == "room" else _chat(stanza)
            if stanza.kind == "room" and "joins" in stanza.text:
                self._joined(stanza)
            room = Room(Network.XMPP, address)
            key = f"{stanza.sender} {stanza.to} {stanza.id}"
            self.inbound.add(Arrival(room, key, write(stanza)))

    def glance(self, arrival: Arrival) -> Message | None:
        if not is_plain_to_see(arrival.raw, self._net.plain_percent):
            return None
        event = _event(arrival)
        return event if isinstance(event, Message) else None

    async def read(self, taken: Taken, unit: Unit) -> AnyEvent | Unreadable | None:
        await pondering(self._net)
        return _event(taken.arrival)

    def receipt(self, event: Message) -> bytes:
        return event.aliases[0].id.encode()

    def prepare(self, event: Message, route: Route) -> Sequence[Wire] | Refusal:
        words = event.content.body.plain
        if "unwritable" in words:
            return Refusal.TOO_LARGE
        parts = [f"{words}#1", f"{words}#2"] if "long" in words else [words]
        kind, to = "groupchat", route.room.address
        if to != HOSTED and not to.endswith(MUC_DOMAIN):
            kind, to = "chat", to.partition(" ")[0]
        wires: list[Wire] = []
        for number, part in enumerate(parts, 1):
            name = event.ref.id if number == 1 else f"{event.ref.id}/{number}"
            puppet = f"{event.sender.id}@b"
            stanza = Stanza(kind, puppet, to, name, part)
            wires.append(Wire(name, write(stanza), archived=to == HOSTED))
        return wires

    async def apply(self, event: State, route: Route) -> Sequence[Wire]:
        return ()

    async def send(self, parcels: Sequence[Parcel]) -> Sequence[Outcome | Later]:
        (first,) = read(parcels[0].wire.data)
        if first.to.endswith(MUC_DOMAIN):
            return await self.stay.say(parcels[:TOGETHER_MAX])
        if first.to == HOSTED:
            return await self._fan_out(parcels)
        return [await self._post(parcels[0], first)]

    async def _post(self, parcel: Parcel, stanza: Stanza) -> Outcome | Later:
        if parcel.id in self.line.earlier:
            return Delivered()
        self._bounced.discard(stanza.id)
        if not self.line.write(parcel.wire.data, (parcel.id,)):
            return Later(1.0)
        if not await self.line.barrier():
            return Later(1.0)
        if stanza.id in self._bounced and stanza.kind == "chat":
            return Refused(Refusal.REJECTED)
        return Delivered()

    async def _fan_out(self, parcels: Sequence[Parcel]) -> Sequence[Outcome | Later]:
        data, ids = b"", []
        for parcel in parcels:
            (stanza,) = read(parcel.wire.data)
            if stanza.to != HOSTED:
                break
            if parcel.id not in self.line.earlier:
                ids.append(parcel.id)
                for device in OCCUPANTS:
                    data += write(_to(stanza, device, parcel.wire.key))
        else:
            stanza = Stanza("", "", "")
        count = len(parcels) if stanza.to in (HOSTED, "") else parcels.index(parcel)
        if ids and not self.line.write(data, ids):
            return [Later(0.5)]
        if ids and not await self.line.barrier():
            return [Later(0.5)]
        return [Delivered()] * count

    def settle(self, receipt: bytes, outcome: Outcome) -> Sequence[Wire]:
        (said,) = read(receipt)
        refused = isinstance(outcome, Refused)
        if said.kind == "groupchat":
            if not refused:
                return ()
            words = f"told {said.id.partition('-')[2]}"
            name = self._net.dice.token()
            return [
                Wire(name, write(Stanza("groupchat", "@bot@b", said.to, name, words)))
            ]
        if said.kind == "room" and not refused:
            # Reflected to all, once Matrix has it (XEP-0045 §7.4).
            words = said.id.partition("-")[2]
            stanza = Stanza("groupchat", said.sender, HOSTED, said.id, words)
            return [Wire(said.id, write(stanza), archived=True)]
        kind = "error" if refused else "receipt"
        slip = Stanza(kind, said.to, said.sender, said.id)
        return [Wire(self._net.dice.token(), write(slip))]

    def notice(self, room: Room, words: str) -> Sequence[Wire]:
        return ()

    def addressee(self, chat: Room) -> Person | Refusal | None:
        _, _, puppet = chat.address.partition(" ")
        return Person(Network.MATRIX, puppet.removesuffix("@b")) if puppet else None

    def chat(self, person: Person, puppet: Person) -> Room:
        return Room(Network.XMPP, f"{person.id} {puppet.id}@b")

    async def depart(self, portal: Portal) -> Sequence[Wire]:
        return ()

    def _joined(self, stanza: Stanza) -> None:
        self._host.tell(
            Join(
                ref=Ref(Network.XMPP, stanza.id),
                room=Room(Network.XMPP, HOSTED),
                sender=Person(Network.XMPP, stanza.sender),
                sent_at=EPOCH,
                name=stanza.sender,
            )
        )


def _chat(stanza: Stanza) -> str:
    return f"{stanza.sender} {stanza.to}"


def _to(stanza: Stanza, device: str, name: str) -> Stanza:
    return Stanza(stanza.kind, stanza.sender, device, stanza.id, stanza.text, name)


def _event(arrival: Arrival) -> Message | Unreadable:
    (stanza,) = read(arrival.raw)
    receipt = write(Stanza(stanza.kind, stanza.sender, stanza.to, stanza.id))
    if "unreadable" in stanza.text:
        return Unreadable(Refusal.MALFORMED, receipt)
    sender = Person(Network.XMPP, stanza.sender)
    return Message(
        ref=Ref(Network.XMPP, f"{stanza.sender}#{stanza.id}"),
        room=arrival.room,
        sender=sender,
        sent_at=EPOCH,
        name=stanza.sender,
        content=Text(RichText(stanza.text)),
        aliases=(Ref(Network.XMPP, receipt.decode()),),
    )
