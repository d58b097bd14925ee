"""What lies on disk until the homeserver has it: our own format of a wire's bytes.

The content of an event is kept as the very bytes that will be put; the rest is
what the way there needs.
"""

import itertools
import secrets

import msgspec

from bridge.model.delivery import Wire


class Says(msgspec.Struct, tag="says", tag_field="k", omit_defaults=True, gc=False):
    """*user* sends *content*, under *name* if that is not empty.

    *person* is whose ghost they are. *own* marks words of the bridge itself. What is
    encrypted leaves as *device*. *about* names what the words are about, for whoever
    needs to know the event that they became.
    """

    user: str
    room: str
    content: msgspec.Raw
    name: str = ""
    person: str = ""
    own: bool = False
    type: str = "m.room.message"
    device: str = ""
    about: str = ""


class Stands(msgspec.Struct, tag="stands", tag_field="k", omit_defaults=True):
    """*user* makes *target* a joined, left or banned member.

    Who joins does so under *name*; *person* is whose ghost *user* is.
    """

    user: str
    room: str
    target: str
    membership: str
    name: str = ""
    person: str = ""
    reason: str = ""


class Titles(msgspec.Struct, tag="titles", tag_field="k", omit_defaults=True):
    """*user* sets the topic of *room*; if they may not, *agent* does."""

    user: str
    agent: str
    room: str
    topic: str
    person: str = ""


Order = Says | Stands | Titles

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Order).decode

_RUN = secrets.token_hex(16)
_numbers = itertools.count()


def wire(order: Order) -> Wire:
    """Make a wire of *order*, with a txnId of its own.

    A txnId must differ from every other of this appservice in the room, whatever
    the ghost: an XMPP id, which clients choose and reuse, must not go into it. The
    wire is on disk, with its key, before it is first sent, so what is sent again
    after a crash bears the same txnId. Nobody can guess those of a run.
    """
    return Wire(f"{_RUN}{next(_numbers):x}", packed(order))


def packed(order: Order) -> bytes:
    """Write *order* as it lies on disk."""
    return _encode(order)


def order(data: bytes) -> Order:
    """Read what *wire* wrote."""
    known: Order = _decode(data)
    return known


def content(event: object) -> msgspec.Raw:
    """Write the content of an event as it will go out."""
    return msgspec.Raw(_encode(event))
