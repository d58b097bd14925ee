import asyncio
from collections.abc import AsyncIterator
from xml.etree.ElementTree import Element

import pytest

from bridge.xmpp.archive import Archive, TooMuchError
from bridge.xmpp.codec.names import Jid
from tests.unit.xmpp.elsewhere import LISTENER, MUC, World, build, result, stanza

RESULT = "{urn:xmpp:mam:2}result"
SAID = (
    "<message from='tea@muc.example/Hatter' type='groupchat'><body>x</body></message>"
)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with asyncio.TaskGroup() as tasks:
        yield build(tasks)


def archive_of(world: World) -> Archive:
    archive = Archive(MUC, world.means)

    def received(element: Element, sender: Jid, to: Jid) -> None:
        found = element.find(RESULT)
        if found is not None:
            archive.received(found)

    world.server.received = received
    return archive


async def names(archive: Archive, cursor: str = "", stamp: str = "") -> list[str]:
    return [
        one.stanza_id async for page in archive.after(cursor, stamp) for one in page
    ]


async def test_pages_are_read_to_the_end(world: World) -> None:
    world.server.archive = [(f"s{n}", SAID) for n in range(120)]

    assert await names(archive_of(world), "s9") == [f"s{n}" for n in range(10, 120)]


async def test_the_newest_is_found(world: World) -> None:
    archive = archive_of(world)
    assert await archive.newest() == ""

    world.server.archive = [("s1", SAID), ("s2", SAID)]
    assert await archive.newest() == "s2"


async def test_an_unknown_cursor_is_replaced_by_its_time(world: World) -> None:
    world.server.archive = [("s1", SAID)]

    assert await names(archive_of(world), "gone", "2026-05-01T10:00:00Z") == ["s1"]


async def test_an_archive_that_never_ends_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E81, S41: the same page for ever, or ever more pages: XEP-0313 sets no limit.

    Row 28.
    """
    monkeypatch.setattr("bridge.xmpp.archive.TOTAL_MAX", 200)
    archive = archive_of(world)
    count = 0

    async def endless(*_: object) -> object:
        nonlocal count
        count += 50
        for n in range(100):
            number = n if same else count + n
            archive.received(one(f"s{number}", archive._query))
        return stanza("<iq><fin xmlns='urn:xmpp:mam:2'/></iq>")

    world.server.iq = endless  # type: ignore[method-assign, assignment]
    same = True
    assert len(await names(archive)) == 100
    same = False
    with pytest.raises(TooMuchError):
        await names(archive)


def one(name: str, query: str) -> Element:
    found = stanza(result(name, SAID, query, LISTENER)).find(RESULT)
    assert found is not None
    return found


async def test_only_what_was_asked_for_counts(world: World) -> None:
    """E81, S8: a result that nobody asked for, a page without an end."""
    archive = archive_of(world)

    async def answer(*_: object) -> object:
        archive.received(one("forged", "guess"))
        archive.received(one("true", archive._query))
        for inside in ("", "<forwarded xmlns='urn:xmpp:forward:0'/>"):
            text = f"<result xmlns='urn:xmpp:mam:2' queryid='{archive._query}'>"
            archive.received(stanza(f"{text}{inside}</result>"))
        return stanza("<iq/>")

    world.server.iq = answer  # type: ignore[method-assign, assignment]

    assert await names(archive) == ["true"]
    archive.received(one("late", ""))
    assert archive._page == []
