"""Names on Matrix, and the ones that people and rooms of XMPP bear there.

Rules: what stands for an XMPP name can be read back, unless it is too long; no two
XMPP names share it. What an XMPP name means is for the XMPP side to judge.
"""

import re
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import unquote

from bridge.model.places import Network

PREFIX = "_xmpp_"
ID_BYTES_MAX = 255

_PASSES = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789._-")
_CODES = [chr(b) if b in _PASSES else f"={b:02x}" for b in range(256)]
_ORDINARY = re.compile(r"[a-z0-9._-]*").fullmatch
_ESCAPE = re.compile(r"=([0-9a-f]{2})")
# Neither is ever written for a name: "==" is no escape, rooms have no "@".
_DIGEST_OF_PERSON = "=="
_DIGEST_OF_MUC = "@"
_DIGEST_OF_CHAT = re.compile(r"dm_[0-9a-f]{32}")
_LOCAL = r"[^:\0\s\ud800-\udfff]"
_SERVER = r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,230})(?::\d{1,5})?"
_MXID = re.compile(rf"@{_LOCAL}+:{_SERVER}").fullmatch
_NAME = re.compile(
    rf"@{_LOCAL}+:{_SERVER}|#[^:\0\ud800-\udfff]+:{_SERVER}|!{_LOCAL}+(?::{_SERVER})?"
).fullmatch
_SIGILS = {"u": "@", "user": "@", "r": "#", "room": "#", "roomid": "!"}
_MATRIX_TO = re.compile(r"(?:https?://)?matrix\.to/#/", re.IGNORECASE)
_JID = re.compile(r"(?:[^\s@/:]+@)?[^\s@/:#!]+|(?:[^\s@/:]+@)\[[0-9A-Fa-f:.]+\]")


class Address(NamedTuple):
    """What somebody typed: an MXID, alias or room id, or a bare address of XMPP.

    *via* are servers that are said to know the room.
    """

    network: Network
    name: str
    via: tuple[str, ...] = ()


def valid_mxid(text: str) -> bool:
    """Tell whether *text* is a user id, also one by the historical grammar."""
    return len(text.encode(errors="replace")) <= ID_BYTES_MAX and bool(_MXID(text))


def server_of(mxid: str) -> str:
    """Return the server's name in a user id, alias or room id; empty if none."""
    return mxid.partition(":")[2]


@lru_cache(maxsize=16_384)
def ghost_mxid(person_id: str, server: str) -> str:
    """Name the ghost of an XMPP person (spec, appendix 4.2.1.1 on mapping)."""
    return f"@{_fitted(_encode(person_id), _DIGEST_OF_PERSON, server)}:{server}"


def person_of(mxid: str, server: str) -> str | None:
    """Read whose ghost bears *mxid*; None if it is none, or has but a digest."""
    # What is longer is no user id, and not worth remembering.
    return _person_of(mxid, server) if len(mxid) <= ID_BYTES_MAX else None


@lru_cache(maxsize=16_384)
def _person_of(mxid: str, server: str) -> str | None:
    start, end = f"@{PREFIX}", f":{server}"
    if not (mxid.startswith(start) and mxid.endswith(end)):
        return None
    person = _decode(mxid[len(start) : -len(end)])
    # A name has one spelling, or somebody would have two ghosts.
    return person if person and ghost_mxid(person, server) == mxid else None


def muc_alias(muc: str, server: str) -> str:
    """Name a MUC as the alias under which it is joined from Matrix."""
    room, _, domain = muc.rpartition("@")
    plain = domain.replace("_", "=5f").replace(":", "=3a")
    return f"#{_fitted(f'{room}_{plain}', _DIGEST_OF_MUC, server)}:{server}"


def muc_of(alias: str, server: str) -> str | None:
    """Read the MUC that an alias, or its local part, names; not yet canonical."""
    local = alias.removeprefix("#")
    name, colon, given = local.partition(":")
    if not name.startswith(PREFIX) or (colon and given != server):
        return None
    rest = name.removeprefix(PREFIX)
    if _DIGEST_OF_MUC in rest or _DIGEST_OF_CHAT.fullmatch(rest):
        return None
    room, _, domain = rest.rpartition("_")
    if "=40" in domain:
        room, _, domain = rest.partition("=40")
    domain = domain.replace("=5f", "_").replace("=3a", ":")
    return f"{room}@{domain}" if room and domain else None


def typed_address(text: str) -> Address | None:
    """Read an address as people type or paste it; None if it is none.

    Understood are bare names, ``xmpp:`` (RFC 5122) and ``matrix:`` URIs and links to
    matrix.to. An address of XMPP is not yet canonical.
    """
    given = text.strip().strip("<>")
    if given[:7].lower() == "matrix:":
        return _matrix_uri(given[7:])
    if link := _MATRIX_TO.match(given):
        name, _, query = given[link.end() :].partition("?")
        return _matrix(unquote(name).split("/")[0], query)
    if given[:5].lower() == "xmpp:":
        given = unquote(given[5:].partition("?")[0])
    elif found := _matrix(given, ""):
        return found
    bare = given.partition("/")[0]
    return Address(Network.XMPP, bare) if _JID.fullmatch(bare) else None


def _matrix_uri(rest: str) -> Address | None:
    path, _, query = rest.partition("?")
    kind, _, name = path.partition("/")
    return _matrix(_SIGILS.get(kind, "") + unquote(name.partition("/")[0]), query)


def _matrix(name: str, query: str) -> Address | None:
    if len(name.encode(errors="replace")) > ID_BYTES_MAX or not _NAME(name):
        return None
    pairs = (pair.partition("=") for pair in query.split("&"))
    via = tuple(unquote(value) for key, _, value in pairs if key == "via" and value)
    return Address(Network.MATRIX, name, via)


def _fitted(name: str, digest: str, server: str) -> str:
    room = ID_BYTES_MAX - len(PREFIX) - len(server.encode()) - len("@:")
    raw = name.encode(errors="replace")
    if len(raw) <= room:
        return PREFIX + name
    hashed = digest + sha256(raw).hexdigest()
    readable = raw[: max(0, room - len(hashed))].decode(errors="ignore")
    return f"{PREFIX}{readable.rstrip('=')}{hashed}"


def _encode(text: str) -> str:
    if _ORDINARY(text):
        return text
    return "".join([_CODES[b] for b in text.encode(errors="replace")])


def _decode(text: str) -> str | None:
    parts = _ESCAPE.split(text)
    literal, codes = parts[::2], parts[1::2]
    raw = literal[0].encode(errors="replace")
    for code, part in zip(codes, literal[1:], strict=True):
        raw += bytes.fromhex(code) + part.encode(errors="replace")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None
