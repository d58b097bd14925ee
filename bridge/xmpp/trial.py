"""Tries the XMPP server out, for `check`: nothing is carried meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar
from xml.etree.ElementTree import Element

from typing_extensions import override

from bridge.xmpp import replies
from bridge.xmpp.codec.xml import node
from bridge.xmpp.component import (
    ComponentRefusedError,
    IqError,
    NotConnectedError,
    Stream,
)
from bridge.xmpp.gate import StanzaError, serialise
from bridge.xmpp.written import Doubts, Written

ALL_S = 10
ANSWER_S = 5
UPLOAD = "urn:xmpp:http:upload:0"
VERSION = "jabber:iq:version"

A = TypeVar("A")


class Trial:
    """Is the component for a moment, while the bridge does not run."""

    def __init__(self, *, domain: str, secret: str, host: str, port: int) -> None:
        self._domain = domain
        self._secret = secret
        self._address = host, port
        self._up = asyncio.Event()

    async def shake_hands(self) -> None:
        """See whether the server accepts us.

        Raises ``ComponentRefusedError``, ``OSError`` or ``TimeoutError``.
        """
        async with asyncio.TaskGroup() as tasks:
            wrong = await _fault(self._stream(tasks))
        if wrong is not None:
            raise wrong

    async def upload_service(self, server: str) -> str:
        """Name the upload service beside *server*; empty if there is none."""
        return await self._connected(lambda stream: _upload_service(stream, server), "")

    async def version(self, server: str) -> tuple[str, str]:
        """Ask *server* for its name and version; empty if it does not say."""
        return await self._connected(lambda stream: _version(stream, server), ("", ""))

    async def _connected(self, ask: Callable[[Stream], Awaitable[A]], nothing: A) -> A:
        async with asyncio.TaskGroup() as tasks:
            stream = self._stream(tasks)
            running = tasks.create_task(_run(stream), name="stream")
            try:
                async with asyncio.timeout(ALL_S):
                    await self._up.wait()
                    return await ask(stream)
            except TimeoutError:
                return nothing
            finally:
                self._up.clear()
                await stream.close()
                running.cancel()

    def _stream(self, tasks: asyncio.TaskGroup) -> Stream:
        def turn_away(stanza: Element) -> None:
            # A trial carries nothing, and whoever writes meanwhile has to know.
            if replies.may_answer(stanza) and not stanza.tag.endswith("}presence"):
                answer = replies.error(stanza, "wait", "service-unavailable")
                stream.write(serialise(answer, self._domain))

        async def is_up() -> None:
            self._up.set()

        host, port = self._address
        stream = Stream(
            domain=self._domain,
            secret=self._secret,
            host=host,
            port=port,
            tasks=tasks,
            received=turn_away,
            up=is_up,
            down=lambda: None,
            written=_Nothing(),
        )
        return stream


async def _fault(stream: Stream) -> Exception | None:
    """Return what goes wrong: raised within a task group it would be wrapped."""
    try:
        await stream.connect_once()
    except (ComponentRefusedError, OSError, TimeoutError) as error:
        return error
    return None


async def _run(stream: Stream) -> None:
    try:
        await stream.run()
    except ComponentRefusedError:
        return  # whoever waits for the stream waits in vain


async def _upload_service(stream: Stream, server: str) -> str:
    """Name the upload service that *server* lists; XEP-0363 §3."""
    items = await _asked(stream, replies.DISCO_ITEMS, server)
    for item in items.iter(f"{{{replies.DISCO_ITEMS}}}item"):
        name = item.get("jid", "")
        info = await _asked(stream, replies.DISCO_INFO, name)
        features = info.iter(f"{{{replies.DISCO_INFO}}}feature")
        if any(feature.get("var") == UPLOAD for feature in features):
            return name
    return ""


async def _version(stream: Stream, server: str) -> tuple[str, str]:
    """Ask *server* what it is; XEP-0092 §2."""
    answer = await _asked(stream, VERSION, server)
    found = [answer.findtext(f".//{{{VERSION}}}{what}") for what in ("name", "version")]
    return found[0] or "", found[1] or ""


async def _asked(stream: Stream, what: str, whom: str) -> Element:
    """Ask and return the answer, which is empty if there is none."""
    query = node("query", {"xmlns": what})
    try:
        return await stream.iq("get", whom, stream.domain, query, ANSWER_S)
    except (IqError, TimeoutError, NotConnectedError, StanzaError):
        return Element("nothing")


class _Nothing(Written):
    """Notes nothing: a trial writes nothing worth it."""

    def __init__(self) -> None:
        self.earlier = frozenset()
        self.doubted = Doubts()
        self.count = 0

    @override
    def mark(self, parcels: Iterable[int]) -> None:
        """Note nothing."""

    @override
    def arrived(self, count: int) -> None:
        """Note nothing."""

    @override
    def forget(self) -> None:
        """Doubt nothing."""
