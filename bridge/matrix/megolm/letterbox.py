"""To-device messages: each is taken once, however often it comes."""

import hashlib
import logging

from bridge.core.ports import Unit
from bridge.matrix.megolm import withheld
from bridge.matrix.megolm.devices import Devices
from bridge.matrix.megolm.inbound import Inbound, Key
from bridge.matrix.megolm.letters import ENCRYPTED
from bridge.matrix.megolm.olm import Broken, open_letter
from bridge.matrix.megolm.own import Own
from bridge.matrix.megolm.ports import Json
from bridge.matrix.megolm.sas import PREFIX
from bridge.matrix.megolm.signing import canonical
from bridge.matrix.megolm.vault import Vault
from bridge.matrix.recent import Recent

logger = logging.getLogger(__name__)

KNOWN_MAX = 5000
"""How many of the last messages are known again."""
VERIFIERS_MAX = 100


class Letterbox:
    """Where all that comes to devices of ours is opened."""

    def __init__(
        self,
        vault: Vault,
        devices: Devices,
        inbound: Inbound,
        refusals: withheld.Refusals,
    ) -> None:
        self._vault = vault
        self._devices = devices
        self._inbound = inbound
        self._refusals = refusals
        self._known: Recent[bytes, tuple[Unit, Key | None]] = Recent(KNOWN_MAX)

    async def take(self, own: Own, unit: Unit, event: Json) -> Key | None:
        """Take in *event*; return the session that it gave.

        What came before is staged again: the unit it was staged in may be lost.
        """
        try:
            mark = hashlib.sha256(own.user.encode() + canonical(event)).digest()
        except ValueError:
            return None  # no JSON that anybody could have signed
        known = self._known.get(mark)
        if known is None:
            part = Unit()
            known = part, await self._open(own, part, event)
            self._known.put(mark, known)
        unit.late += known[0].late
        return known[1]

    async def _open(self, own: Own, unit: Unit, event: Json) -> Key | None:
        sender, kind = event.get("sender"), event.get("type")
        if not isinstance(sender, str) or not isinstance(kind, str):
            return None
        if kind == withheld.TYPE:
            self._refusals.note(sender, event.get("content"))
        elif kind.startswith(PREFIX):
            _ask(own, event)
        elif kind == ENCRYPTED and own.account is not None:
            return await self._read(own, unit, sender, event.get("content"))
        return None

    async def _read(
        self, own: Own, unit: Unit, sender: str, content: object
    ) -> Key | None:
        person = await self._devices.person(sender)
        await own.meet(self._vault)
        letter = open_letter(own, unit, person, content)
        if letter is None:
            return None
        if isinstance(letter, Broken):
            logger.warning("an Olm message from %s cannot be read", sender)
            own.broken[letter.curve] = sender
        elif letter.type == "m.room_key":
            return await self._inbound.give(unit, letter)
        elif letter.type.startswith(PREFIX):
            inside = {"type": letter.type, "content": letter.content, "sender": sender}
            _ask(own, inside)
        # Nothing else is taken: no forwarded key, no request, no secret.
        return None


def _ask(own: Own, event: Json) -> None:
    if own.ready and len(own.verifiers) < VERIFIERS_MAX:
        own.verifiers.append(event)
