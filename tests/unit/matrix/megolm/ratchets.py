"""Looks into what was encrypted, for the place of its ratchet: none is used twice."""

import base64
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import vodozemac

from bridge.matrix.megolm.ports import Batch

MAC_BYTES = 8
_INNER, _RATCHET_KEY, _INDEX = 0x22, 0x0A, 0x10


def spoken(event: dict[str, Any]) -> tuple[str, int]:
    """Return the session and the index of a message in a room."""
    content = event["content"]
    message = vodozemac.MegolmMessage.from_base64(content["ciphertext"])
    return content["session_id"], message.message_index()


def written(batches: Iterable[Batch]) -> list[tuple[str, bytes, int, str]]:
    """List each Olm message once: whose it is, its chain, its index, its bytes."""
    found: dict[str, tuple[str, bytes, int, str]] = {}
    for batch in batches:
        for devices in msgspec.json.decode(batch.messages).values():
            for content in devices.values():
                for cipher in content.get("ciphertext", {}).values():
                    body = cipher["body"]
                    raw = base64.b64decode(body + "=" * (-len(body) % 4))
                    if cipher["type"] == 0:
                        raw = dict(_fields(raw))[_INNER]
                    inside = dict(_fields(raw[:-MAC_BYTES]))
                    chain, index = inside[_RATCHET_KEY], inside[_INDEX][0]
                    found[body] = (content["sender_key"], chain, index, body)
    return list(found.values())


def used_twice(batches: Iterable[Batch]) -> list[tuple[str, bytes, int]]:
    """List the places of Olm ratchets at which two things were encrypted."""
    seen: set[tuple[str, bytes, int]] = set()
    twice = []
    for whose, chain, index, _ in written(batches):
        place = (whose, chain, index)
        if place in seen:
            twice.append(place)
        seen.add(place)
    return twice


def _fields(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Read the fields of an Olm message (Olm spec: message format), by their tag."""
    at = 1
    while at < len(raw):
        tag, at = raw[at], at + 1
        if tag & 7:
            length, at = _number(raw, at)
            yield tag, raw[at : at + length]
            at += length
        else:
            number, at = _number(raw, at)
            yield tag, bytes([number])


def _number(raw: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (raw[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if raw[at - 1] < 0x80:
            return number, at
