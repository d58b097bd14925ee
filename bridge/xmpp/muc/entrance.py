"""Keeps those in line who come to a room that is not ready yet."""

import logging
from collections import deque
from collections.abc import Callable
from xml.etree.ElementTree import Element

from bridge.model.delivery import Refusal
from bridge.model.places import Network, Person
from bridge.xmpp.codec.names import Jid, room_local, room_of
from bridge.xmpp.codec.nicks import safe_nick
from bridge.xmpp.muc import refusals
from bridge.xmpp.muc.history import MUC
from bridge.xmpp.muc.ports import Means
from bridge.xmpp.muc.room import HostedRoom
from bridge.xmpp.muc.rooms import Rooms
from bridge.xmpp.muc.stanza import child

logger = logging.getLogger(__name__)

LINE_MAX = 1000
OPENING_MAX = 500

Came = tuple[Element, Jid, Jid]


class Entrance:
    """Opens rooms, one guest after another; *again* takes what had to wait."""

    def __init__(
        self, means: Means, rooms: Rooms, again: Callable[[Element, Jid, Jid], None]
    ) -> None:
        self._means = means
        self._rooms = rooms
        self._again = again
        self._lines: dict[str, deque[Came]] = {}

    def holds(self, address: str) -> bool:
        """Tell whether somebody waits before the room."""
        return address in self._lines

    def keeps(self, address: str, device: Jid) -> bool:
        """Tell whether *device* itself waits there, and with it all it sends."""
        return any(came[1] == device for came in self._lines.get(address, ()))

    def wait(self, came: Came) -> None:
        """Keep what came until the room is ready."""
        line = self._lines[came[2].bare]
        if len(line) > LINE_MAX:  # the first is the one who opens it
            self._means.write(refusals.refuse(came[0], refusals.TOO_BUSY))
        else:
            line.append(came)

    def knock(self, stanza: Element, sender: Jid, to: Jid) -> None:
        """Take the presence of somebody who wants to come into a room."""
        if child(stanza, MUC, "x") is None:
            self._means.write(refusals.refuse(stanza, refusals.LOST_TOUCH))
        elif not to.resource:
            self._means.write(refusals.refuse(stanza, refusals.NO_NICK))
        elif (alias := room_of(to.local)) is None:
            self._means.write(refusals.refuse(stanza, refusals.NOT_FOUND))
        elif (local := room_local(alias)) != to.local:
            self._means.write(refusals.moved(stanza, f"{local}@{to.domain}"))
        elif len(self._lines) >= OPENING_MAX:
            self._means.write(refusals.refuse(stanza, refusals.TOO_BUSY))
        else:
            came = stanza, sender, to
            self._lines[to.bare] = deque([came])
            self._means.tasks.create_task(self._open(came), name="open a hosted room")

    async def _open(self, came: Came) -> None:
        stanza, sender, to = came
        guest = Person(Network.XMPP, sender.bare)
        found: HostedRoom | Refusal
        nick = safe_nick(to.resource, sender.local)
        try:
            found = await self._rooms.open(to.bare, guest, nick)
        except Exception:
            # The end of the line: whatever broke, somebody waits for an answer.
            logger.exception("the room %s cannot be opened", to.bare)
            found = Refusal.UNREACHABLE
        line = self._lines.pop(to.bare)
        if isinstance(found, Refusal):
            logger.info("%s: %s refused: %s", to.bare, guest.id, found.name)
            self._means.write(refusals.refuse(stanza, refusals.of_refusal(found)))
        elif found.address != to.bare:
            self._means.write(refusals.moved(stanza, found.address))
        if isinstance(found, Refusal) or found.address != to.bare:
            line.popleft()
        for waiting in line:
            self._again(*waiting)
