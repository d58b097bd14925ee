import base64
import hashlib

from bridge.model.pictures import NO_PICTURE, Picture
from bridge.xmpp.codec import avatar
from bridge.xmpp.codec.xml import Node

BYTES = b"\x89PNG\r\n\x1a\n..."
SHA1 = hashlib.sha1(BYTES, usedforsecurity=False).hexdigest()
PICTURE = Picture(BYTES, "image/png", 96, 64)


def inside(node: Node) -> list[Node]:
    return [child for child in node.children if isinstance(child, Node)]


def test_what_a_picture_is_is_told_before_it_is_sent() -> None:
    """XEP-0084 §4.2.1."""
    said = avatar.metadata(PICTURE)

    (about,) = inside(said)
    assert said.attributes == {"xmlns": "urn:xmpp:avatar:metadata"}
    assert about.name == "info"
    assert about.attributes == {
        "bytes": str(len(BYTES)),
        "id": SHA1,
        "type": "image/png",
        "width": "96",
        "height": "64",
    }


def test_that_there_is_none_any_more_is_told_by_nothing() -> None:
    assert avatar.metadata(NO_PICTURE) == Node(
        "metadata", {"xmlns": "urn:xmpp:avatar:metadata"}, ()
    )
    assert avatar.identifier(NO_PICTURE) == ""


def test_a_picture_is_sent_in_one_line() -> None:
    """XEP-0084 §4.1: line feeds should not be added, nor any attributes."""
    said = avatar.data(PICTURE)

    assert said.attributes == {"xmlns": "urn:xmpp:avatar:data"}
    assert said.children == (base64.b64encode(BYTES).decode(),)


def test_a_card_shows_it_for_older_clients() -> None:
    """XEP-0054 §3.3."""
    photo = avatar.photo(PICTURE)

    assert photo.name == "PHOTO"
    assert [(one.name, one.children) for one in inside(photo)] == [
        ("TYPE", ("image/png",)),
        ("BINVAL", (base64.b64encode(BYTES).decode(),)),
    ]


def test_a_presence_names_what_the_card_shows() -> None:
    """XEP-0153 §4.1: an empty photo says that there is none."""
    assert inside(avatar.hint(SHA1)) == [Node("photo", {}, (SHA1,))]
    assert inside(avatar.hint("")) == [Node("photo", {}, ())]
