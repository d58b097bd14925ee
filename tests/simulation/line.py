"""The component's stream as a simulated bridge sees it: written, confirmed, lost.

What the kernel has taken survives kill -9 in a ring (bridge/xmpp/written.py), though
not a machine that falls: then there is none. It counts no more once the stream is
lost, as nobody knows what the server read.
"""

import asyncio
from collections.abc import Callable, Sequence

from tests.simulation.jabber import JabberServer, Link
from tests.simulation.loop import Process
from tests.simulation.net import DownError, Net
from tests.simulation.stanza import Stanza, read

ANSWER_S = 30.0


class Ring:
    """The parcels that the kernel has taken, and of which line that is."""

    def __init__(self) -> None:
        self.ids: set[int] = set()
        self.owner: Line | None = None


class Line:
    """See above; also the ``Valve`` of the real ``Inbound``."""

    def __init__(
        self,
        server: JabberServer,
        net: Net,
        process: Process,
        ring: Ring | None,
        received: Callable[[Stanza], None],
    ) -> None:
        self._ring = ring or Ring()
        self._ring.owner = self
        self.earlier = frozenset(self._ring.ids)
        self.on_up: Callable[[], None] = lambda: None
        self.on_down: Callable[[], None] = lambda: None
        self._server = server
        self._net = net
        self._process = process
        self._routed: frozenset[int] = frozenset()
        self._take = received
        self._link: Link | None = None
        self._asked: dict[str, asyncio.Future[Stanza | None]] = {}
        self._over = asyncio.Event()
        self._up = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()
        self._paused = False
        self._buffer: list[Stanza] = []

    @property
    def connected(self) -> bool:
        """Whether it is open."""
        return self._link is not None

    async def wait_up(self) -> None:
        """Wait until it is open for the first time."""
        await self._up.wait()

    async def run(self) -> None:
        """Be connected."""
        while True:
            await self._open.wait()
            try:
                link = await self._net.ask(self._server.connect(self._process, self))
            except DownError:
                await asyncio.sleep(self._net.dice.delay(1.0))
                continue
            if not link.open:
                continue
            self._link = link
            self._up.set()
            self._over.clear()
            self.on_up()
            await self._over.wait()

    def write(self, data: bytes, ids: Sequence[int] = ()) -> bool:
        """Write stanzas that carry the parcels *ids*; False if the stream is lost."""
        if self._link is None:
            return False
        for stanza in read(data):
            self._link.outward.put(stanza)
        if self._ring.owner is self:
            self._ring.ids.update(ids)
        return True

    async def barrier(self) -> bool:
        """Wait until the server has taken all that was written."""
        before = frozenset(self._ring.ids)
        passed = await self.ask(Stanza("ping", "bot@b", "server")) is not None
        if passed:
            self._routed |= before
        return passed

    async def ask(self, query: Stanza) -> Stanza | None:
        """Ask, and return the answer; None if the stream is lost meanwhile."""
        if self._link is None:
            return None
        name = self._net.dice.token()
        answer: asyncio.Future[Stanza | None] = self._net.loop.create_future()
        self._asked[name] = answer
        self._link.outward.put(
            Stanza(query.kind, query.sender, query.to, name, query.text)
        )
        try:
            async with asyncio.timeout(ANSWER_S):
                return await answer
        except TimeoutError:
            return None
        finally:
            del self._asked[name]

    def received(self, stanza: Stanza) -> None:
        """Take what comes, unless reading is paused."""
        if self._paused:
            self._buffer.append(stanza)
            return
        answer = self._asked.get(stanza.id)
        if answer is None:
            self._take(stanza)
        elif not answer.done():
            answer.set_result(stanza)

    def down(self) -> None:
        """Learn that the stream is lost."""
        self._link = None
        self._buffer.clear()
        # See Written.forget: whether it was read nobody knows.
        if self._ring.owner is self:
            self._ring.ids &= self.earlier | self._routed
        for answer in self._asked.values():
            if not answer.done():
                answer.set_result(None)
        self.on_down()
        self._over.set()

    def pause(self) -> None:
        """Read nothing more until *resume*."""
        self._paused = True

    def resume(self) -> None:
        """Read on."""
        self._paused = False
        buffer, self._buffer = self._buffer, []
        for stanza in buffer:
            self.received(stanza)

    def shut(self) -> None:
        """Disconnect until *reopen*."""
        self._open.clear()
        if self._link is not None:
            self._link.sever()

    def reopen(self) -> None:
        """Connect again."""
        self._open.set()
