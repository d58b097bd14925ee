"""A small XMPP server of our own: one component port, XEP-0114, in this process."""

import asyncio
import hashlib
from collections.abc import Callable
from types import TracebackType
from typing import Self
from xml.etree.ElementTree import Element

from bridge.xmpp.reader import Reader

HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept'"
    b" xmlns:stream='http://etherx.jabber.org/streams' id='s1' from='bridge.example'>"
)
STREAMS = "urn:ietf:params:xml:ns:xmpp-streams"
DOMAIN = "bridge.example"
SECRET = "open sesame 0123456789"


class ComponentServer:
    """Accepts the component and gives back what it addresses to itself.

    *refuse* is the condition that the next handshakes are refused with. *welcome*
    comes with every handshake: what had waited for the component. *route*
    decides whether what the component sent to itself comes back. What else comes is
    kept in *stanzas*, and can be waited for.
    """

    def __init__(self) -> None:
        self.port = 0
        self.refuse = ""
        self.handshakes = 0
        self.header = HEADER
        self.welcome = b""
        self.route: Callable[[Element], bool] = lambda _: True
        self.stanzas: asyncio.Queue[Element] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more, and cut the component off."""
        self.cut()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def cut(self) -> None:
        """Close the connection without a word."""
        if self._writer is not None:
            self._writer.close()

    def send(self, stanzas: bytes) -> None:
        """Write to the component."""
        if self._writer is None:
            raise ConnectionError("no component is connected")
        self._writer.write(stanzas)

    def fail(self, condition: str) -> None:
        """End the stream with an error."""
        self.send(
            b"<stream:error><"
            + condition.encode()
            + b" xmlns='"
            + STREAMS.encode()
            + b"'/></stream:error></stream:stream>"
        )
        self.cut()

    async def next(self) -> Element:
        """Wait for the next stanza that is not for the component itself."""
        async with asyncio.timeout(5):
            return await self.stanzas.get()

    async def shaken(self, handshakes: int) -> None:
        """Wait until there were so many handshakes."""
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: self.handshakes >= handshakes)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writer = writer
        parser = Reader()
        writer.write(self.header)
        while chunk := await reader.read(65536):
            for stanza in parser.feed(chunk):
                self._take(stanza)
            async with self._changed:
                self._changed.notify_all()
            if parser.root is not None and parser.depth == 0:
                break
        writer.close()

    def _take(self, stanza: Element) -> None:
        if stanza.tag.endswith("}handshake"):
            self._shake_hands(stanza.text or "")
        elif stanza.get("to") != DOMAIN:
            self.stanzas.put_nowait(stanza)
        elif self.route(stanza):
            self.send(_written(stanza))

    def _shake_hands(self, proof: str) -> None:
        self.handshakes += 1
        right = hashlib.sha1(b"s1" + SECRET.encode(), usedforsecurity=False)
        if self.refuse:
            self.fail(self.refuse)
        elif proof != right.hexdigest():
            self.fail("not-authorized")
        else:
            self.send(b"<handshake/>" + self.welcome)


def _written(stanza: Element) -> bytes:
    """Write a stanza whose children say nothing but their names."""
    name = stanza.tag.rpartition("}")[2].encode()
    attributes = b"".join(
        b" " + key.encode() + b"='" + value.encode() + b"'"
        for key, value in stanza.attrib.items()
    )
    children = b"".join(_child(child) for child in stanza)
    return b"<" + name + attributes + b">" + children + b"</" + name + b">"


def _child(element: Element) -> bytes:
    namespace, _, name = element.tag[1:].partition("}")
    return b"<" + name.encode() + b" xmlns='" + namespace.encode() + b"'/>"
