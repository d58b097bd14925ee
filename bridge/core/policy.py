"""The rules an event must meet to cross. Pure functions: facts in, verdict out."""

from bridge.model.delivery import Refusal, Route
from bridge.model.events import Event


def verdict(event: Event, route: Route) -> Refusal | None:
    """Return why *event* must not take *route*, or None if it may."""
    if event.protection > route.protection:
        return Refusal.WOULD_EXPOSE
    if route.portal.encrypted and route.protection == 0:
        # Nothing may reach, in the clear, a room that has ever been encrypted.
        return Refusal.WOULD_EXPOSE
    return None
