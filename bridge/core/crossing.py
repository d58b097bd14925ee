"""Takes a message across its portal, or refuses it; either is written into a unit.

Nothing here waits for anybody, so what is plain to see can cross before it is on
disk: the commit that takes it is the one that carries it.
"""

import logging
from collections.abc import Mapping, Sequence

from bridge.core.directory import Directory
from bridge.core.dispatch import Dispatch
from bridge.core.guard import PAUSED, Guard
from bridge.core.policy import verdict
from bridge.core.ports import Adapter, Unit
from bridge.model.delivery import Refusal, Refused, Route, Taken, Wire
from bridge.model.events import Message, Protection
from bridge.model.places import Network, Ref
from bridge.model.records import Alias, Portal

logger = logging.getLogger(__name__)


class Crossing:
    """The part of the chain between what was read and what is to be sent."""

    def __init__(
        self,
        adapters: Mapping[Network, Adapter],
        directory: Directory,
        dispatch: Dispatch,
        guard: Guard,
    ) -> None:
        self._adapters = adapters
        self._directory = directory
        self._dispatch = dispatch
        self._guard = guard

    def at_once(self, taken: Taken) -> Unit | None:
        """Carry *taken*, which is not on disk yet; None if it needs the whole chain.

        What is refused does, too: here nothing is decided against anybody.
        """
        room = taken.arrival.room
        portal = self._directory.portal(room)
        if portal is None or self._hardens(portal):
            return None
        event = self._adapters[room.network].glance(taken.arrival)
        if event is None or event.room != room:
            return None
        route = self._route(event, portal)
        if verdict(event, route) or self._guard.message(event, portal):
            return None
        wires = self._prepared(event, route)
        if isinstance(wires, Refusal):
            return None
        unit = Unit(take=[taken], done=[taken.seq])
        receipt = self._adapters[room.network].receipt(event)
        self._add(event, route, wires, (receipt, taken.seq), unit)
        return unit

    def message(
        self, event: Message, portal: Portal, receipt: bytes, seq: int, unit: Unit
    ) -> None:
        """Let *event* cross *portal*, or tell its sender why it does not."""
        route = self._route(event, portal)
        wires = (
            self._guard.message(event, portal)
            or verdict(event, route)
            or self._prepared(event, route)
        )
        if not isinstance(wires, Refusal):
            self._add(event, route, wires, (receipt, seq), unit)
            return
        self.refuse(event, receipt, wires, unit)
        if wires is Refusal.WOULD_EXPOSE:
            self._bury(event, route, (receipt, seq), unit)

    def refuse(self, event: Message, receipt: bytes, why: Refusal, unit: Unit) -> None:
        """Tell the sender of *event* that it does not cross."""
        logger.info("room %s: refused: %s", event.room.address, why.name)
        self._dispatch.counters.add("refused", why.name)
        if not self._guard.answers(event, why):
            return
        near = self._adapters[event.room.network]
        self._dispatch.add(unit, event.room, near.settle(receipt, Refused(why)))

    def _hardens(self, portal: Portal) -> bool:
        """Tell whether the Matrix room is encrypted, which is not written down yet."""
        matrix = self._adapters[Network.MATRIX]
        hard = matrix.protection(portal) is Protection.END_TO_END
        return hard and not portal.encrypted

    def _route(self, event: Message, portal: Portal) -> Route:
        far = self._adapters[event.room.network.other]
        way = self._directory.far(portal, event.room)
        return Route(portal, way, far.protection(portal))

    def _prepared(self, event: Message, route: Route) -> Sequence[Wire] | Refusal:
        """Write *event* for the other side; what breaks a codec is refused."""
        try:
            return self._adapters[route.room.network].prepare(event, route)
        except Exception:
            logger.exception("a message in %s breaks a codec", event.room.address)
            return Refusal.REJECTED

    def _add(
        self,
        event: Message,
        route: Route,
        wires: Sequence[Wire],
        waits: tuple[bytes, int],
        unit: Unit,
    ) -> None:
        receipt, seq = waits
        _name(unit, route.portal, event, seq)
        self._dispatch.add(unit, route.room, wires, receipt=receipt, seq=seq)
        if self._guard.circles(event, route.portal):
            logger.warning("portal %d: words go in circles: paused", route.portal.id)
            for room in (event.room, route.room):
                notice = self._adapters[room.network].notice(room, PAUSED)
                self._dispatch.add(unit, room, notice)

    def _bury(
        self, event: Message, route: Route, waits: tuple[bytes, int], unit: Unit
    ) -> None:
        """Keep what may not leave in the clear, until somebody allows it."""
        wires = self._prepared(event, route)
        if isinstance(wires, Refusal):
            return
        receipt, seq = waits
        _name(unit, route.portal, event, seq)
        kept = Unit()
        self._dispatch.add(kept, route.room, wires, receipt=receipt, seq=seq)
        why = Refused(Refusal.WOULD_EXPOSE)
        self._dispatch.letters.bury(unit, kept.parcels, why)


def _name(unit: Unit, portal: Portal, event: Message, seq: int) -> None:
    """Remember the names under which *event* is known where it happened.

    An event id needs no remembering: messages bear it on XMPP too.
    """
    if event.ref.network is Network.MATRIX:
        return
    names: tuple[Ref, ...] = (event.ref, *event.aliases)
    unit.put.extend(
        Alias(ref.network, ref.id, portal.id, seq, event.sender.id) for ref in names
    )
