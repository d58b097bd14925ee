"""What the direct chats and the MUCs elsewhere need of the rest of the adapter."""

import asyncio
import logging
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from xml.etree.ElementTree import Element

from bridge.core.ports import Host, Store, StoreUnavailableError, Unit
from bridge.model.delivery import Arrival
from bridge.model.events import PREFIXES
from bridge.model.places import Network
from bridge.model.records import Record
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.repeats import Repeats
from bridge.xmpp.shown import Shown

logger = logging.getLogger(__name__)

RESOURCE = "matrix"
"""The device of every puppet."""

BOT = "bridge"
"""The local part of the bridge's own JID."""

RELAY = "relay"
"""The local part of the JID for which others encrypt what they say in our rooms."""

COMMAND = f"{PREFIXES[Network.XMPP]} "
"""What commands to the bridge begin with."""

OWN = frozenset((BOT, RELAY))
"""The local parts that stand for nobody of Matrix."""

LISTENER = "listener"
"""The device with which the bridge itself is in a MUC."""


class Line(Protocol):
    """The way to the XMPP server."""

    @property
    def connected(self) -> bool:
        """Whether it is open."""

    def write(self, data: bytes, ids: Sequence[int] = ()) -> bool:
        """Write stanzas, and note that they carry the parcels *ids*.

        Return False if the stream is not open; then nothing was written.
        """

    async def iq(
        self, kind: str, to: str, sender: str, payload: Node, timeout_s: float
    ) -> Element:
        """Ask *to* and return the answer; see ``Stream``."""

    async def ping(self, to: str, sender: str, timeout_s: float) -> bool:
        """Wait until *to*, or its server, answers a ping in any way."""

    async def barrier(self) -> bool:
        """Wait until the server has taken all that was written; False if it is lost."""


class Intake(Protocol):
    """The way to the core."""

    def add(self, arrival: Arrival) -> None:
        """Have *arrival* kept, after those that were added before."""

    def after(self, call: Callable[[], None]) -> None:
        """Call *call* once all that was added before is on disk."""


@dataclass(frozen=True, slots=True)
class Means:
    """What every part of a venue works with.

    *written* holds the parcels whose bytes an earlier run had handed to the server;
    *repeats* names what the network has no name for, *shown* whom an earlier run has
    left on Matrix.
    """

    domain: str
    stream: Line
    host: Host
    store: Store
    inbound: Intake
    tasks: asyncio.TaskGroup
    written: Container[int] = ()
    repeats: Repeats = field(default_factory=Repeats)
    shown: Shown = field(default_factory=Shown)

    @property
    def bot(self) -> str:
        """The bridge's own JID."""
        return f"{BOT}@{self.domain}"

    @property
    def listener(self) -> str:
        """The JID that listens in MUCs."""
        return f"{BOT}@{self.domain}/{LISTENER}"

    async def keep(self, *records: Record) -> bool:
        """Remember *records* for sure; False if nothing can be written."""
        try:
            await self.store.commit(Unit(put=list(records)))
        except StoreUnavailableError:
            return False
        return True

    def put(self, *records: Record) -> None:
        """Remember *records* soon; losing them costs only work."""
        self.store.commit(Unit(put=list(records))).add_done_callback(_look)

    def drop(self, *records: Record) -> None:
        """Forget *records* soon."""
        self.store.commit(Unit(drop=list(records))).add_done_callback(_look)


def _look(done: "asyncio.Future[frozenset[int]]") -> None:
    if not done.cancelled() and isinstance(done.exception(), StoreUnavailableError):
        logger.warning("what was learnt of a MUC cannot be written at present")
