"""What the MUC service writes for itself to read later, after the tag ``H``."""

import msgspec

from bridge.xmpp.codec.xml import Node
from bridge.xmpp.gate import Addressed
from bridge.xmpp.packing import AS_IT_IS

TAG = b"H"


class Said(msgspec.Struct, frozen=True, array_like=True, tag="said"):
    """A groupchat message of an occupant, all that is needed to reflect it.

    *mark* names it among the sender's; it is the stanza's *id* where it has one.
    """

    room: str
    device: str
    nick: str
    id: str
    mark: str
    at_ms: int
    inside: tuple[Node, ...]


class Moved(msgspec.Struct, frozen=True, array_like=True, tag="moved"):
    """An occupant came (*nick*), changed the *nick*, or left (no *nick*)."""

    room: str
    bare: str
    nick: str
    first: bool
    mark: str
    at_ms: int


class Sheet(msgspec.Struct, frozen=True, array_like=True):
    """A stanza ready but for its addressees: *to*, else all who are in the room then.

    It belongs to the room's history if *at_ms* tells when it was said. *guard* says
    whether *account*, a puppet, is to seal it before it leaves.
    """

    before: bytes
    after: bytes
    at_ms: int = 0
    to: tuple[str, ...] = ()
    guard: int = AS_IT_IS
    account: str = ""

    @property
    def stanza(self) -> Addressed:
        """The stanza itself."""
        return Addressed(self.before, self.after)


_encode = msgspec.msgpack.Encoder().encode
_arrivals: msgspec.msgpack.Decoder[Said | Moved] = msgspec.msgpack.Decoder(Said | Moved)
_sheets: msgspec.msgpack.Decoder[Sheet] = msgspec.msgpack.Decoder(Sheet)


class UnknownFormatError(ValueError):
    """Bytes that no version of this venue has written."""


def pack(content: Said | Moved | Sheet) -> bytes:
    """Write *content* for the disk."""
    return TAG + _encode(content)


def sheet(stanza: Addressed, at_ms: int = 0, to: tuple[str, ...] = ()) -> bytes:
    """Write *stanza* as the content of a wire."""
    return TAG + _encode(Sheet(stanza.before, stanza.after, at_ms, to))


def guarded(stanza: Addressed, at_ms: int, guard: int, account: str) -> bytes:
    """Write *stanza*, which is said to a room, to be sealed on its way out."""
    return TAG + _encode(Sheet(stanza.before, stanza.after, at_ms, (), guard, account))


def arrival(raw: bytes) -> Said | Moved:
    """Read what an arrival or a receipt holds."""
    try:
        return _arrivals.decode(memoryview(raw)[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnknownFormatError from error


def ready(data: bytes) -> Sheet:
    """Read what a wire holds."""
    try:
        return _sheets.decode(memoryview(data)[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnknownFormatError from error
