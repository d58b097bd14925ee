"""Writes stanzas of which many look alike: what they share passes the gate once.

The parts are cut from stanzas that the gate wrote, at blanks that nobody can guess;
what fills the blanks was written by the gate as well.
"""

import re
import secrets
from collections.abc import Sequence
from functools import lru_cache

from bridge.xmpp.codec.message import around, carried_by, words
from bridge.xmpp.codec.text import Body
from bridge.xmpp.codec.xml import Child, Node, node
from bridge.xmpp.gate import (
    SIZE_BYTES_MAX,
    Addressed,
    StanzaError,
    addressed,
    content,
    text,
)

OCCUPANT_ID = "urn:xmpp:occupant-id:0"
STANZA_IDS = "urn:xmpp:sid:0"

BLANK = secrets.token_hex(16)
"""What is to be filled in."""

_STORE = node("store", {"xmlns": "urn:xmpp:hints"})
_QUOTE = Addressed(b"", b"")
_PLAIN = re.compile(r"[A-Za-z0-9 !#$()*+,./:;=?@_~-]+").fullmatch


def quoted(value: str) -> bytes:
    """Write *value*, which is not empty, as it stands in an attribute or a text."""
    return value.encode() if _PLAIN(value) else _QUOTE.to(value)


def formats(stanza: Node, domain: str) -> tuple[bytes, bytes]:
    """Write *stanza* as formats, before and after the addressee.

    Where it has the blank a value is to be filled in.
    """
    whole = addressed(stanza, domain)
    return _format(whole.before), _format(whole.after)


def said(
    room: str,
    sender: tuple[str, str],
    names: tuple[str, str],
    inside: Sequence[Node],
    domain: str,
) -> Addressed:
    """Write what *sender* (nick, occupant-id) says in *room*.

    It bears two *names*: the id that it came with, if any, and the room's own
    (XEP-0359 §3.2). Raises ``StanzaError`` if it must not leave.
    """
    given, name = names
    before, after = _frame(room, *sender, bool(given), domain)
    whole = Addressed(
        before % ((quoted(given),) if given else ()),
        after % (content(inside), quoted(name)),
    )
    if len(whole.before) + len(whole.after) > SIZE_BYTES_MAX:
        raise StanzaError("the stanza is too large")
    return whole


def spoken(
    room: str, sender: tuple[str, str], name: str, body: Body, hops: int, domain: str
) -> Addressed:
    """Write plain words as ``said`` does, both names of which are *name*.

    All but the words is known from the last time; so it takes a fifth of the time.
    """
    before, after = _spoken_frame(room, *sender, body.styled, hops, domain)
    named = quoted(name)
    whole = Addressed(before % named, after % (text(body.text), named))
    if len(whole.before) + len(whole.after) > SIZE_BYTES_MAX:
        raise StanzaError("the stanza is too large")
    return whole


@lru_cache(maxsize=4096)
def _spoken_frame(
    room: str,
    nick: str,
    occupant: str,
    styled: object,
    hops: int,
    domain: str,
) -> tuple[bytes, bytes]:
    inside = words(BLANK), *around(styled=bool(styled)), carried_by(hops)
    return formats(_groupchat(room, (nick, occupant), BLANK, inside), domain)


@lru_cache(maxsize=4096)
def _frame(
    room: str, nick: str, occupant: str, has_id: object, domain: str
) -> tuple[bytes, bytes]:
    given = BLANK if has_id else ""
    return formats(_groupchat(room, (nick, occupant), given, (BLANK,)), domain)


def _groupchat(
    room: str, sender: tuple[str, str], given: str, inside: Sequence[Child]
) -> Node:
    nick, occupant = sender
    return node(
        "message",
        {"type": "groupchat", "from": f"{room}/{nick}", "id": given},
        *inside,
        node("occupant-id", {"xmlns": OCCUPANT_ID, "id": occupant}),
        node("stanza-id", {"xmlns": STANZA_IDS, "by": room, "id": BLANK}),
        _STORE,
    )


def _format(part: bytes) -> bytes:
    return part.replace(b"%", b"%%").replace(BLANK.encode(), b"%b")
