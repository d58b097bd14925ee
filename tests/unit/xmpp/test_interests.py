import asyncio
from xml.etree.ElementTree import Element, SubElement

import pytest

from bridge.xmpp import interests as module
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.interests import Interests
from bridge.xmpp.iq import IqError
from bridge.xmpp.muc.stanza import STREAM, to_element
from bridge.xmpp.replies import DISCO_INFO, Identity, info

ALICE = "alice_hs@bridge.example"
ROMEO = "romeo@montague.example/phone"
TUNE = "http://jabber.org/protocol/tune"


class Server:
    """Tells what its clients can do; *others* are what it tells instead."""

    def __init__(self, *features: str) -> None:
        self.persona = info(Identity("client", "phone", "x"), features)
        self.instead: Node | Exception | None = None
        self.asked: list[tuple[str, str]] = []

    async def ask(self, to: str, sender: str, payload: Node) -> Element:
        self.asked.append((to, payload.attributes["node"]))
        await asyncio.sleep(0)
        if isinstance(self.instead, Exception):
            raise self.instead
        answer = Element(f"{{{STREAM}}}iq")
        answer.append(to_element(self.instead or self.persona))
        return answer


@pytest.fixture
def server() -> Server:
    return Server(f"{TUNE}+notify", "urn:xmpp:ping")


@pytest.fixture
def interests(server: Server) -> Interests:
    return Interests(server.ask)


def presence(interests: Interests, server: Server, **attributes: str) -> Element:
    stanza = Element(f"{{{STREAM}}}presence", attributes)
    version = interests.learn(server.persona)
    about = {"hash": "sha-1", "node": "https://client.example", "ver": version}
    SubElement(stanza, "{http://jabber.org/protocol/caps}c", about)
    return stanza


async def test_whoever_says_so_wants_to_know(
    interests: Interests, server: Server
) -> None:
    wanted = await interests.presence(presence(interests, server), ROMEO, ALICE)

    assert wanted == {TUNE}
    assert interests.watching(ALICE, TUNE) == [ROMEO]
    assert interests.watching(ALICE, "else") == []
    assert server.asked[0][1].startswith("https://client.example#")


async def test_one_hash_is_asked_for_once(interests: Interests, server: Server) -> None:
    stanza = presence(interests, server)
    puppets = [f"p{n}@bridge.example" for n in range(20)]

    found = await asyncio.gather(
        *(interests.presence(stanza, ROMEO, one) for one in puppets)
    )

    assert all(one == {TUNE} for one in found)
    assert len(server.asked) == 1


async def test_the_last_item_is_wanted_once(
    interests: Interests, server: Server
) -> None:
    stanza = presence(interests, server)
    await interests.presence(stanza, ROMEO, ALICE)

    assert await interests.presence(stanza, ROMEO, ALICE) == frozenset()


async def test_whoever_is_away_is_not_told(
    interests: Interests, server: Server
) -> None:
    await interests.presence(presence(interests, server), ROMEO, ALICE)

    gone = presence(interests, server, type="unavailable")
    await interests.presence(gone, ROMEO, ALICE)

    assert interests.watching(ALICE, TUNE) == []


async def test_after_a_lost_stream_nobody_is_there(
    interests: Interests, server: Server
) -> None:
    await interests.presence(presence(interests, server), ROMEO, ALICE)

    interests.forget()

    assert interests.watching(ALICE, TUNE) == []


@pytest.mark.parametrize(
    "instead",
    [
        IqError("item-not-found", "cancel", ""),
        TimeoutError(),
        ConnectionError(),
        node("query", {"xmlns": DISCO_INFO}),
        node("query", {"xmlns": "urn:other"}),
    ],
)
async def test_nobody_can_say_what_a_hash_means_but_who_has_it(
    interests: Interests, server: Server, instead: Node | Exception
) -> None:
    server.instead = instead
    stanza = presence(interests, server)
    first = await interests.presence(stanza, ROMEO, ALICE)
    server.instead = None

    second = await interests.presence(stanza, ROMEO, ALICE)

    assert first == frozenset()
    assert second == {TUNE}


async def test_who_does_not_answer_keeps_nobody_else_from_being_told(
    interests: Interests, server: Server
) -> None:
    """A client on a bad line has the same hash as everybody who runs its version."""
    real, silent = server.ask, asyncio.Event()

    async def ask(to: str, sender: str, payload: Node) -> Element:
        if to != ROMEO:
            await silent.wait()
            raise TimeoutError
        return await real(to, sender, payload)

    interests._ask = ask
    stanza = presence(interests, server)
    puppets = [f"p{n}@bridge.example" for n in range(20)]
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(interests.presence(stanza, "x@y.example/z", ALICE))
        await asyncio.sleep(0)
        rest = [
            tasks.create_task(interests.presence(stanza, ROMEO, one)) for one in puppets
        ]
        await asyncio.sleep(0)
        silent.set()

    assert first.result() == frozenset()
    assert all(one.result() == {TUNE} for one in rest)
    assert len(server.asked) == 1


async def test_presence_without_caps_wants_nothing(
    interests: Interests, server: Server
) -> None:
    plain = Element(f"{{{STREAM}}}presence")
    old = presence(interests, server)
    old[0].attrib.pop("hash")
    long = presence(interests, server)
    long[0].set("ver", "x" * 1000)

    for stanza in (plain, old, long, presence(interests, server, type="probe")):
        assert await interests.presence(stanza, ROMEO, ALICE) == frozenset()
    assert server.asked == []


async def test_no_more_is_kept_than_fits(
    interests: Interests, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCHERS_MAX", 1)
    monkeypatch.setattr(module, "HASHES_MAX", 1)
    first = presence(interests, server)
    await interests.presence(first, ROMEO, ALICE)
    server.persona = info(Identity("client", "pc", "y"), (f"{TUNE}+notify",))
    await interests.presence(presence(interests, server), "x@y.example/z", ALICE)

    assert interests.watching(ALICE, TUNE) == ["x@y.example/z"]
    assert len(interests._known) == 1
