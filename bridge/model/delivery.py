"""What is on its way: taken in, bound for the far side, and how it went."""

import enum

from bridge.model.events import Protection, Rank
from bridge.model.frozen import dataclass
from bridge.model.places import Network, Person, PortalId, Ref, Room
from bridge.model.records import Portal

NO_PORTAL = PortalId(0)

HOMESERVER = "the homeserver"
XMPP_SERVER = "the XMPP server"
"""The remotes, by the words for them, through which everything of a network goes."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came over a wire, not yet understood.

    *key* tells it from everything else that ever came over that network: an
    arrival with a known key is the same one again. *raw* is the adapter's own.
    """

    room: Room
    key: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Taken:
    """An arrival that is safe on disk; *seq* is its place in the order of all."""

    seq: int
    arrival: Arrival


@dataclass(frozen=True, slots=True)
class Wire:
    """Final bytes that an adapter has made and can send more than once.

    *key* makes sending twice the same as sending once (a txnId, a stanza id).
    *archived* keeps the bytes after delivery, as the room's history.
    """

    key: str
    data: bytes
    archived: bool = False


@dataclass(frozen=True, slots=True)
class Parcel:
    """A wire on its way, safe on disk under *id*.

    *lane* is the conversation: its parcels leave one after another, in order.
    *receipt* is what the side it came from needs to tell its sender the outcome;
    empty if nobody waits for it. *last* marks the last parcel of one message.
    *seq* is the arrival it carries, 0 if none.
    """

    id: int
    network: Network
    lane: str
    wire: Wire
    receipt: bytes = b""
    last: bool = True
    seq: int = 0
    portal: PortalId = NO_PORTAL


@dataclass(frozen=True, slots=True)
class Route:
    """All an event needs to know about the far side of its portal."""

    portal: Portal
    room: Room
    protection: Protection = Protection.TRANSPORT
    reply_to: Ref | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody in a room, by what they are called there."""

    person: Person
    name: str
    rank: Rank = Rank.MEMBER


@dataclass(frozen=True, slots=True)
class Description:
    """What a room looks like to somebody who comes in.

    *topic_by* set the topic, at *topic_at_ms*; empty and 0 if nobody can tell.
    """

    name: str = ""
    topic: str = ""
    members: tuple[Member, ...] = ()
    public: bool = True
    encrypted: bool = False
    topic_by: str = ""
    topic_at_ms: int = 0


class Refusal(enum.Enum):
    """Why an event did not cross, in words its sender can be shown."""

    NOT_ALLOWED = "you may not do that here"
    NOT_IN_ROOM = "you are not in this room"
    NO_SUCH_PERSON = "there is nobody of that name"
    NO_SUCH_ROOM = "there is no such room"
    DECLINED = "they do not want to talk to you"
    WOULD_EXPOSE = (
        "it is encrypted and would go on in the clear; those who may allow that write"
        " !xmpp plaintext allow on Matrix, !matrix plaintext allow on XMPP"
    )
    ENCRYPTED = (
        "the bridge cannot read this kind of encryption; on XMPP, OMEMO can be read"
    )
    UNDECIPHERABLE = "the bridge cannot decrypt it"
    UNENCRYPTABLE = "it cannot be encrypted for the other side"
    UNSUPPORTED = "the bridge cannot carry this kind of message yet"
    MALFORMED = "the message is malformed"
    TOO_LARGE = "the message is too large for the other network"
    TOO_FAST = "you do this too often; wait a minute"
    CIRCLES = "it has crossed bridges too often, as if it went in circles"
    IN_DOUBT = "it may have arrived already: the bridge runs on a restored backup"
    UNREACHABLE = "the other network cannot be reached"
    UNCONFIRMED = (
        "their device has not confirmed it, though it was sent twice; ask them"
    )
    REJECTED = "the other network rejected the message"


@dataclass(frozen=True, slots=True)
class Delivered:
    """It arrived, and bears these names there."""

    refs: tuple[Ref, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """It will never arrive, and its sender must be told.

    *detail* is what the far network said, fit to be shown.
    """

    why: Refusal
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Later:
    """The far network cannot take it now; try the same bytes again.

    *away* names the remote that is away, if that is why: for as long as it is, nothing
    for it is tried or given up. Else the message itself was put off.
    """

    after_s: float = 0.5
    away: str = ""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An arrival of which no event can be made, though its sender must be told."""

    why: Refusal
    receipt: bytes
    detail: str = ""


Outcome = Delivered | Refused
