"""One account's storage for python-omemo: in memory, in rows, with a way back.

    load, store, delete -> rows in memory -> (touched) -> records

Rules: a row holds all that must be consistent by itself (one session, one peer), so
that an operation writes only the rows that it touched; what an operation changes is
undone if it fails; values are kept as JSON, so nobody holds a part of what we hold.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar, cast

import msgspec
from omemo.storage import Just, Maybe, Nothing, NothingException, Storage
from omemo.types import JSONType
from typing_extensions import override

from bridge.model.records import Secret
from bridge.xmpp.omemo.names import NAMESPACES

SKIPPED_KEPT: Final = 100
SKIPPED_STEP: Final = 5

_RATCHET: Final = "/double_ratchet"
_INDEX: Final = "/bare_jids"
_SKIPPED: Final = "skipped_message_keys"
_PEERS: Final = frozenset(
    ("devices", "trust", "unlisted", "optout", "postponed", "spoken")
)

T = TypeVar("T")
U = TypeVar("U")
Row = dict[str, msgspec.Raw]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_rows: msgspec.json.Decoder[Row] = msgspec.json.Decoder(Row)


class Held(Just[T]):
    """A value that nobody else holds, so that it need not be copied."""

    def __init__(self, value: T) -> None:
        self._held = value

    @override
    def from_just(self) -> T:
        return self._held

    @override
    def maybe(self, default: object) -> T:
        return self._held

    @override
    def fmap(self, function: Callable[[T], U]) -> "Just[U]":
        return Held(function(self._held))


class Shelf(Storage):
    """What one account knows; *rows* are as they lie on disk."""

    def __init__(self, owner: str, rows: Mapping[str, bytes]) -> None:
        super().__init__(disable_cache=True)
        self._owner = owner
        self._sealed = dict(rows)
        self._rows: dict[str, Row] = {}
        self._undo: list[tuple[str, str, msgspec.Raw | None]] = []

    def begin(self) -> None:
        """Take note that an operation begins."""
        self._undo.clear()

    def touched(self) -> frozenset[str]:
        """Name the rows that the operation has changed."""
        return frozenset(row for row, _, _ in self._undo)

    def undo(self) -> None:
        """Be as if the operation had never begun."""
        while self._undo:
            name, key, old = self._undo.pop()
            if old is None:
                self._row(name).pop(key, None)
            else:
                self._row(name)[key] = old

    def records(self, names: frozenset[str]) -> Iterator[Secret]:
        """Write the rows as they stand now."""
        for name in sorted(names):
            yield Secret(self._owner, name, _encode(self._row(name)))

    def get(self, key: str) -> Any:  # noqa: ANN401 - any JSON
        """Return a value; None if there is none."""
        raw = self._row(row_of(key)).get(key)
        return None if raw is None else _decode(raw)

    def put(self, key: str, value: object) -> None:
        """Keep a value; None drops it."""
        name = row_of(key)
        row = self._row(name)
        old = row.get(key)
        if value is None:
            if old is not None:
                self._undo.append((name, key, old))
                del row[key]
            return
        if key.endswith(_RATCHET):
            _trim(value, old)
        data = msgspec.Raw(_encode(value))
        if old is None or bytes(data) != bytes(old):
            self._undo.append((name, key, old))
            row[key] = data

    def names(self) -> frozenset[str]:
        """Name all rows."""
        return frozenset((*self._sealed, *self._rows))

    def keys(self, name: str) -> list[str]:
        """List the keys of a row."""
        return list(self._row(name))

    def holds(self, name: str) -> bool:
        """Tell whether a row has anything in it."""
        return bool(self._row(name))

    def _row(self, name: str) -> Row:
        row = self._rows.get(name)
        if row is None:
            sealed = self._sealed.pop(name, b"{}")
            # A copy: else each value would hold all the bytes of its row.
            row = {k: raw.copy() for k, raw in _rows.decode(sealed).items()}
            self._rows[name] = row
        return row

    @override
    async def _load(self, key: str) -> Maybe[JSONType]:
        raw = self._row(row_of(key)).get(key)
        return Nothing() if raw is None else Held(_decode(raw))

    @override
    async def _store(self, key: str, value: JSONType) -> None:
        if key.endswith(_INDEX):
            # Only read to delete everything, and as long as there are peers.
            return
        if value is None:
            # A label that is not there is stored as null, which is not nothing.
            name = row_of(key)
            self._undo.append((name, key, self._row(name).get(key)))
            self._row(name)[key] = msgspec.Raw(b"null")
            return
        self.put(key, value)

    @override
    async def _delete(self, key: str) -> None:
        self.put(key, None)


def row_of(key: str) -> str:
    """Name the row in which *key* lies."""
    parts = key.split("/")
    first = parts[1]
    if first in NAMESPACES:
        if len(parts) > 4:  # noqa: PLR2004 - /namespace/jid/device/...
            return session_row(first, parts[2], parts[3])
        if len(parts) == 4:  # noqa: PLR2004 - /namespace/jid/device_ids
            return f"peer {parts[2]}"
        return f"keys {first}"
    if first in _PEERS:
        return f"peer {parts[2]}"
    return first if first in ("queue", "pep", "opened") else "own"


def session_row(namespace: str, jid: str, device: int | str) -> str:
    """Name the row of a session."""
    return f"session {namespace} {jid} {device}"


def _trim(value: object, old: msgspec.Raw | None) -> None:
    """Forget the oldest keys of messages that never came; XEP-0384 §4.3.

    A few with each message that came in its turn: whoever skipped hundreds would
    make every message after them dear. While the late ones are still coming, and
    use up what was kept for them, nothing is forgotten.
    """
    ratchet = cast("dict[str, list[object]]", value)
    skipped = ratchet.get(_SKIPPED, [])
    if len(skipped) <= SKIPPED_KEPT or old is None:
        return
    before = len(_decode(old)[_SKIPPED])
    if len(skipped) == before:
        ratchet[_SKIPPED] = skipped[SKIPPED_STEP:]


__all__ = ("Held", "NothingException", "Shelf", "row_of", "session_row")
