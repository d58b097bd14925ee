"""Messages as Matrix events of type ``m.room.message``."""

from collections.abc import Mapping
from typing import Any, assert_never

import msgspec

from bridge.matrix.codec import text
from bridge.model.delivery import Refusal
from bridge.model.events import Content, Manner, Text
from bridge.model.text import RichText, split

Json = dict[str, Any]

BODY_BYTES_MAX = 40_000
CONTENT_BYTES_MAX = 50_000
"""An event may have 65,536 bytes; signatures and the like take the rest."""

HOPS = "org.xmpp-matrix-bridge.hops"
"""How many bridges of our kind have carried a message: so none goes in circles."""

_SURELY_SMALL_CHARS = BODY_BYTES_MAX // 6
_HTML = "org.matrix.custom.html"
_MANNERS = {
    "m.text": Manner.SPEECH,
    "m.emote": Manner.ACTION,
    "m.notice": Manner.NOTICE,
    "m.server_notice": Manner.NOTICE,
}
_MSGTYPES = {
    Manner.SPEECH: "m.text",
    Manner.ACTION: "m.emote",
    Manner.NOTICE: "m.notice",
}
_KINDS = {
    "m.image": "a picture",
    "m.file": "a file",
    "m.audio": "a sound",
    "m.video": "a video",
    "m.location": "a location",
}
_OTR = "?OTR"
"""Begins what plugins for Off-the-Record messaging write."""
_VERIFICATION = "m.key.verification.request"
_to_json = msgspec.json.Encoder().encode


def decode(event: Mapping[str, Any]) -> Content | Refusal | None:
    """Read *event*; None if it says nothing that people would miss.

    An edit is refused, not posted a second time; a reply or a message in a thread is
    one like any other. A relation that is malformed is none.
    """
    match event.get("type"):
        case "m.room.message":
            return _message(event)
        case "m.room.encrypted":
            return Refusal.ENCRYPTED
        case "m.sticker" | "m.room.redaction":
            return Refusal.UNSUPPORTED
        case "m.reaction":
            return Refusal.UNSUPPORTED if event.get("content") else None
        case _:
            return None


def kind(event: Mapping[str, Any]) -> str:
    """Name what *event* is that cannot cross; empty if there is no word for it."""
    content = event.get("content")
    if event.get("type") == "m.sticker":
        return "a sticker"
    if event.get("type") == "m.room.redaction":
        return "a deletion: the other side still sees what it was about"
    if event.get("type") == "m.reaction":
        return "a reaction: the other side sees none in this room"
    if not isinstance(content, dict):
        return ""
    if _is_edit(content.get("m.relates_to")):
        return "an edit: the other side still sees the first version"
    msgtype = content.get("msgtype")
    return _KINDS.get(msgtype, "") if isinstance(msgtype, str) else ""


def _message(event: Mapping[str, Any]) -> Content | Refusal | None:
    content = event.get("content")
    if not content:
        return None  # it was redacted
    if not isinstance(content, dict):
        return Refusal.MALFORMED
    body, msgtype = content.get("body"), content.get("msgtype")
    if not isinstance(body, str) or not isinstance(msgtype, str):
        return Refusal.MALFORMED
    manner = _MANNERS.get(msgtype)
    if manner is None:
        return None if msgtype == _VERIFICATION else Refusal.UNSUPPORTED
    relation = content.get("m.relates_to")
    if _is_edit(relation):
        return Refusal.UNSUPPORTED
    if isinstance(relation, dict) and _is_reply(relation):
        body = text.without_fallback(body)
    return _said(body, _formatted(content), manner)


def _said(body: str, formatted: str | None, manner: Manner) -> Text | Refusal | None:
    if body.startswith(_OTR):
        return Refusal.ENCRYPTED
    words = text.decode(body, formatted)
    return None if not words.plain or words.plain.isspace() else Text(words, manner)


def _formatted(content: Mapping[str, Any]) -> str | None:
    if content.get("format") != _HTML:
        return None
    formatted = content.get("formatted_body")
    return formatted if isinstance(formatted, str) else None


def _is_edit(relation: object) -> bool:
    if not isinstance(relation, dict) or relation.get("rel_type") != "m.replace":
        return False
    return _is_id(relation.get("event_id"))


def _is_reply(relation: Mapping[str, Any]) -> bool:
    target = relation.get("m.in_reply_to")
    return isinstance(target, dict) and _is_id(target.get("event_id"))


def _is_id(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def hops(event: Mapping[str, Any]) -> int:
    """Read how many bridges of our kind have carried *event*, by their own words."""
    content = event.get("content")
    count = content.get(HOPS) if isinstance(content, dict) else None
    if not isinstance(count, int) or isinstance(count, bool):
        return 0
    return max(0, count)


def encode(content: Content) -> list[Json]:
    """Write *content* as the contents of one event, or of several if it is too long."""
    match content:
        case Text(body, manner):
            return [_part(part, _MSGTYPES[manner]) for part in _parts(body)]
        case _:
            assert_never(content)


def _parts(body: RichText) -> tuple[RichText, ...]:
    if len(body.plain) <= _SURELY_SMALL_CHARS:
        return (body,)
    return split(body, BODY_BYTES_MAX, _json_bytes)


def _part(part: RichText, msgtype: str) -> Json:
    body, formatted = text.encode(part)
    # Nobody is named here, so nobody is to be alerted for what the words look like.
    made: Json = {"msgtype": msgtype, "body": body, "m.mentions": {}}
    if formatted is None:
        return made
    if _json_bytes(body) + _json_bytes(formatted) > CONTENT_BYTES_MAX:
        return made
    return made | {"format": _HTML, "formatted_body": formatted}


def _json_bytes(words: str) -> int:
    return len(_to_json(words)) - len('""')
