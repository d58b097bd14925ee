"""What the Olm machine asks of the homeserver, and what it answers to the adapter."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

Json = Mapping[str, Any]


class Batch(msgspec.Struct, frozen=True, gc=False):
    """To-device messages of one type, final: sending them again is no harm.

    *messages* is the value of ``messages`` in the request: user, device, content.
    """

    user: str
    device: str
    type: str
    txn: str
    messages: msgspec.Raw


class KeyServer(Protocol):
    """The part of the Client-Server API that carries keys (spec §11.12).

    Fails with ``MatrixError`` and ``HomeserverDownError`` as ``Homeserver`` does.
    """

    async def put_device(self, user: str, device: str, name: str) -> None:
        """Make a device of *user*, or rename it (MSC4190)."""

    async def delete_device(self, user: str, device: str) -> None:
        """Remove a device of *user*; one that is not there is no error."""

    async def upload_keys(
        self, user: str, device: str, body: Json
    ) -> Mapping[str, int]:
        """Upload keys as that device; return how many one-time keys there are."""

    async def upload_cross_signing(self, user: str, body: Json) -> None:
        """Upload the cross-signing keys of *user*."""

    async def query_keys(self, users: Sequence[str]) -> Json:
        """Return the answer to ``/keys/query`` for all devices of *users*."""

    async def claim_keys(self, wanted: Mapping[str, Mapping[str, str]]) -> Json:
        """Return the answer to ``/keys/claim``; *wanted*: user, device, algorithm."""

    async def send_to_device(self, batch: Batch) -> None:
        """Send *batch* in the name of its user and device, under its txnId."""


class Role(enum.Enum):
    """What a device of ours is for: who can open an Olm session to it."""

    BOT = "bot"  # receives for rooms: one-time keys and a fallback key
    CONTACT = "contact"  # can be written to directly: a fallback key
    OCCUPANT = "occupant"  # only speaks: nobody sends it keys


class Strictness(enum.Enum):
    """Whose devices get our keys."""

    PINNED = "pinned"  # those signed by the identity first seen; all if there is none
    SIGNED = "signed"  # only those that are signed


class Trust(enum.Enum):
    """How well we know the device that a message came from."""

    SIGNED = "signed"  # by the identity of its owner that we pinned
    LEGACY = "legacy"  # its owner has no cross-signing identity
    UNSIGNED = "unsigned"  # its owner has one, and it is not signed
    GONE = "gone"  # signed as far as known when the key came, not listed any more


@dataclass(frozen=True, slots=True)
class SealedRoom:
    """A room as it stands now, for the encryption of one message.

    *members* are those who may read, of which ours are passed over: the joined, and
    the invited unless *visibility* (``history_visibility``) is ``joined``.
    *encryption* is the content of ``m.room.encryption``. *watched* tells that the bot
    is in the room, so that the homeserver tells us of new devices. *awaited* are those
    of *members* whose clients have not had the time to look around.
    """

    id: str
    members: frozenset[str]
    encryption: Json = field(default_factory=dict)
    visibility: str = "shared"
    watched: bool = True
    awaited: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Encrypted:
    """Content for an event of type ``m.room.encrypted``, to be sent as *device*."""

    content: Json
    device: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """Not encrypted: the identities of *users* changed and nobody confirmed them."""

    users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plain:
    """What an encrypted event says; *content* has the relation of the outer event."""

    type: str
    content: dict[str, Any]
    trust: Trust


@dataclass(frozen=True, slots=True)
class Unknown:
    """The key has not come, so far."""

    session: str


@dataclass(frozen=True, slots=True)
class Withheld:
    """The sender's device keeps the key from us; *words* say why, to a person."""

    session: str
    code: str
    words: str


class Fault(enum.Enum):
    """Why an encrypted event is refused for good, in words."""

    MALFORMED = "the encrypted message is malformed"
    ALGORITHM = "the message is encrypted in a way that the bridge does not know"
    REPLAYED = "the encrypted message is a copy of another one"
    FOREIGN = "the message was encrypted by somebody else than its sender"
    UNDECRYPTABLE = "the message cannot be decrypted"
    TOO_OLD = "the bridge was given the key only for later messages"
    UNKNOWN_DEVICE = "the message was encrypted by a device that its sender has not"
    UNSIGNED_DEVICE = "the message comes from a device that its owner has not verified"


@dataclass(frozen=True, slots=True)
class Rejected:
    """Never to be read."""

    fault: Fault


Opened = Plain | Unknown | Withheld | Rejected


@dataclass(frozen=True, slots=True)
class Feed:
    """What the key feed of one of our devices brought (to-device and e2ee).

    *one_time* is how many one-time keys are left and *fallback* whether the fallback
    key is unused; None if the homeserver did not say. *gap* tells that *changed* does
    not go back to the last feed: every device list may be old.
    """

    to_device: Sequence[Json] = ()
    changed: Sequence[str] = ()
    left: Sequence[str] = ()
    one_time: int | None = None
    fallback: bool | None = None
    gap: bool = False


@dataclass(frozen=True, slots=True)
class News:
    """What a feed led to: sessions (room, session id) that can be read from now on."""

    keys: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A device of ours, as people compare it."""

    user: str
    device: str
    ed25519: str
    master: str


@dataclass(frozen=True, slots=True)
class ShortCode:
    """What two people compare to verify each other: pictures with names, or numbers."""

    emoji: tuple[tuple[str, str], ...]
    decimals: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Shown:
    """How a message of a verification is answered, in order: types and contents.

    *code* has just become known, for people to compare; *device* is theirs.
    """

    replies: tuple[tuple[str, Json], ...] = ()
    code: ShortCode | None = None
    device: str = ""
