"""What is malformed is refused, and the session goes on."""

import base64
from xml.etree.ElementTree import Element

import pytest

from bridge.xmpp.endtoend import Failed, NotForUs
from bridge.xmpp.muc.stanza import STREAM
from bridge.xmpp.omemo.names import LEGACY, OMEMO2
from tests.unit.xmpp.omemo.world import ALICE, ROMEO, World

HOSTILE = [
    "<encrypted/>",
    "<header sid='1'/>",
    "no sid",
    "sid 0",
    "sid 2**31",
    "long header",
    "no base64",
]


@pytest.mark.parametrize("how", HOSTILE)
async def test_what_is_malformed_is_refused(world: World, how: str) -> None:
    """E49, S21: nothing of it is kept, and the session goes on."""
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))
    stanza = await romeo.seal(ALICE, "two")
    encrypted = stanza.find(f"{{{LEGACY}}}encrypted")
    assert encrypted is not None
    _break(encrypted, how)

    found = await world.read(stanza)

    assert isinstance(found, Failed | NotForUs)
    assert await world.words(await romeo.seal(ALICE, "three")) == "three"


def _break(encrypted: Element, how: str) -> None:
    header = encrypted[0]
    match how:
        case "<encrypted/>":
            del encrypted[:]
        case "<header sid='1'/>":
            del header[:]
        case "no sid":
            del header.attrib["sid"]
        case "sid 0":
            header.set("sid", "0")
        case "sid 2**31":
            header.set("sid", str(2**31))
        case "long header":
            header[0].text = "A" * 70_000
        case _:
            header[0].text = "\u1234 no base64"


@pytest.mark.parametrize("namespace", [LEGACY, OMEMO2])
async def test_what_is_cut_off_anywhere_is_refused(
    world: World, namespace: str
) -> None:
    """E49."""
    romeo = await world.person(ROMEO, namespace)
    stanza = await romeo.seal(ALICE, "one", namespace=namespace)
    key = stanza.find(f".//{{{namespace}}}key")
    assert key is not None
    whole = base64.b64decode(key.text or "")

    for length in range(0, len(whole), 3):
        key.text = base64.b64encode(whole[:length]).decode()
        assert isinstance(await world.read(stanza), Failed)

    key.text = base64.b64encode(whole).decode()
    assert await world.words(stanza) == "one"


async def test_what_holds_nothing_sealed_is_refused(world: World) -> None:
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))
    stanza = Element(f"{{{STREAM}}}message", {"from": ROMEO, "to": ALICE})

    assert isinstance(await world.read(stanza), Failed)
