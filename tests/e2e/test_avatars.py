"""What people of Matrix look like, to a stock client of XMPP."""

import base64
import hashlib
import io
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from xml.etree.ElementTree import Element, SubElement

import aiohttp
import pytest
from typing_extensions import override

from bridge.model.pictures import recognise
from deploy.lab.heard import NotHeardError
from deploy.lab.matrix_people import Json, MatrixPerson
from deploy.lab.stanzas import condition
from deploy.lab.world import World
from deploy.lab.xmpp_people import Cast, XmppPerson
from tests.e2e.conftest import Company
from tests.unit.model.test_pictures import png

PROGRAM = "tests.e2e.avatar_client"
METADATA, DATA = "urn:xmpp:avatar:metadata", "urn:xmpp:avatar:data"
PUBSUB = "http://jabber.org/protocol/pubsub"
CARD = "{vcard-temp}"


class Onlooker(XmppPerson):
    """Somebody whose device shows what people look like."""

    def __init__(self, cast: Cast, jid: str) -> None:
        super().__init__(cast, "juliet", jid, "secret", "desk")
        self._seen: list[Json] = []

    @override
    def take(self, kind: str, text: str) -> None:
        if kind == "looks":
            self._seen.append(json.loads(text))
        else:
            super().take(kind, text)

    async def watches(self, jid: str) -> None:
        """Want to know what somebody looks like from now on."""
        await self._cast.order(self.full, "watch", to=jid)

    async def looks(self, jid: str) -> Json:
        """Expect to be told what somebody looks like now."""
        told = await self.until(
            lambda: self._seen.pop(0) if self._seen else None, f"what {jid} looks like"
        )
        assert told["from"] == jid
        return told


@pytest.fixture
async def juliet(world: World) -> AsyncIterator[Onlooker]:
    async with AsyncExitStack() as ends:
        cast = Cast(world.python, world.xmpp, PROGRAM)
        await ends.enter_async_context(cast)
        person = Onlooker(cast, f"juliet-{secrets.token_hex(3)}@{world.xmpp.host}")
        await cast.enter(person)
        yield person


async def shows(person: MatrixPerson, data: bytes, kind: str = "image/png") -> None:
    """Let somebody of Matrix have a picture, or none."""
    file = await uploaded(person, data, kind) if data else ""
    path = f"/profile/{person.id}/avatar_url"
    await person.call("PUT", path, {"avatar_url": file})


async def uploaded(person: MatrixPerson, data: bytes, kind: str) -> str:
    url = f"{person._synapse.url}/_matrix/media/v3/upload"
    body = io.BytesIO(data)
    headers = {"Authorization": f"Bearer {person._token}", "Content-Type": kind}
    async with aiohttp.request("POST", url, data=body, headers=headers) as answer:
        return str((await answer.json())["content_uri"])


def items(node: str) -> Element:
    query = Element("pubsub", {"xmlns": PUBSUB})
    SubElement(query, "items", {"node": node})
    return query


def sound(told: Json) -> bytes:
    """Return the picture, which is what it is said to be."""
    data = base64.b64decode(told["data"], validate=True)
    seen = recognise(data)
    assert hashlib.sha1(data, usedforsecurity=False).hexdigest() == told["id"]
    assert (len(data), seen.kind) == (told["bytes"], told["type"])
    assert (seen.width, seen.height) == (told["width"], told["height"])
    return data


async def test_a_picture_is_shown_and_changes_and_goes(
    world: World, company: Company, juliet: Onlooker
) -> None:
    """XEP-0084 §3, XEP-0153 §3."""
    alice = await company.on_matrix("Alice")
    puppet = world.puppet(alice)
    await shows(alice, png(300, 200))
    await juliet.says(puppet, "let me see you")
    room = await alice.is_invited(world.ghost(juliet))
    await alice.joins(room)
    await alice.hears("let me see you", world.ghost(juliet), room)

    await juliet.watches(puppet)
    first = sound(await juliet.looks(puppet))
    assert recognise(first).width == recognise(first).height == 96
    card = await juliet.asks(puppet, Element("vCard", {"xmlns": "vcard-temp"}))
    photo = card.findtext(f"{CARD}vCard/{CARD}PHOTO/{CARD}BINVAL") or ""
    assert base64.b64decode(photo) == first

    await shows(alice, png(120, 120, shade=255))
    assert sound(await juliet.looks(puppet)) != first

    await shows(alice, b"")
    assert (await juliet.looks(puppet))["id"] == ""
    answer = await juliet.asks(puppet, items(METADATA))
    assert condition(answer) == "item-not-found"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (
            b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
            "image/svg+xml",
        ),
        (b"<html><script>alert(1)</script></html>", "image/png"),
        (b"\x89PNG\r\n\x1a\n" + secrets.token_bytes(2_000_000), "image/png"),
    ],
    ids=["svg", "html", "huge"],
)
async def test_what_is_no_picture_is_not_shown(
    world: World, company: Company, juliet: Onlooker, data: bytes, kind: str
) -> None:
    alice = await company.on_matrix("Alice")
    await shows(alice, data, kind)

    for node in (METADATA, DATA):
        answer = await juliet.asks(world.puppet(alice), items(node))
        assert condition(answer) == "item-not-found"
    with pytest.raises(NotHeardError):
        await juliet.until(lambda: juliet._seen or None, "a picture", 0.5)
