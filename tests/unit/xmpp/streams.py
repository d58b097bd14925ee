"""A bridge's stream beside a server of our own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from xml.etree.ElementTree import Element

from bridge.xmpp.codec.xml import node
from bridge.xmpp.component import Stream
from bridge.xmpp.gate import serialise
from bridge.xmpp.written import Written
from tests.component_server import DOMAIN, SECRET, ComponentServer

ALICE = f"alice_hs@{DOMAIN}"
JULIET = "juliet@capulet.lit/x"
PING = node("ping", {"xmlns": "urn:xmpp:ping"})


class Bridge:
    """A stream and what came over it."""

    def __init__(self, tmp_path: Path, server: ComponentServer) -> None:
        self.path = tmp_path / "ring"
        self.server = server
        self.received: asyncio.Queue[Element] = asyncio.Queue()
        self.ups: asyncio.Queue[bool] = asyncio.Queue()
        self.downs = 0
        self.when_up: Callable[[], Awaitable[object]] | None = None
        self.answer: Callable[[Element], bytes] | None = None
        self.answered: list[bool] = []
        self.stream: Stream

    def make(self, tasks: asyncio.TaskGroup, secret: str = SECRET) -> Stream:
        self.stream = Stream(
            domain=DOMAIN,
            secret=secret,
            host="127.0.0.1",
            port=self.server.port,
            tasks=tasks,
            received=self.takes,
            up=self.up,
            down=self.down,
            written=Written(self.path, "db"),
            wanted=lambda to: to != b"puppet@bridge.example",
        )
        return self.stream

    def takes(self, stanza: Element) -> None:
        self.received.put_nowait(stanza)
        if self.answer is not None:
            self.answered.append(self.stream.write(self.answer(stanza)))

    async def up(self) -> None:
        if self.when_up is not None:
            await self.when_up()
        self.ups.put_nowait(self.stream.connected)

    def down(self) -> None:
        self.downs += 1

    async def next(self) -> Element:
        async with asyncio.timeout(5):
            return await self.received.get()

    async def next_up(self) -> bool:
        async with asyncio.timeout(5):
            return await self.ups.get()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Stream]:
        async with asyncio.TaskGroup() as tasks:
            stream = self.make(tasks)
            tasks.create_task(stream.run())
            assert await self.next_up()
            yield stream
            await stream.close()

    async def run_until_refused(self, secret: str = SECRET) -> None:
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            await self.make(tasks, secret).run()


def message(body: str = "hi") -> bytes:
    about = {"from": ALICE, "to": JULIET, "id": "$1"}
    return serialise(node("message", about, node("body", None, body)), DOMAIN)
