"""The proxy does to connections what it says; or the faults below prove nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.faults.proxy import HOST, Proxy


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """A proxy before a server that says everything back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(1000):
                writer.write(chunk)
        writer.transport.abort()

    server = await asyncio.start_server(echo, HOST, 0)
    async with server, Proxy(server.sockets[0].getsockname()[1]) as made:
        yield made
    await asyncio.sleep(0)  # for what was broken off to be noticed


@asynccontextmanager
async def line(
    proxy: Proxy,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


async def test_what_is_not_disturbed_passes(proxy: Proxy) -> None:
    async with line(proxy) as (reader, writer):
        writer.write(b"soft!")

        assert await reader.readexactly(5) == b"soft!"
        assert (proxy.there.passed, proxy.back.passed) == (5, 5)


async def test_what_is_held_waits_and_passes_later(proxy: Proxy) -> None:
    async with line(proxy) as (reader, writer):
        proxy.back.hold()
        writer.write(b"soft!")
        answer = asyncio.ensure_future(reader.readexactly(5))  # noqa: TID251 - a test's own
        done, _ = await asyncio.wait([answer], timeout=0.05)
        assert not done

        proxy.back.release()

        assert await answer == b"soft!"


async def test_a_cut_comes_after_so_many_bytes(proxy: Proxy) -> None:
    async with line(proxy) as (reader, writer):
        proxy.back.cut_after = 3
        writer.write(b"soft!")

        with pytest.raises(ConnectionResetError):
            await reader.readexactly(5)


async def test_it_passes_byte_by_byte(proxy: Proxy) -> None:
    proxy.there.piece = 1
    async with line(proxy) as (reader, writer):
        writer.write(b"soft!")

        assert await reader.readexactly(5) == b"soft!"


async def test_while_it_refuses_nobody_comes_through(proxy: Proxy) -> None:
    proxy.refusing = True
    async with line(proxy) as (reader, writer):
        writer.write(b"soft!")

        with pytest.raises(ConnectionResetError):
            await reader.readexactly(5)
        assert proxy.there.passed == 0


async def test_all_connections_can_be_cut_and_made_again(proxy: Proxy) -> None:
    async with line(proxy) as (reader, writer):
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        await proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)

    async with line(proxy) as (reader, writer):
        writer.write(b"b")

        assert await reader.readexactly(1) == b"b"
        assert proxy.connections == 2


async def test_what_is_held_is_noticed(proxy: Proxy) -> None:
    async with line(proxy) as (_, writer):
        proxy.back.hold()
        writer.write(b"soft!")

        await proxy.back.blocks()

        assert (proxy.there.passed, proxy.back.passed) == (5, 0)


async def test_it_answers_itself_if_it_is_told_to(proxy: Proxy) -> None:
    proxy.answer = b"HTTP/1.1 502 Bad Gateway\r\n\r\n"
    async with line(proxy) as (reader, writer):
        writer.write(b"PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nsoft!")

        assert await reader.read() == proxy.answer
        assert proxy.there.passed == 0
