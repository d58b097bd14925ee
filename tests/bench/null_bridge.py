"""Forwards bytes and does nothing else: the limit of the machine at that moment.

No database, no names, no order to keep, no errors: what it needs per message is what
any bridge in this language needs at the least.
"""

import asyncio
import hashlib
import json
import re
import sys
from collections import deque
from html import escape, unescape

import uvloop

from tests.bench.fake_xmpp import DOMAIN, MUC, SECRET

JULIET = b"juliet@users.bench/phone"
_MESSAGE = re.compile(
    rb"<message from='([^']*)' to='([^']*)'[^>]*><body>(.*?)</body>.*?</message>"
)
_MUC_MESSAGE = re.compile(
    rb"<message from='([^']*)'[^>]* to='([^']*)'><body>(.*?)</body>.*?</message>"
)


class Null:
    """Both halves."""

    def __init__(self, homeserver: int) -> None:
        self._homeserver = homeserver
        self.stream: asyncio.StreamWriter | None = None
        self._puts: deque[bytes] = deque()
        self._more = asyncio.Event()
        self._number = 0

    async def xmpp(self, port: int, puppets: int) -> None:
        """Keep the component's stream."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        writer.write(
            b"<stream:stream xmlns='jabber:component:accept' xmlns:stream="
            b"'http://etherx.jabber.org/streams' to='%s'>" % DOMAIN.encode()
        )
        await reader.readuntil(b"id='b1'>")
        digest = hashlib.sha1(f"b1{SECRET}".encode(), usedforsecurity=False).hexdigest()
        writer.write(b"<handshake>%s</handshake>" % digest.encode())
        await reader.readuntil(b"<handshake/>")
        for number in range(puppets):
            writer.write(
                b"<presence from='member%d@%s/p' to='%s/m%d'/>"
                % (number, DOMAIN.encode(), MUC.encode(), number)
            )
        self.stream = writer
        listener = b"member0@" + DOMAIN.encode()
        rest = b""
        while data := await reader.read(1 << 18):
            rest = self._forward(rest + data, listener if puppets else b"")

    def _forward(self, data: bytes, listener: bytes) -> bytes:
        """Queue what was said; return what is left of an unfinished stanza."""
        end = 0
        for match in (_MUC_MESSAGE if listener else _MESSAGE).finditer(data):
            end = match.end()
            if match[2].startswith(listener) and b"/m" not in match[1]:
                body = {"msgtype": "m.text", "body": unescape(match[3].decode())}
                self._puts.append(json.dumps(body).encode())
        self._more.set()
        cut = max(end, data.rfind(b"</presence>"), data.rfind(b"</iq>"))
        return data[cut:]

    async def put(self) -> None:
        """Send to the homeserver, one after another."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._homeserver)
        while True:
            if not self._puts:
                self._more.clear()
                await self._more.wait()
                continue
            body = self._puts.popleft()
            self._number += 1
            writer.write(
                b"PUT /_matrix/client/v3/rooms/!r/send/m.room.message/t%d HTTP/1.1\r\n"
                b"Host: h\r\nContent-Length: %d\r\n\r\n%s"
                % (self._number, len(body), body)
            )
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.rsplit(b": ", 1)[1]))

    async def matrix(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Take transactions."""
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            body = json.loads(await reader.readexactly(length))
            assert self.stream is not None
            for event in body["events"]:
                if event["type"] == "m.room.message":
                    self.stream.write(self._stanza(event))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    def _stanza(self, event: dict[str, dict[str, str]]) -> bytes:
        body = escape(event["content"]["body"]).encode()
        return (
            b"<message from='room@%s/m' to='%s' type='groupchat'><body>%s</body>"
            b"</message>" % (DOMAIN.encode(), JULIET, body)
        )


async def main(homeserver: int, xmpp: int, listen: int, puppets: int) -> None:
    """Forward until killed."""
    null = Null(homeserver)
    await asyncio.start_server(null.matrix, "127.0.0.1", listen, limit=1 << 24)
    await asyncio.gather(null.xmpp(xmpp, puppets), null.put())


if __name__ == "__main__":
    uvloop.run(main(*(int(argument) for argument in sys.argv[1:])))
