"""The events that cross the bridge.

Every event is a fact that somebody brought about on one network and that
the other network can show. What only one network knows never becomes an
event: it stays in that network's adapter.
"""

import enum
from datetime import datetime

from bridge.model.frozen import dataclass
from bridge.model.places import Network, Person, Ref, Room
from bridge.model.text import RichText

HOPS_MAX = 3
"""So many bridges of our kind may have carried a message; then it goes in circles."""


PREFIXES = {Network.MATRIX: "!xmpp", Network.XMPP: "!matrix"}
"""How commands to the bridge begin on each network."""


class Protection(enum.IntEnum):
    """How well an event was guarded on its way to the bridge."""

    TRANSPORT = 0
    END_TO_END = 1


class Manner(enum.Enum):
    """How words are said."""

    SPEECH = "speech"
    ACTION = "action"
    NOTICE = "notice"


class Rank(enum.IntEnum):
    """What somebody may do in a room; higher may do all that lower may."""

    GUEST = 0
    MEMBER = 1
    MODERATOR = 2
    ADMIN = 3
    OWNER = 4


@dataclass(frozen=True, slots=True)
class Text:
    """Words."""

    body: RichText
    manner: Manner = Manner.SPEECH


Content = Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all events have in common.

    *name* is what the sender is called in the room, as far as it is known.
    """

    ref: Ref
    room: Room
    sender: Person
    sent_at: datetime
    name: str = ""
    protection: Protection = Protection.TRANSPORT


@dataclass(frozen=True, slots=True, kw_only=True)
class Message(Event):
    """Somebody said something.

    *aliases* are the further names that it already bears on its own network. *hops*
    counts the bridges of our kind that have carried it before, as they say.
    """

    content: Content
    reply_to: Ref | None = None
    aliases: tuple[Ref, ...] = ()
    hops: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Join(Event):
    """The sender came into the room under *name*."""

    rank: Rank = Rank.MEMBER


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename(Event):
    """The sender, who is in the room, is now called *name*."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repictured(Event):
    """The sender, who is in the room, has another picture of themselves, or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave(Event):
    """*person* went out of the room, or was put out or kept out by the sender.

    *declined* says that they had only been invited.
    """

    person: Person
    banned: bool = False
    declined: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invite(Event):
    """The sender asks *person* in, who lives on the other network.

    *direct* says that the room is meant for the two of them.
    """

    person: Person
    direct: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Event):
    """The sender asks the bridge itself for something.

    *rank* is the sender's in the room; *private* says that nobody else reads it.
    """

    words: str
    rank: Rank
    private: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject(Event):
    """The sender set the topic of the room."""

    topic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retitled(Event):
    """The sender gave the room the name *title*, empty if they took its name away."""

    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced(Event):
    """The sender says that the room goes on in the one at *address*."""

    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vanished(Event):
    """The room is no more: nobody of ours can speak in it, or come in, ever again.

    The sender is who of ours was in it.
    """


State = Join | Rename | Repictured | Leave | Subject | Retitled
"""Events that say how things stand: applying one twice does no harm."""

AnyEvent = Message | State | Invite | Command | Replaced | Vanished
