"""A very small HTTP/1.1 client, for calls that are made thousands of times a second.

It keeps connections open, has one request in flight on each, and repeats a request
once if the server had closed a kept connection meanwhile: what is sent through here
must be idempotent.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import cast

import httptools
from typing_extensions import override

from bridge.model.frozen import dataclass

CONNECT_TIMEOUT_S = 10
SWEEP_S = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    status: int
    body: bytes


class HttpClient:
    """Talks to one server over at most *limit* kept connections.

    *head* are header lines, each ended by CRLF, that go with every request. *on_lost*
    is told when the server closes a connection that it had not announced to close.
    Everything that goes wrong on the way is an ``OSError`` (``TimeoutError`` is one).
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        head: bytes = b"",
        tls: ssl.SSLContext | None = None,
        limit: int = 16,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        host, port = address
        self._host = host
        self._port = port
        self._tls = tls
        self._limit = limit
        self._lost = on_lost
        name = f"[{host}]" if ":" in host else host
        self._head = b"Host: %b:%d\r\n%b" % (name.encode("idna"), port, head)
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._connecting = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None

    async def request(
        self, method: str, target: str, body: bytes = b"", timeout_s: float = 60
    ) -> Answer:
        """Send a request for *target*, an encoded path and query; return the answer."""
        request = b"%b %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (
            method.encode("ascii"),
            target.encode("ascii"),
            self._head,
            len(body),
            body,
        )
        connection = self._idle.pop() if self._idle else await self._obtain()
        try:
            return await connection.ask(request, timeout_s)
        except _StaleError:
            # All other kept connections are of the same age; only a new one is safe.
            connection = await self._connect()
            return await connection.ask(request, timeout_s)
        finally:
            self._give_back(connection)

    async def close(self) -> None:
        """Close all connections; what is in flight fails."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in tuple(self._open):
            connection.abort("the client is closed")
        # Transports report their end in the loop's next turn.
        await asyncio.sleep(0)

    async def _obtain(self) -> "_Connection":
        while not self._idle:
            if len(self._open) + self._connecting < self._limit:
                return await self._connect()
            turn = asyncio.get_running_loop().create_future()
            self._queue.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._pass_on(turn)
                raise
        return self._idle.pop()

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        self._connecting += 1
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(
                    lambda: _Connection(loop, self._forget),
                    self._host,
                    self._port,
                    ssl=self._tls,
                )
        except BaseException:
            self._wake()
            raise
        finally:
            self._connecting -= 1
        self._open.add(connection)
        if self._sweeper is None:
            self._sweeper = loop.call_later(SWEEP_S, self._sweep, loop)
        return connection

    def _give_back(self, connection: "_Connection") -> None:
        if connection.usable():
            self._idle.append(connection)
            self._wake()

    def _wake(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _pass_on(self, turn: "asyncio.Future[None]") -> None:
        if turn.done() and not turn.cancelled():
            self._wake()

    def _forget(self, connection: "_Connection") -> None:
        if connection not in self._open:
            return
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._wake()
        if connection.unexpected:
            self._lost()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """End what takes too long; cheaper than a timer for every request."""
        now = loop.time()
        for connection in tuple(self._open):
            if connection.deadline < now:
                connection.expire()
        self._sweeper = (
            loop.call_later(SWEEP_S, self._sweep, loop) if self._open else None
        )


class _StaleError(ConnectionError):
    """A kept connection ended before the first byte of an answer."""


class _Connection(asyncio.Protocol):
    """One connection; it is also the parser's set of callbacks."""

    __slots__ = (
        "_answer",
        "_body",
        "_fresh",
        "_gone",
        "_loop",
        "_parser",
        "_started",
        "_transport",
        "deadline",
        "unexpected",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        gone: "Callable[[_Connection], None]",
    ) -> None:
        self._loop = loop
        self._gone = gone
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._body = b""
        self._fresh = True
        self._started = False
        self.deadline = float("inf")
        self.unexpected = True

    async def ask(self, request: bytes, timeout_s: float) -> Answer:
        """Write *request* and wait for the answer."""
        transport = self._transport
        if transport is None:
            raise _StaleError("the server closed the connection")
        self._answer = self._loop.create_future()
        self.deadline = self._loop.time() + timeout_s
        self._started = False
        transport.write(request)
        try:
            answer = await self._answer
        except asyncio.CancelledError:
            # The answer may still come: nobody else must take it for theirs.
            self.abort("the request was cancelled")
            raise
        finally:
            self.deadline = float("inf")
            self._answer = None
        self._fresh = False
        return answer

    def usable(self) -> bool:
        """Tell whether another request may follow on this connection."""
        return self._transport is not None and not self._transport.is_closing()

    def expire(self) -> None:
        """Give up waiting."""
        self._fail(TimeoutError("the server does not answer"))
        self.abort("time-out")

    def abort(self, why: str) -> None:
        """Close at our own wish."""
        self.unexpected = False
        self._fail(ConnectionAbortedError(why))
        if self._transport is not None:
            self._transport.abort()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.abort("an answer to no question")
            return
        self._started = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"not HTTP: {type(error).__name__}"))
            self.abort("not HTTP")

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._started or self._fresh:
            self._fail(ConnectionResetError("the server closed the connection"))
        else:
            self._fail(_StaleError("the server closed the connection"))
        self._gone(self)

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body; there is rarely more than one."""
        self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        """Hand over the answer."""
        parser = self._parser
        status = parser.get_status_code()
        if status < HTTPStatus.OK:
            return  # 1xx: the answer is still to come
        body, self._body = self._body, b""
        if not parser.should_keep_alive():
            self.unexpected = False
            if self._transport is not None:
                self._transport.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(status, body))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
