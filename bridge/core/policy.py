"""The rules an event must meet to cross. Pure functions: facts in, verdict out."""

from bridge.model.delivery import Refusal, Route
from bridge.model.events import Event, Protection
from bridge.model.places import Network


def verdict(event: Event, route: Route) -> Refusal | None:
    """Return why *event* must not take *route*, or None if it may.

    What came end-to-end encrypted goes on in the clear only where somebody who may
    has allowed it; what came in the clear may always be encrypted from here on.
    """
    if event.protection > route.protection and not route.portal.exposed:
        return Refusal.WOULD_EXPOSE
    sealed = route.portal.encrypted and route.room.network is Network.MATRIX
    if sealed and route.protection < Protection.END_TO_END:
        # Nothing may reach, in the clear, a room that has ever been encrypted.
        return Refusal.WOULD_EXPOSE
    return None
