"""What the bridge remembers between one start and the next.

A record is put whole and found again by its key (the fields named in *KEY*);
putting it twice does no harm.
"""

import enum
from dataclasses import field
from typing import ClassVar

from bridge.model.frozen import dataclass
from bridge.model.places import Network, PortalId


class Kind(enum.Enum):
    """The four ways in which the networks meet."""

    DIRECT = "direct"
    HOSTED = "hosted"
    FOREIGN = "foreign"
    PLUMBED = "plumbed"


@dataclass(frozen=True, slots=True)
class Portal:
    """A conversation with a side on each network.

    *matrix* is a room id and *xmpp* the address that the XMPP adapter gave it.
    *via* are servers that know the Matrix room (v12 ids name none).
    *agent* is the user of ours who is in the Matrix room for sure. *encrypted* says
    that the Matrix room is, for ever; *exposed* that somebody who may has allowed what
    is said there to leave it in the clear.
    """

    KEY: ClassVar = ("id",)

    id: PortalId
    kind: Kind
    matrix: str
    xmpp: str
    agent: str
    alias: str = ""
    name: str = ""
    topic: str = ""
    via: str = ""
    encrypted: bool = False
    exposed: bool = False


@dataclass(frozen=True, slots=True)
class Ghost:
    """A Matrix user of ours, registered, with its device; *person* is whose it is."""

    KEY: ClassVar = ("mxid",)

    mxid: str
    person: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Presence:
    """A ghost that has joined a Matrix room, under *name* there."""

    KEY: ClassVar = ("room", "mxid")

    room: str
    mxid: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Occupant:
    """A device of an XMPP user in a room that we host."""

    KEY: ClassVar = ("room", "jid")

    room: str
    jid: str
    nick: str


@dataclass(frozen=True, slots=True)
class Puppet:
    """The nick that a Matrix person bears, or last bore, in a MUC elsewhere."""

    KEY: ClassVar = ("muc", "mxid")

    muc: str
    mxid: str
    nick: str
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far something has been read."""

    KEY: ClassVar = ("kind", "key")

    kind: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Alias:
    """A name of a message: *seq* is the message, *author* who said it."""

    KEY: ClassVar = ("network", "ref")

    network: Network
    ref: str
    portal: PortalId
    seq: int
    author: str


@dataclass(frozen=True, slots=True)
class Secret:
    """A key, a ratchet, or what belongs to it; *value* lies sealed on disk.

    *owner* is whose it is, such as one device of one user.
    """

    KEY: ClassVar = ("owner", "name")

    owner: str
    name: str
    value: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that did not arrive and may yet: it is kept for a while.

    *room* is where it was bound for, in *lane*; *why* names a refusal, and *detail* is
    what the far network said. *wires* are all its parts that were not sent, in bytes
    that only ``core.letters`` writes and reads. *seq* is the arrival it carries.
    """

    KEY: ClassVar = ("id",)

    id: int
    network: Network
    lane: str
    portal: PortalId
    room: str
    why: str
    died_ms: int
    seq: int
    receipt: bytes = field(default=b"", repr=False)
    detail: bytes = field(default=b"", repr=False)
    wires: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the admin's command line asks of a bridge that runs, about a dead letter."""

    KEY: ClassVar = ("letter",)

    letter: int
    verb: str


Record = (
    Portal
    | Ghost
    | Presence
    | Occupant
    | Puppet
    | Cursor
    | Alias
    | Secret
    | DeadLetter
    | Wish
)
