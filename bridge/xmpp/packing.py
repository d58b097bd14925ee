"""What the direct chats and the MUCs elsewhere write for themselves to read later.

The first byte tells which venue wrote it, so that the adapter can give it back.
"""

from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from bridge.xmpp.codec.xml import Node

AS_IT_IS, AS_THE_CHAT, GUARDED = range(3)
"""How a stanza leaves: so, sealed if the chat is, or sealed and never in the clear."""

CHAT = b"D"
MUC = b"M"

S = TypeVar("S", bound=msgspec.Struct)


class Letter(msgspec.Struct, frozen=True, array_like=True):
    """A message in a direct chat, as it came: *sender* is a device."""

    sender: str
    to: str
    at_ms: int
    stanza: Node


class Post(msgspec.Struct, frozen=True, array_like=True):
    """A stanza for somebody of XMPP.

    *sure* has their server asked for a sign of life before it counts as delivered.
    *guard* says whether it is to be sealed before it leaves.
    """

    to: str
    sender: str
    stanza: bytes
    sure: bool = True
    guard: int = AS_IT_IS


class Device(msgspec.Struct, frozen=True, array_like=True):
    """Who is to be told how the message *id* fared, which they wrote to *puppet*.

    *asked* says that they want to hear of success, too.
    """

    jid: str
    puppet: str
    id: str
    asked: bool = False


class Heard(msgspec.Struct, frozen=True, array_like=True):
    """What somebody said in a MUC, and who that was when they said it.

    *jid* is their real address, in a room in which people encrypt.
    """

    muc: str
    nick: str
    person: str
    rank: int
    at_ms: int
    stanza_id: str
    stanza: Node
    jid: str = ""


class Speech(msgspec.Struct, frozen=True, array_like=True, tag="speech"):
    """Words of *mxid*, who is called *name*, for a MUC; of the bridge if empty.

    *guard* says whether they are to be sealed before they leave.
    """

    muc: str
    mxid: str
    name: str
    stanza: bytes
    guard: int = AS_IT_IS


class Aside(msgspec.Struct, frozen=True, array_like=True, tag="aside"):
    """A private message of the bridge's own to an occupant."""

    muc: str
    stanza: bytes


class Exit(msgspec.Struct, frozen=True, array_like=True, tag="exit"):
    """*mxid* leaves a MUC; if empty the bridge itself does, for good."""

    muc: str
    mxid: str


class NewName(msgspec.Struct, frozen=True, array_like=True, tag="name"):
    """*mxid* wants to be called *name* in a MUC."""

    muc: str
    mxid: str
    name: str


class Speaker(msgspec.Struct, frozen=True, array_like=True):
    """Who is to be told how what they said in a MUC fared."""

    muc: str
    person: str
    nick: str
    id: str


Act = Speech | Aside | Exit | NewName


_encode = msgspec.msgpack.Encoder().encode


def pack(tag: bytes, content: msgspec.Struct) -> bytes:
    """Write *content* for the disk."""
    return tag + _encode(content)


@lru_cache(maxsize=32)
def _decoder(kind: type[msgspec.Struct]) -> "msgspec.msgpack.Decoder[Any]":
    return msgspec.msgpack.Decoder(kind)


def unpack(kind: type[S], raw: bytes) -> S | None:
    """Read what *pack* wrote; None if no version of this venue can have written it."""
    try:
        read: S = _decoder(kind).decode(memoryview(raw)[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return read


_acts: msgspec.msgpack.Decoder[Act] = msgspec.msgpack.Decoder(Act)


def act(raw: bytes) -> Act | None:
    """Read what a wire for a MUC asks for; None as for *unpack*."""
    try:
        return _acts.decode(memoryview(raw)[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
