"""A TCP proxy of our own that breaks connections as networks and servers do.

client -> [held? slowed? cut?] -> server
client <- [held? slowed? cut?] <- server
"""

import asyncio
import re
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
CHUNK = 65_536
LINGER_NOT = struct.pack("ii", 1, 0)


class Way:
    """One direction of all connections through a proxy.

    While *held*, nothing passes. *piece* is how many bytes pass at a time, *pause_s*
    how long each piece waits. After *cut_after* more bytes the connections break.
    If *overheard* is a buffer, what passes is added to it; *watch* is shown each piece
    before it passes, and may hold it.
    """

    def __init__(self) -> None:
        self.piece = CHUNK
        self.pause_s = 0.0
        self.cut_after: int | None = None
        self.passed = 0
        self.overheard: bytearray | None = None
        self.watch: Callable[[bytes], None] = lambda _: None
        self._open = asyncio.Event()
        self._open.set()
        self._blocked = asyncio.Event()

    def hold(self) -> None:
        """Let nothing more pass."""
        self._open.clear()
        self._blocked.clear()

    def release(self) -> None:
        """Let pass what waits, and what comes."""
        self._open.set()

    @property
    def held(self) -> bool:
        """Whether nothing passes."""
        return not self._open.is_set()

    async def blocks(self) -> None:
        """Wait until something waits that is held."""
        await self._blocked.wait()

    async def carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Copy until one side ends; raises ``ConnectionAbortedError`` at a cut."""
        while chunk := await reader.read(self.piece):
            self.watch(chunk)
            self._blocked.set()
            await self._open.wait()
            if self.pause_s:
                await asyncio.sleep(self.pause_s)
            writer.write(self._allowed(chunk))
            await writer.drain()
            self.passed += len(chunk)
            if self.overheard is not None:
                self.overheard += chunk
            if self.cut_after == 0:
                self.cut_after = None
                raise ConnectionAbortedError

    def _allowed(self, chunk: bytes) -> bytes:
        if self.cut_after is None:
            return chunk
        chunk = chunk[: self.cut_after]
        self.cut_after -= len(chunk)
        return chunk


class Proxy:
    """Stands before the server at *target*; *there* leads to it, *back* from it.

    The target is a port, or the file of a socket.

    While *refusing*, connections are closed as soon as they are made; while there is
    an *answer*, each gets that for its first request, of HTTP, and no other.
    """

    def __init__(self, target: int | Path, port: int = 0) -> None:
        self.target = target
        self.port = port
        self.refusing = False
        self.answer = b""
        self.connections = 0
        self.there = Way()
        self.back = Way()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._joined = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self.cut()
        await asyncio.sleep(0)  # for the transports to notice

    def hold(self) -> None:
        """Let nothing more pass either way."""
        self.there.hold()
        self.back.hold()

    def release(self) -> None:
        """Let all pass again."""
        self.there.release()
        self.back.release()

    async def cut(self) -> None:
        """Break all connections, without a word to either side."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def cut_and_joined_again(self) -> None:
        """Break all connections, and wait until somebody has connected anew."""
        self._joined.clear()
        await self.cut()
        await self._joined.wait()

    async def black_out(self, seconds: float) -> None:
        """Break all connections and refuse new ones for a while."""
        self.refusing = True
        await self.cut()
        await asyncio.sleep(seconds)
        self.refusing = False

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self._joined.set()
        try:
            if self.answer:
                await self._reply(reader, writer)
            elif not self.refusing:
                await self._join(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # whoever is behind it notices
        finally:
            self._tasks.discard(task)
            _reset(writer)

    async def _reply(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Take a request whole, then answer it: else the answer may be lost."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        writer.write(self.answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def _join(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if isinstance(self.target, Path):
            joined = await asyncio.open_unix_connection(self.target)
        else:
            joined = await asyncio.open_connection(HOST, self.target)
        server_reader, server_writer = joined
        try:
            async with asyncio.TaskGroup() as tasks:
                there = self.there.carry(reader, server_writer)
                back = self.back.carry(server_reader, writer)
                halves = [tasks.create_task(there), tasks.create_task(back)]
                await asyncio.wait(halves, return_when=asyncio.FIRST_COMPLETED)
                for half in halves:
                    half.cancel()
        except* OSError:
            pass
        finally:
            _reset(server_writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Break a connection so that the other side sees a reset, not an end."""
    with suppress(OSError):
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    writer.transport.abort()
