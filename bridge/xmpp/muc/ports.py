"""What the MUC service needs of the rest of the XMPP adapter."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from xml.etree.ElementTree import Element

from bridge.core.ports import Host, Store
from bridge.model.delivery import Arrival
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.endtoend import EndToEnd
from bridge.xmpp.gate import StanzaError, serialise
from bridge.xmpp.means import RELAY

logger = logging.getLogger(__name__)


class Stream(Protocol):
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
        """Ask *to*, as *sender*, and return the result; see ``bridge.xmpp.means``."""

    async def barrier(self) -> bool:
        """Wait until the server has taken all that was written; False if it is lost."""

    async def drained(self) -> None:
        """Wait until little of what was written is still with us."""


class Inbound(Protocol):
    """The way to the core."""

    def add(self, arrival: Arrival) -> None:
        """Have *arrival* kept, after those that were added before."""


@dataclass(frozen=True, slots=True)
class Means:
    """What every part of the MUC service works with.

    Without *endtoend* nothing that is encrypted can be read or written.
    """

    domain: str
    stream: Stream
    host: Host
    store: Store
    inbound: Inbound
    tasks: asyncio.TaskGroup
    endtoend: EndToEnd | None = None

    @property
    def relay(self) -> str:
        """The one JID of ours for which people encrypt what they say in a room."""
        return f"{RELAY}@{self.domain}"

    def write(self, stanza: Node | None) -> None:
        """Write *stanza*, if there is one, to its addressee."""
        if stanza is None:
            return
        try:
            self.stream.write(serialise(stanza, self.domain))
        except StanzaError as error:
            logger.info("an answer cannot be written: %s", error)
