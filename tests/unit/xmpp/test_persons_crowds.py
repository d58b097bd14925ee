import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from bridge.xmpp import persons as module
from bridge.xmpp.codec.names import Jid, parse
from bridge.xmpp.disco import Disco
from bridge.xmpp.persons import Persons
from tests.unit.xmpp.elsewhere import DOMAIN, World, build, stanza

ALICE = f"alice_hs.example@{DOMAIN}"
JULIET = "juliet@capulet.lit/balcony"


@dataclass
class Crowd(World):
    persons: Persons
    asked: list[str]

    def comes(self, name: str) -> None:
        """Have a client come that does not tell its features."""
        caps = f"<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' ver='{name}'/>"
        sender = f"{name}@silent.example/phone"
        presence = f"<presence from='{sender}' to='{ALICE}'>{caps}</presence>"
        self.persons.seen(stanza(presence), jid(sender), jid(ALICE))

    def asks(self) -> None:
        query = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
        asked = f"<iq type='get' id='1' from='{JULIET}' to='{ALICE}'>{query}</iq>"
        self.persons.asked(stanza(asked), jid(JULIET), jid(ALICE), "Alice")


def jid(text: str) -> Jid:
    read = parse(text)
    assert read is not None
    return read


@pytest.fixture
async def crowd(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Crowd]:
    monkeypatch.setattr(module, "AT_ONCE_MAX", 3)
    silence = asyncio.Event()

    looked_at: list[str] = []

    async def ask(_: str, to: str, *__: object) -> None:
        looked_at.append(to)
        await silence.wait()
        raise TimeoutError

    async with asyncio.TaskGroup() as tasks:
        made = build(tasks)
        monkeypatch.setattr(made.means.stream, "iq", ask)
        everybody = Persons(made.means, Disco(DOMAIN).puppet)
        yield Crowd(
            made.means,
            made.server,
            made.host,
            made.intake,
            made.store,
            everybody,
            looked_at,
        )
        silence.set()


async def test_who_comes_in_a_crowd_keeps_nobody_from_asking(crowd: Crowd) -> None:
    """Or whoever sends presences that nobody can make sense of stops all others."""
    for number in range(5):
        crowd.comes(f"p{number}")

    crowd.asks()

    async with asyncio.timeout(5):
        while not crowd.server.written:  # noqa: ASYNC110 - a list
            await asyncio.sleep(0)
    assert [answer.get("type") for answer in crowd.server.written] == ["result"]


async def test_of_too_many_who_come_at_once_not_all_are_looked_at(crowd: Crowd) -> None:
    for number in range(5):
        crowd.comes(f"p{number}")
    await asyncio.sleep(0)

    assert len(crowd.asked) == 3
