"""What an encrypted event holds, read with suspicion: no homeserver looked at it."""

from typing import Any

import msgspec

from bridge.matrix.codec.tolerant import decode
from bridge.matrix.megolm.ports import Json

SIZE_MAX = 65_536
DEPTH_MAX = 64

RELATION = "m.relates_to"


class Sealed(msgspec.Struct):
    """The content of an ``m.room.encrypted``, as far as it is needed."""

    algorithm: str
    session_id: str = ""
    ciphertext: str | dict[str, Any] = ""


class Payload(msgspec.Struct):
    """What is inside."""

    type: str
    content: dict[str, Any]
    room_id: str
    state_key: Any = msgspec.UNSET


def sealed(event: Json) -> Sealed | None:
    """Read the outside of *event*; None if it is malformed."""
    try:
        return msgspec.convert(event.get("content"), Sealed)
    except (msgspec.ValidationError, RecursionError):
        return None


def read(raw: bytes, event: Json) -> Payload | None:
    """Read the inside of *event*; None if it is not fit to be an event of its room.

    State is never encrypted, and nothing is twice. The relation is the one outside,
    which the homeserver has seen as well: another one inside is not believed.
    """
    if len(raw) > SIZE_MAX:
        return None
    value = decode(raw)
    if not is_shallow(value):
        return None
    try:
        inner = msgspec.convert(value, Payload)
    except (msgspec.ValidationError, RecursionError):
        return None
    if inner.room_id != event["room_id"] or inner.state_key is not msgspec.UNSET:
        return None
    if inner.type == "m.room.encrypted" or "state_key" in event:
        return None
    inner.content.pop(RELATION, None)
    if RELATION in event["content"]:
        inner.content[RELATION] = event["content"][RELATION]
    return inner


def is_shallow(value: object) -> bool:
    """Tell whether *value* nests no deeper than anybody needs."""
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            part
            for one in level
            if isinstance(one, dict | list)
            for part in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return True
    return False
