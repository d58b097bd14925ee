"""What the three ways of meeting on XMPP have in common.

A room that we host, a MUC elsewhere and a direct chat differ in nearly all that
they do; towards the rest of the adapter they look the same.
"""

from collections.abc import Sequence
from typing import Protocol
from xml.etree.ElementTree import Element

from bridge.core.ports import State, Unit
from bridge.model.delivery import (
    Arrival,
    Later,
    Outcome,
    Parcel,
    Refusal,
    Route,
    Taken,
    Unreadable,
    Wire,
)
from bridge.model.events import AnyEvent, Message
from bridge.model.places import Room
from bridge.xmpp.codec.names import Jid


class Venue(Protocol):
    """One way of meeting; for all but the first three see the port ``Adapter``."""

    @property
    def tag(self) -> bytes:
        """The first byte of all that this venue writes for itself to read.

        That is every ``Arrival.raw``, every ``Wire.data`` and every receipt.
        """

    async def start(self) -> None:
        """Read what an earlier run left; before the core or the stream starts."""

    def received(self, stanza: Element, sender: Jid, to: Jid) -> None:
        """Take a stanza from the stream: in order, at once, and without fail."""

    async def up(self) -> None:
        """Take note that the stream is open, for the first time or again."""

    def down(self) -> None:
        """Take note that the stream is lost."""

    def glance(self, arrival: Arrival) -> Message | None:
        """Make a message of what came, if it is plain to see."""

    async def read(self, taken: Taken, unit: Unit) -> AnyEvent | Unreadable | None:
        """Make an event of what came; None if it says nothing that can cross."""

    def receipt(self, event: Message) -> bytes:
        """Note what *settle* will need to tell the sender of *event*."""

    def prepare(self, event: Message, route: Route) -> Sequence[Wire] | Refusal:
        """Write *event*, which happened on Matrix, for this venue."""

    async def apply(self, event: State, route: Route) -> Sequence[Wire]:
        """Let this venue see how things now stand on Matrix."""

    async def send(self, parcels: Sequence[Parcel]) -> Sequence[Outcome | Later]:
        """Send *parcels*, all of one lane, in their order."""

    def settle(self, receipt: bytes, outcome: Outcome) -> Sequence[Wire]:
        """Write what tells a sender, who is here, how their message fared."""

    def notice(self, room: Room, words: str) -> Sequence[Wire]:
        """Write words of the bridge's own to *room*."""
