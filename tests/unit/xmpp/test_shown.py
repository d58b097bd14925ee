from dataclasses import replace

import pytest

from bridge.core.ports import StoreUnavailableError, Unit
from bridge.model.places import PortalId
from bridge.model.records import Ghost, Kind, Portal, Presence
from bridge.xmpp.shown import Shown
from tests.fakes_store import FakeStore

BOT = "@xmppbot:hs"
TEA = Portal(PortalId(1), Kind.FOREIGN, "!tea:hs", "tea@muc.example", BOT)
HALL = replace(TEA, id=PortalId(2), kind=Kind.PLUMBED, matrix="!hall:hs")
CHAT = replace(TEA, id=PortalId(3), kind=Kind.DIRECT, matrix="!chat:hs")
HATTER = Ghost("@_xmpp_hatter:hs", "tea@muc.example/Hatter")
HARE = Ghost("@_xmpp_hare:hs", "tea@muc.example/Hare")


async def kept() -> FakeStore:
    store = FakeStore()
    ghosts = [HATTER, HARE, Ghost(BOT, "", "XMPP bridge")]
    shown = [
        Presence(TEA.matrix, BOT),
        Presence(TEA.matrix, HATTER.mxid, "Hatter"),
        Presence(HALL.matrix, HARE.mxid, "Hare"),
        Presence(HALL.matrix, "@_xmpp_unknown:hs"),
        Presence(CHAT.matrix, HARE.mxid),
    ]
    await store.commit(Unit(put=[TEA, HALL, CHAT, *ghosts, *shown]))
    return store


async def test_the_people_whose_ghosts_are_there_are_named() -> None:
    shown, store = Shown(), await kept()

    assert await shown.take(store, TEA.matrix) == [HATTER.person]
    assert await shown.take(store, HALL.matrix) == [HARE.person]


async def test_they_are_named_once() -> None:
    shown, store = Shown(), await kept()
    await shown.take(store, TEA.matrix)

    assert await shown.take(store, TEA.matrix) == []


async def test_only_of_rooms_of_mucs_elsewhere() -> None:
    assert await Shown().take(await kept(), CHAT.matrix) == []


async def test_without_such_rooms_nothing_else_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = await kept()
    await store.commit(Unit(drop=[TEA, HALL]))
    asked: list[type[object]] = []
    load = store.load

    async def noted(kind: type[Portal]) -> object:
        asked.append(kind)
        return await load(kind)

    monkeypatch.setattr(store, "load", noted)
    await Shown().take(store, TEA.matrix)

    assert asked == [Portal]


async def test_a_store_that_was_away_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown, store = Shown(), await kept()

    async def away(*_: object) -> None:
        raise StoreUnavailableError

    with monkeypatch.context() as patch:
        patch.setattr(store, "find", away)
        with pytest.raises(StoreUnavailableError):
            await shown.take(store, TEA.matrix)

    assert await shown.take(store, TEA.matrix) == [HATTER.person]
