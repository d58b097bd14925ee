import asyncio

import pytest

from bridge.xmpp import component
from bridge.xmpp.written import Written
from tests.component_server import ComponentServer
from tests.unit.xmpp.streams import Bridge, message


async def test_shut_it_stays_away_until_it_is_opened_again(bridge: Bridge) -> None:
    async with bridge.running() as stream:
        session = stream._session
        assert session is not None
        stream.shut()
        await session.over
        assert not stream.connected
        assert bridge.downs == 1

        stream.reopen()
        assert await bridge.next_up()
        assert stream.connected


async def test_what_was_written_before_it_was_shut_has_arrived(
    bridge: Bridge, server: ComponentServer
) -> None:
    """Its marks stay, and who waits for it is told so: it is not sent again."""
    async with bridge.running() as stream:
        session = stream._session
        assert session is not None
        stream.pause()
        assert stream.write(message("1"), [1])
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(stream.barrier())
            await server.next()

            stream.shut()
            assert not stream.write(message("2"), [2])

        assert waiting.result()
        await session.over
        assert await stream.barrier()
        assert Written(bridge.path, "db").earlier == {1}
        assert stream.suspects == ()


async def test_a_server_that_does_not_answer_is_left_all_the_same(
    bridge: Bridge, server: ComponentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(component, "CLOSE_S", 0.05)
    async with bridge.running() as stream:
        session = stream._session
        assert session is not None
        server.route = lambda _: False
        assert stream.write(message("1"), [1])

        stream.shut()
        await session.over

        assert not await stream.barrier()
        ring = Written(bridge.path, "db")
        assert ring.earlier == set()
        assert 1 in ring.doubted
        server.route = lambda _: True


async def test_shut_while_it_connects_it_does_not_stay(
    bridge: Bridge, server: ComponentServer
) -> None:
    async with bridge.running() as stream:
        server.route = lambda _: False
        server.cut()
        await server.shaken(2)
        stream.shut()
        server.route = lambda _: True
        server.cut()
        await asyncio.sleep(0)
        assert not stream.connected

        stream.reopen()
        assert await bridge.next_up()


async def test_what_is_shut_can_be_closed(bridge: Bridge) -> None:
    async with bridge.running() as stream:
        stream.shut()

    assert not stream.connected
