"""What people of Matrix look like on XMPP: the whole bridge but its disk."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

from bridge.model.pictures import recognise
from bridge.xmpp.codec import avatar
from bridge.xmpp.codec.caps import verification
from bridge.xmpp.muc.stanza import to_element
from bridge.xmpp.replies import Identity, info
from tests.hostile.stage import ROMEO, Stage, condition, staged
from tests.unit.matrix.world import ALICE, HALL, with_previous
from tests.unit.model.test_pictures import png
from tests.unit.xmpp.elsewhere import DOMAIN

ALICE_JID = f"alice_hs@{DOMAIN}"
METADATA, DATA = "urn:xmpp:avatar:metadata", "urn:xmpp:avatar:data"
PUBSUB = "http://jabber.org/protocol/pubsub"
CAPS = "http://jabber.org/protocol/caps"
FACE, MASK = png(96, 96), png(64, 64)
FACES_ID = avatar.identifier(recognise(FACE))
MASKS_ID = avatar.identifier(recognise(MASK))


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as made:
        made.server.media |= {"face": FACE, "mask": MASK, "lie": b"<svg/>"}
        made.server.profiles[ALICE] = {"displayname": "Alice"}
        yield made


async def shows(stage: Stage, file: str, before: str = "") -> None:
    """Let Alice have another picture, as her profile and the hall say."""
    stage.server.profiles[ALICE] = {"displayname": "Alice", "avatar_url": file}
    content = {"membership": "join", "displayname": "Alice"}
    event = stage.server.add(
        HALL, ALICE, "m.room.member", content | {"avatar_url": file}, state_key=ALICE
    )
    await stage.happens(with_previous(event, **content, avatar_url=before))


async def asks(stage: Stage, inside: str, kind: str = "get") -> Element:
    """Let Romeo ask Alice's puppet for something; return the answer."""
    await stage.comes(
        f"<iq type='{kind}' id='1' from='{ROMEO}' to='{ALICE_JID}'>{inside}</iq>"
    )
    return await told(stage, "iq")


async def asks_for(stage: Stage, node: str) -> Element:
    items = f"<items node='{node}'/>"
    return await asks(stage, f"<pubsub xmlns='{PUBSUB}'>{items}</pubsub>")


async def told(stage: Stage, name: str = "message") -> Element:
    """Wait for what Romeo is told next."""
    async with asyncio.timeout(10):
        while not (found := stage.written(name)):  # noqa: ASYNC110 - a list
            await asyncio.sleep(0)
    (one,) = found
    return one


async def watches(stage: Stage) -> None:
    """Let Romeo be there, who wants to hear what people look like."""
    stage.line.features = (f"{METADATA}+notify",)
    about = info(Identity("conference", "text", "Tea"), stage.line.features)
    version = verification(to_element(about), "sha-1")
    await stage.comes(
        f"<presence from='{ROMEO}' to='{ALICE_JID}'>"
        f"<c xmlns='{CAPS}' hash='sha-1' node='n' ver='{version}'/></presence>"
    )


def named(stanza: Element) -> str | None:
    """Return the name of the picture that *stanza* tells of."""
    found = stanza.find(f".//{{{METADATA}}}metadata")
    assert found is not None
    inside = found.find(f"{{{METADATA}}}info")
    return None if inside is None else inside.get("id")


async def test_a_picture_is_looked_at_when_somebody_asks(stage: Stage) -> None:
    """XEP-0084 §3.3."""
    await shows(stage, "mxc://hs/face")
    assert not stage.server.asked("/media/")

    about = await asks_for(stage, METADATA)
    picture = await asks_for(stage, DATA)

    assert named(about) == FACES_ID
    data = picture.findtext(f".//{{{DATA}}}data") or ""
    assert base64.b64decode(data, validate=True) == FACE
    assert len(stage.server.asked("/media/")) == 1


async def test_older_clients_see_it_on_the_card(stage: Stage) -> None:
    """XEP-0153 §3.1."""
    await shows(stage, "mxc://hs/face")

    card = await asks(stage, "<vCard xmlns='vcard-temp'/>")

    binval = card.findtext(".//{vcard-temp}PHOTO/{vcard-temp}BINVAL") or ""
    assert base64.b64decode(binval, validate=True) == FACE
    await stage.comes(f"<presence type='probe' from='{ROMEO}' to='{ALICE_JID}'/>")
    (here,) = stage.written("presence", "romeo@montague.lit")
    assert here.findtext(".//{vcard-temp:x:update}photo") == FACES_ID


@pytest.mark.parametrize("file", ["", "mxc://hs/lie", "mxc://hs/gone", "nonsense"])
async def test_who_shows_none_has_no_picture_and_no_node(
    stage: Stage, file: str
) -> None:
    await shows(stage, file)

    assert condition(await asks_for(stage, METADATA)) == "item-not-found"
    assert condition(await asks_for(stage, DATA)) == "item-not-found"
    query = "<query xmlns='http://jabber.org/protocol/disco#items'/>"
    nodes = [one.get("node") for one in (await asks(stage, query))[0]]
    assert METADATA not in nodes


async def test_who_shows_one_has_its_nodes(stage: Stage) -> None:
    await shows(stage, "mxc://hs/face")

    query = "<query xmlns='http://jabber.org/protocol/disco#items'/>"
    nodes = [one.get("node") for one in (await asks(stage, query))[0]]

    assert {METADATA, DATA} <= set(nodes)


async def test_who_wants_to_know_is_told_of_each_new_picture(stage: Stage) -> None:
    """XEP-0163 §4.3, XEP-0084 §3.3, §3.5."""
    await shows(stage, "mxc://hs/face")
    await watches(stage)
    assert named(await told(stage)) == FACES_ID

    await shows(stage, "mxc://hs/mask", "mxc://hs/face")
    assert named(await told(stage)) == MASKS_ID

    await shows(stage, "", "mxc://hs/mask")
    assert named(await told(stage)) is None

    await shows(stage, "mxc://hs/face", "")
    assert named(await told(stage)) == FACES_ID


async def test_who_did_not_ask_costs_nothing(stage: Stage) -> None:
    await shows(stage, "mxc://hs/face")
    await shows(stage, "mxc://hs/mask", "mxc://hs/face")

    assert not stage.server.asked("/media/")
    assert not any(method == "GET" for method, _ in stage.server.asked("/profile/"))


async def test_whoever_watches_somebody_without_a_picture_sees_the_first(
    stage: Stage,
) -> None:
    await watches(stage)
    assert condition(await asks_for(stage, METADATA)) == "item-not-found"

    await shows(stage, "mxc://hs/face")

    assert named(await told(stage)) == FACES_ID
