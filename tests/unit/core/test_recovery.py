import logging

import pytest

from bridge.core.ports import Unit
from bridge.core.recovery import moved, set_aside
from bridge.model.delivery import Arrival, Taken
from bridge.model.records import Cursor, DeadLetter
from tests.conftest import World, said
from tests.fakes import TEA_MATRIX, TEA_XMPP


async def wait(world: World) -> None:
    """Let there wait what an earlier run had not done when the backup was made."""
    unit = Unit(take=[Taken(world.store.number(), Arrival(TEA_XMPP, "k", b"raw"))])
    for number in (1, 2):
        event = said(TEA_MATRIX, f"words {number}")
        wires = [*world.xmpp.prepare(event, None)] * 2  # type: ignore[misc, arg-type]
        world.dispatch.add(unit, TEA_XMPP, wires, receipt=b"r", seq=number)
    world.dispatch.add(unit, TEA_XMPP, world.xmpp.notice(TEA_XMPP, "ours"))
    await world.store.commit(unit)


async def test_what_waited_is_set_aside_and_listed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await wait(world)

    await set_aside(world.store, world.dispatch.letters, 1_000)

    letters = await world.store.load(DeadLetter)
    assert [(one.why, one.seq) for one in letters] == [("IN_DOUBT", 1), ("IN_DOUBT", 2)]
    assert await world.store.rooms_waiting() == []
    (left,) = await world.store.pending(*(await world.store.lanes_pending())[0], 0, 9)
    assert left.wire.data == b"ours"
    error, warning = caplog.records
    assert error.levelno == logging.ERROR
    assert "until 1970-01-01T00:00:01" in error.getMessage()
    assert "2 to be sent, 1 to be carried" in warning.getMessage()


async def test_doing_it_again_does_no_harm(world: World) -> None:
    await wait(world)

    for _ in range(2):
        await set_aside(world.store, world.dispatch.letters, 1_000)

    assert len(await world.store.load(DeadLetter)) == 2


async def test_somebody_who_has_looked_sends_it_again(world: World) -> None:
    await wait(world)
    await set_aside(world.store, world.dispatch.letters, 1_000)
    unit = Unit()

    for letter in await world.store.letters("", 0, 9):
        world.dispatch.letters.revive(letter, unit)
    await world.dispatch.commit(unit)
    await world.settles()

    assert world.xmpp.said() == ["words 1", "words 1", "words 2", "words 2"]
    assert [receipt for receipt, _ in world.matrix.settled] == [b"r", b"r"]


def test_only_the_cursors_of_what_is_read_are_moved() -> None:
    unit = Unit()
    cursors = [Cursor("muc", "tea@muc", "old"), Cursor("proposal", "a", "b")]

    moved(cursors, {"muc": "new", "audit": "new"}, unit)

    assert unit.put == [Cursor("muc", "tea@muc", "new")]
