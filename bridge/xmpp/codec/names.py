"""Addresses on XMPP, and the ones that people and rooms of Matrix bear there.

Rules: an address is made canonical before it is compared or kept; what stands for a
Matrix name can be read back, and no two Matrix names share it.
"""

import hashlib
import re
from functools import lru_cache
from typing import NamedTuple

from bridge.xmpp.codec.nicks import safe_nick, same_nick_key, unique_nick
from bridge.xmpp.codec.prep import a_labels, nodeprep, resourceprep

__all__ = (
    "Jid",
    "chat_address",
    "chat_parts",
    "mxid_of",
    "occupant_person",
    "parse",
    "puppet_jid",
    "puppet_local",
    "room_local",
    "room_of",
    "safe_nick",
    "same_nick_key",
    "short_id",
    "unique_nick",
)

PART_BYTES_MAX = 1023
ID_BYTES_MAX = 200
"""Of an id that others chose: with two addresses beside it, a database can index it."""

BARE_BYTES_MAX = 512
"""Of the bare address of somebody of XMPP, for the same reason; real ones are short."""

_ASCII_PASSES = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789.=~+_-")
_CODES = [chr(b) if b in _ASCII_PASSES else f"\\{b:02x}" for b in range(256)]
_ORDINARY = re.compile(r"[a-z0-9.=~+_-]*").fullmatch
_ESCAPE = re.compile(r"\\([0-9a-f]{2})")
_SERVER = re.compile(
    r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,230})(?::\d{1,5})?"
).fullmatch


class Jid(NamedTuple):
    """A canonical address; *local* and *resource* are empty if there are none."""

    local: str
    domain: str
    resource: str = ""

    @property
    def bare(self) -> str:
        """The address without its resource."""
        return f"{self.local}@{self.domain}" if self.local else self.domain

    @property
    def full(self) -> str:
        """The whole address."""
        return f"{self.bare}/{self.resource}" if self.resource else self.bare


@lru_cache(maxsize=16_384)
def parse(text: str) -> Jid | None:
    """Read an address and make it canonical; None if it is none (RFC 6122)."""
    rest, slash, given_resource = text.partition("/")
    given_local, at, given_domain = rest.rpartition("@")
    local = _fitting(nodeprep(given_local)) if at else ""
    domain = a_labels(given_domain)
    resource = _fitting(resourceprep(given_resource)) if slash else ""
    if local is None or domain is None or resource is None:
        return None
    return Jid(local, domain, resource)


def _fitting(part: str | None) -> str | None:
    if part is None or len(part.encode()) > PART_BYTES_MAX:
        return None
    return part


def is_short(jid: Jid) -> bool:
    """Tell whether *jid*, which is none of ours, can be kept."""
    return len(jid.bare.encode()) <= BARE_BYTES_MAX


def puppet_local(mxid: str) -> str:
    """Name a Matrix person as the local part of an address of ours."""
    local, _, server = mxid[1:].partition(":")
    return f"{_encode(local)}_{_encode_server(server)}"


def puppet_jid(mxid: str, component: str) -> str:
    """Name a Matrix person as a bare address of ours."""
    return f"{puppet_local(mxid)}@{component}"


@lru_cache(maxsize=16_384)
def mxid_of(local: str) -> str | None:
    """Read the Matrix person whom the local part of an address of ours names."""
    given_name, _, given_server = local.rpartition("_")
    name, server = _decode(given_name), _decode(given_server)
    if not _names(name, server):
        return None
    mxid = f"@{name}:{server}"
    # A name has one spelling, or somebody would bear two addresses.
    return mxid if puppet_local(mxid) == local else None


def room_local(address: str) -> str:
    """Name a Matrix room, by alias or id, as the local part of an address of ours."""
    name, colon, server = address[1:].partition(":")
    return f"{address[0]}{_encode(name)}" + (
        f"#{_encode_server(server)}" if colon else ""
    )


@lru_cache(maxsize=4096)
def room_of(local: str) -> str | None:
    """Read the alias or id of the Matrix room that a local part names.

    What people type without escaping it is understood too: ``room_local`` of the
    result tells whether *local* was the room's proper address.
    """
    sigil, rest = local[:1], local[1:]
    given_name, hash_sign, given_server = rest.rpartition("#")
    if sigil == "!" and not hash_sign:
        name = _decode(rest)
        return f"!{name}" if _names(name, "v12") else None
    name, server = _decode(given_name), _decode(given_server)
    if sigil not in ("#", "!") or not _names(name, server):
        return None
    return f"{sigil}{name}:{server}"


def chat_address(remote_bare: str, puppet_bare: str) -> str:
    """Name the direct chat of a person of XMPP with a puppet."""
    return f"{remote_bare} {puppet_bare}"


def chat_parts(address: str) -> tuple[str, str] | None:
    """Read who talks in a direct chat: (remote, puppet); None if it is a MUC."""
    remote, space, puppet = address.partition(" ")
    return (remote, puppet) if space else None


def occupant_person(muc: str, nick: str, occupant_id: str = "") -> str:
    """Name an occupant whose real address is hidden (XEP-0421 if *muc* has it)."""
    if occupant_id:
        return f"{muc}//{short_id(occupant_id)}"
    # No nick contains U+007F: this one cannot pass for somebody's occupant-id.
    return f"{muc}/\x7f{nick}" if nick.startswith("/") else f"{muc}/{nick}"


def short_id(given: str) -> str:
    """Return an id that others chose, or what stands for it if it is too long."""
    if 4 * len(given) <= ID_BYTES_MAX:
        return given
    raw = given.encode(errors="replace")
    return given if len(raw) <= ID_BYTES_MAX else hashlib.sha256(raw).hexdigest()


def _encode(text: str) -> str:
    if _ORDINARY(text):
        return text
    return "".join([_CODES[b] for b in text.encode(errors="replace")])


def _encode_server(server: str) -> str:
    return _encode(server).replace("_", r"\5f")


def _decode(text: str) -> str | None:
    if "\\" not in text:
        return text
    parts = _ESCAPE.split(text)
    literal, codes = parts[::2], parts[1::2]
    if any("\\" in part for part in literal):
        return None
    raw = literal[0].encode()
    for code, part in zip(codes, literal[1:], strict=True):
        raw += bytes.fromhex(code) + part.encode()
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _names(name: str | None, server: str | None) -> bool:
    if not name or not server or not _SERVER(server):
        return False
    return ":" not in name and "\0" not in name


def jid_called(domain: str, asked: str) -> str | None:
    """Make the JID of the puppet of whom somebody calls by a Matrix id."""
    mxid = asked.strip().removeprefix("https://matrix.to/#/")
    if not mxid.startswith("@") or ":" not in mxid:
        return None
    jid = parse(puppet_jid(mxid, domain))
    return jid.bare if jid is not None and mxid_of(jid.local) == mxid else None
