"""Read JSON of strangers, also where it is not quite JSON.

Homeservers pass on what their users made: halves of surrogate pairs, numbers of
5,000 digits, NaN, nesting without end. A strict decoder refuses the whole document
for one of them, and one person could stop a bridge.
"""

import json
import math
import re
from typing import Any

import msgspec

INTEGER_MAX = 2**53 - 1
"""The largest integer of canonical JSON."""

_DIGITS_MAX = 17
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[][{},]', re.DOTALL)
_INSIDE = 2  # the depth at which an element of a list in an object stands


def decode(raw: bytes) -> Any:  # noqa: ANN401 - JSON is what it is
    """Return the JSON value in *raw*, sanitised; None if there is none."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        cleaned = clean(raw)
        return msgspec.json.decode(cleaned) if cleaned else None


def clean(raw: bytes) -> bytes:
    """Write *raw* again as strict JSON; empty if that cannot be done.

    Text that is no Unicode becomes U+FFFD, a number out of range the nearest in
    range, and a number that is none null.
    """
    try:
        value = json.loads(
            raw.decode("utf-8", "replace"),
            parse_constant=lambda _: None,
            parse_int=_integer,
            parse_float=_real,
        )
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        # Joins halves that belong together, replaces those that do not.
        halves = text.encode("utf-16-le", "surrogatepass")
        cleaned = halves.decode("utf-16-le", "replace").encode()
        msgspec.json.decode(cleaned)
    except (ValueError, RecursionError):
        return b""
    return cleaned


def split(raw: bytes, key: str) -> list[bytes]:
    """Cut the list under *key* of an object into its elements, without reading them.

    For what cannot be read as a whole: each element may then fail on its own.
    """
    wanted = json.dumps(key).encode()
    elements: list[bytes] = []
    depth, start, name = 0, -1, b""
    for match in _TOKEN.finditer(raw):
        token = match.group()
        if token in b"[{":
            if depth == 1 and token == b"[" and name == wanted:
                start = match.end()
            depth += 1
        elif token in b"]}":
            depth -= 1
        elif depth == 1:
            name = token
        if start >= 0 and (depth < _INSIDE or (depth == _INSIDE and token == b",")):
            elements.append(raw[start : match.start()].strip())
            start = match.end()
            if depth < _INSIDE:
                break
    return [element for element in elements if element]


def _integer(digits: str) -> int:
    if len(digits) <= _DIGITS_MAX:
        return max(-INTEGER_MAX, min(int(digits), INTEGER_MAX))
    return -INTEGER_MAX if digits.startswith("-") else INTEGER_MAX


def _real(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None
