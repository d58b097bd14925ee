import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bridge.matrix import http
from bridge.matrix.http import Answer, HttpClient

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Plays a script on each connection, by their numbers."""

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.gate = asyncio.Event()
        self.asked = asyncio.Event()
        self.done = asyncio.Event()

    async def start(self, tls: ssl.SSLContext | None = None) -> int:
        self.listening = await asyncio.start_server(self._play, "127.0.0.1", 0, ssl=tls)
        port: int = self.listening.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        self.gate.set()
        self.listening.close()
        await self.listening.wait_closed()

    async def _play(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        number, self.connections = self.connections, self.connections + 1
        script = self.scripts[min(number, len(self.scripts) - 1)]
        try:
            await script(reader, writer)
        finally:
            writer.close()
            self.done.set()

    async def ask(self, reader: asyncio.StreamReader) -> bytes:
        """Read one request whole."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        request = head + await reader.readexactly(length)
        self.requests.append(request)
        self.asked.set()
        return request

    def answers(self, *answers: bytes) -> Script:
        """Answer so many requests, then close."""

        async def play(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            for answer in answers:
                await self.ask(reader)
                writer.write(answer)
                await writer.drain()

        return play

    def for_ever(self) -> Script:
        async def play(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            try:
                while True:
                    await self.ask(reader)
                    writer.write(OK)
            except asyncio.IncompleteReadError:
                return

        return play

    def never(self) -> Script:
        async def play(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await self.ask(reader)
            await self.gate.wait()

        return play


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    yield server
    await server.stop()


async def client_of(server: Server, limit: int = 16) -> HttpClient:
    return HttpClient(
        ("127.0.0.1", await server.start()), head=b"X: y\r\n", limit=limit
    )


async def test_a_request_is_written_as_http_wants_it(server: Server) -> None:
    server.scripts = [server.for_ever()]
    client = await client_of(server)

    answer = await client.request("PUT", "/a?b=c", b"body")
    await client.close()

    assert answer == Answer(200, b"ok")
    assert server.requests[0].startswith(b"PUT /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:")
    assert server.requests[0].endswith(b"X: y\r\nContent-Length: 4\r\n\r\nbody")


async def test_one_connection_serves_one_request_after_another(server: Server) -> None:
    server.scripts = [server.for_ever()]
    client = await client_of(server)

    for _ in range(50):
        await client.request("PUT", "/")
    await client.close()

    assert server.connections == 1


async def test_no_more_connections_are_opened_than_allowed(server: Server) -> None:
    server.scripts = [server.for_ever()]
    client = await client_of(server, limit=3)

    answers = await asyncio.gather(*(client.request("PUT", "/") for _ in range(60)))
    await client.close()

    assert len(answers) == 60
    assert server.connections == 3


async def test_a_connection_that_closed_while_idle_is_replaced(server: Server) -> None:
    server.scripts = [server.answers(OK), server.for_ever()]
    lost: list[None] = []
    client = await client_of(server)
    client._lost = lambda: lost.append(None)

    await client.request("PUT", "/1")
    await server.done.wait()
    answer = await client.request("PUT", "/2")
    await client.close()

    assert answer.body == b"ok"
    assert server.connections == 2
    assert lost == [None]


async def test_a_connection_that_closes_under_a_request_is_replaced_once(
    server: Server,
) -> None:
    async def close_at_second(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await server.ask(reader)
        writer.write(OK)
        await server.ask(reader)

    server.scripts = [close_at_second, server.answers()]
    client = await client_of(server)
    await client.request("PUT", "/1")

    with pytest.raises(ConnectionResetError):
        await client.request("PUT", "/2")
    await client.close()

    assert server.connections == 2


async def test_a_fresh_connection_that_breaks_is_an_error(server: Server) -> None:
    server.scripts = [server.answers(OK[:-1])]
    client = await client_of(server)

    with pytest.raises(ConnectionResetError):
        await client.request("PUT", "/")
    await client.close()


async def test_an_answer_may_come_in_pieces(server: Server) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.ask(reader)
        chunked = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\n"
        chunked += b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        for byte in chunked:
            writer.write(bytes((byte,)))
            await writer.drain()
        await server.gate.wait()

    server.scripts = [drip]
    client = await client_of(server)

    answer = await client.request("PUT", "/")
    await client.close()

    assert answer == Answer(201, b"abcde")


async def test_a_server_that_says_it_will_close_is_not_lost(server: Server) -> None:
    last = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    server.scripts = [server.answers(last), server.for_ever()]
    lost: list[None] = []
    client = await client_of(server, limit=1)
    client._lost = lambda: lost.append(None)

    await client.request("PUT", "/1")
    await client.request("PUT", "/2")
    await client.close()

    assert server.connections == 2
    assert lost == []


async def test_what_is_not_http_is_an_error(server: Server) -> None:
    server.scripts = [server.answers(b"SSH-2.0-OpenSSH\r\n\r\n")]
    client = await client_of(server)

    with pytest.raises(ConnectionError):
        await client.request("PUT", "/")
    await client.close()


async def test_an_answer_to_no_question_ends_the_connection(server: Server) -> None:
    server.scripts = [server.answers(OK + OK), server.for_ever()]
    client = await client_of(server)

    await client.request("PUT", "/1")
    await server.done.wait()
    answer = await client.request("PUT", "/2")
    await client.close()

    assert answer.body == b"ok"
    assert server.connections == 2


async def test_silence_is_a_time_out(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "SWEEP_S", 0.01)
    server.scripts = [server.never()]
    client = await client_of(server)

    with pytest.raises(TimeoutError):
        await client.request("PUT", "/", timeout_s=0.02)
    await client.close()


async def test_who_gives_up_takes_their_connection_along(server: Server) -> None:
    server.scripts = [server.never(), server.for_ever()]
    client = await client_of(server, limit=1)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await client.request("PUT", "/1")
    answer = await client.request("PUT", "/2")
    await client.close()

    assert answer.body == b"ok"


async def test_who_waits_for_a_turn_may_give_up(server: Server) -> None:
    server.scripts = [server.never(), server.for_ever()]
    client = await client_of(server, limit=1)

    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(client.request("PUT", "/1"))
        await asyncio.sleep(0)
        second = tasks.create_task(client.request("PUT", "/2"))
        third = tasks.create_task(client.request("PUT", "/3"))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        first.cancel()

    assert third.result().body == b"ok"
    await client.close()


async def test_nobody_waits_for_a_server_that_is_not_there(server: Server) -> None:
    server.scripts = [server.for_ever()]
    client = await client_of(server, limit=1)
    await server.stop()

    failures = await asyncio.gather(
        *(client.request("PUT", "/") for _ in range(5)), return_exceptions=True
    )

    assert [type(failure) for failure in failures] == [ConnectionRefusedError] * 5


async def test_closing_ends_what_is_in_flight(server: Server) -> None:
    server.scripts = [server.never()]
    client = await client_of(server)

    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(_failure(client))
        await server.asked.wait()
        await client.close()

    assert isinstance(asking.result(), ConnectionAbortedError)


async def _failure(client: HttpClient) -> Exception | None:
    try:
        await client.request("PUT", "/")
    except OSError as error:
        return error
    return None


async def test_https_is_spoken_to_whom_we_trust(server: Server, tmp_path: Path) -> None:
    tls, trust = certified(tmp_path)
    server.scripts = [server.for_ever()]
    address = "127.0.0.1", await server.start(tls)
    trusting = HttpClient(address, tls=trust)
    wary = HttpClient(address, tls=ssl.create_default_context())

    answer = await trusting.request("PUT", "/")
    with pytest.raises(ssl.SSLError):
        await wary.request("PUT", "/")
    await trusting.close()
    await wary.close()

    assert answer.body == b"ok"


def certified(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make a server's context and that of somebody who trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hs")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = folder / "chain.pem"
    chain.write_bytes(certificate.public_bytes(pem) + secret)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain)
    return server, ssl.create_default_context(cafile=str(chain))
