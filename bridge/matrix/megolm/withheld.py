"""What devices say of keys that they do not give us (spec: m.room_key.withheld).

It is not encrypted and proves nothing, so it only explains: it changes no session.
"""

import msgspec

from bridge.matrix.megolm.ports import Json
from bridge.matrix.recent import Recent

TYPE = "m.room_key.withheld"
WORDS = {
    "m.blacklisted": "the sender's device has blocked the bridge",
    "m.unverified": "the sender's device gives no keys to devices it cannot verify",
    "m.unauthorised": "the sender's device says that the bridge may not read this",
    "m.unavailable": "the sender's device does not have the key any more",
    "m.no_olm": "the sender's device could not open a secure channel to the bridge",
    "m.history_not_shared": "the message is from before the bridge was in the room",
}
OTHERWISE = "the sender's device keeps the key from the bridge"
NO_OLM = "m.no_olm"
KNOWN_MAX = 5000


class _Withheld(msgspec.Struct):
    algorithm: str
    code: str
    sender_key: str = ""
    room_id: str = ""
    session_id: str = ""


class Refusals:
    """Why keys did not come; forgotten with a restart."""

    def __init__(self) -> None:
        self._codes: Recent[tuple[str, ...], str] = Recent(KNOWN_MAX)

    def note(self, sender: str, content: object) -> None:
        """Remember what a device of *sender* said."""
        try:
            said = msgspec.convert(content, _Withheld)
        except (msgspec.ValidationError, RecursionError):
            return
        code = said.code if said.code in WORDS else ""
        if said.code == NO_OLM:
            self._codes.put((sender, said.sender_key), code)
        else:
            self._codes.put((sender, said.room_id, said.session_id), code)

    def why(self, event: Json, session: str) -> str | None:
        """Return the code for the session of *event*; None if nobody said why."""
        sender = event["sender"]
        code = self._codes.get((sender, event["room_id"], session))
        if code is not None:
            return code
        return self._codes.get((sender, str(event["content"].get("sender_key"))))


def words(code: str) -> str:
    """Return what *code* means to a person."""
    return WORDS.get(code, OTHERWISE)
