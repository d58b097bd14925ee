"""Pictures of people: in their own nodes (XEP-0084), on cards and in presences.

XEP-0084 wants PNG at least; Conversations, Dino, Gajim and Converse show JPEG as well,
and publish it themselves. So each picture is written as what it is, never converted.
"""

import base64
import hashlib
from typing import Final

from bridge.model.pictures import Picture
from bridge.xmpp.codec.xml import Node, node

METADATA: Final = "urn:xmpp:avatar:metadata"
DATA: Final = "urn:xmpp:avatar:data"
UPDATE: Final = "vcard-temp:x:update"


def identifier(picture: Picture) -> str:
    """Name *picture*; empty if there is none."""
    if not picture:
        return ""
    return hashlib.sha1(picture.data, usedforsecurity=False).hexdigest()


def metadata(picture: Picture) -> Node:
    """Tell what *picture* is (XEP-0084 §4.2); nothing, if there is none any more."""
    if not picture:
        return node("metadata", {"xmlns": METADATA})
    about = {
        "bytes": str(len(picture.data)),
        "id": identifier(picture),
        "type": picture.kind,
        "width": str(picture.width),
        "height": str(picture.height),
    }
    return node("metadata", {"xmlns": METADATA}, node("info", about))


def data(picture: Picture) -> Node:
    """Write *picture* itself (XEP-0084 §4.1)."""
    return node("data", {"xmlns": DATA}, _text(picture))


def photo(picture: Picture) -> Node:
    """Write *picture* for a card (XEP-0054 §3.3, XEP-0153 §3.1)."""
    kind = node("TYPE", None, picture.kind)
    return node("PHOTO", None, kind, node("BINVAL", None, _text(picture)))


def hint(name: str) -> Node:
    """Name, in a presence, the picture that the card shows (XEP-0153 §3.1).

    An empty *name* says that it shows none.
    """
    inside = node("photo", None, name) if name else node("photo")
    return node("x", {"xmlns": UPDATE}, inside)


def _text(picture: Picture) -> str:
    return base64.b64encode(picture.data).decode()
