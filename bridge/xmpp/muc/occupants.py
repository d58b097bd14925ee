"""Answers questions to occupants, or lets them answer (XEP-0045 §6.6).

Of people of Matrix, and of all but what their clients can do, we answer ourselves:
so nobody of XMPP is reached by a question that tells more of them than that.
"""

import logging
from collections.abc import Callable
from typing import Final
from xml.etree.ElementTree import Element

from bridge.model.places import Network
from bridge.xmpp import replies
from bridge.xmpp.codec.names import Jid
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.iq import IqError
from bridge.xmpp.muc import refusals
from bridge.xmpp.muc.ports import Means
from bridge.xmpp.muc.refusals import Fault
from bridge.xmpp.muc.room import HostedRoom, Seat
from bridge.xmpp.muc.stanza import TooDeepError, split, to_node

logger = logging.getLogger(__name__)

PING: Final = "urn:xmpp:ping"
VCARD: Final = "vcard-temp"
DONE: Final = Node("done", {}, ())
"""Stands for an answer with nothing in it."""
ANSWER_S: Final = 10.0
ASKING_MAX: Final = 100

_NO_ANSWER: Final = Fault("wait", "remote-server-timeout", "")
_MATRIX: Final = replies.Identity("client", "bot", "Matrix bridge")

Reply = Callable[[Element, Node | Fault | None], None]


class Occupants:
    """Takes IQs to occupants; *reply* answers what has to wait."""

    def __init__(self, means: Means, reply: Reply) -> None:
        self._means = means
        self._reply = reply
        self._asking = 0

    def asked(
        self, room: HostedRoom | None, stanza: Element, sender: Jid, to: Jid
    ) -> Node | Fault | None:
        """Answer; None if that takes a while.

        A ping of oneself tells if one is still in (XEP-0410).
        """
        seat = None if room is None else room.devices.get(sender.full)
        if room is None or seat is None:
            return refusals.NOT_IN_ROOM
        space, _ = split(stanza[0].tag)
        if space == PING and to.resource == seat.nick:
            return DONE
        holder = room.holder(to.resource)
        if holder is None or space == VCARD:
            return refusals.NOT_FOUND
        if space != replies.DISCO_INFO or stanza.get("type") != "get":
            return refusals.UNKNOWN
        return self._described(room, stanza, seat, holder)

    def _described(
        self, room: HostedRoom, stanza: Element, seat: Seat, holder: Seat
    ) -> Node | Fault | None:
        """Say what the client of an occupant can do."""
        if holder.person.network is Network.MATRIX:
            if stanza[0].get("node"):
                return refusals.NOT_FOUND
            return replies.info(_MATRIX, (replies.DISCO_INFO,))
        if self._asking >= ASKING_MAX:
            return refusals.TOO_BUSY
        self._asking += 1
        passed = self._pass_on(
            stanza, holder.devices[-1], f"{room.address}/{seat.nick}"
        )
        self._means.tasks.create_task(passed, name="ask an occupant")
        return None

    async def _pass_on(self, stanza: Element, device: str, asker: str) -> None:
        """Let *device* itself answer, as if the room had asked."""
        found: Node | Fault
        try:
            asked = to_node(stanza[0])
            stream = self._means.stream
            answer = await stream.iq("get", device, asker, asked, ANSWER_S)
            query = answer.find(f"{{{replies.DISCO_INFO}}}query")
            found = refusals.UNKNOWN if query is None else to_node(query)
        except IqError as error:
            found = Fault(error.kind or "cancel", error.condition, "")
        except (TimeoutError, OSError, TooDeepError):
            found = _NO_ANSWER
        except Exception:
            # The end of the line: whatever broke, somebody waits for an answer.
            logger.exception("an occupant cannot be asked")
            found = _NO_ANSWER
        finally:
            self._asking -= 1
        self._reply(stanza, found)
