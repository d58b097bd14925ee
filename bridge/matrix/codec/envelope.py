"""What a homeserver pushes, opened as far as is needed to keep it."""

from collections.abc import Callable
from typing import Any, TypeGuard

import msgspec

from bridge.matrix.codec.tolerant import clean, decode, split
from bridge.model.frozen import dataclass

ID_BYTES_MAX = 255
_EVENTS = "events"
_EPHEMERAL = ("ephemeral", "de.sorunome.msc2409.ephemeral")


@dataclass(frozen=True, slots=True)
class RawEvent:
    """A Matrix event with the outside of its envelope read.

    *raw* is strict JSON of the whole event; *state_key* is None unless it is state.
    """

    event_id: str
    room_id: str
    type: str
    sender: str
    state_key: str | None
    raw: bytes


@dataclass(frozen=True, slots=True)
class Push:
    """One transaction; *malformed* names what had to be skipped, as far as it goes."""

    events: tuple[RawEvent, ...]
    malformed: tuple[str, ...] = ()
    ephemeral: tuple[bytes, ...] = ()


class _Body(msgspec.Struct):
    events: list[msgspec.Raw]
    ephemeral: list[msgspec.Raw] = []
    early: list[msgspec.Raw] = msgspec.field(name=_EPHEMERAL[1], default_factory=list)


_decode_body: Callable[[bytes], _Body] = msgspec.json.Decoder(_Body).decode
_decode: Callable[[bytes | msgspec.Raw], Any] = msgspec.json.Decoder().decode


def open_push(body: bytes) -> Push | None:
    """Read a transaction; None if it is not one. One bad event harms no other."""
    try:
        read = _decode_body(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _open_slowly(body)
    return _push(
        [bytes(raw) for raw in read.events],
        tuple(bytes(raw) for raw in read.ephemeral or read.early),
    )


def raw_event(raw: bytes) -> RawEvent | str:
    """Read one event, or name it as well as can be if it is malformed."""
    try:
        event = _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raw = clean(raw)
        event = _decode(raw) if raw else None
    if not isinstance(event, dict):
        return "?"
    name = event.get("event_id")
    room, kind, sender = event.get("room_id"), event.get("type"), event.get("sender")
    state_key = event.get("state_key")
    if (
        _is_id(name, "$")
        and _is_id(room, "!")
        and _is_id(sender, "@")
        and _is_id(kind, "")
        and (isinstance(state_key, str) or "state_key" not in event)
    ):
        return RawEvent(name, room, kind, sender, state_key, raw)
    return ascii(name)[:ID_BYTES_MAX] if isinstance(name, str) else "?"


def _push(raws: list[bytes], ephemeral: tuple[bytes, ...]) -> Push:
    events: list[RawEvent] = []
    malformed: list[str] = []
    for raw in raws:
        event = raw_event(raw)
        if isinstance(event, RawEvent):
            events.append(event)
        else:
            malformed.append(event)
    return Push(tuple(events), tuple(malformed), ephemeral)


def _open_slowly(body: bytes) -> Push | None:
    """Read a transaction that a strict decoder refuses as a whole."""
    known = decode(body)
    if isinstance(known, dict):
        events = known.get(_EVENTS)
        if not isinstance(events, list):
            return None
        ephemeral: list[object] = []
        for key in _EPHEMERAL:
            listed = known.get(key)
            ephemeral = ephemeral or (listed if isinstance(listed, list) else [])
        encode = msgspec.json.encode
        return _push(
            [encode(event) for event in events], tuple(encode(e) for e in ephemeral)
        )
    # Not readable as a whole (nested too deep, say): what of it is, counts.
    push = _push(split(body, _EVENTS), ())
    return push if push.events else None


def _is_id(value: object, sigil: str) -> TypeGuard[str]:
    return (
        isinstance(value, str)
        and value.startswith(sigil)
        and 0 < len(value) <= ID_BYTES_MAX
        and "\0" not in value  # PostgreSQL has none in texts
    )
