"""The stream to the XMPP server: connected again and again, watched and orderly."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from xml.etree.ElementTree import Element

from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.disco import PING, Disco
from bridge.xmpp.gate import serialise
from bridge.xmpp.iq import IqError, key, refusal
from bridge.xmpp.session import (
    ComponentRefusedError,
    NotConnectedError,
    Session,
    SharedDomainError,
)
from bridge.xmpp.written import Written

__all__ = [
    "ComponentRefusedError",
    "IqError",
    "NotConnectedError",
    "SharedDomainError",
    "Stream",
]

logger = logging.getLogger(__name__)

PAUSE_S_MIN = 0.5
PAUSE_S_MAX = 30.0
CLOSE_S = 2.0
WATCH_S = 60.0
STEADY_S = 10.0
"""A stream that lasted so long was no failure: the back-off begins anew."""

REFUSALS_MAX = 5
"""How often a server may refuse us that had accepted us before.

While it restarts it may not know us yet, or still hold our own lost connection.
"""

_SUSPECTS_SHOWN = 20

# RFC 6120 §4.9.3: what a server can dislike about that which it was sent. The others
# tell of the server itself, of the network, or of who we are.
_BLAMING = frozenset(
    {
        "bad-format",
        "bad-namespace-prefix",
        "improper-addressing",
        "internal-server-error",
        "invalid-from",
        "invalid-id",
        "invalid-namespace",
        "invalid-xml",
        "not-well-formed",
        "policy-violation",
        "restricted-xml",
        "undefined-condition",
        "unsupported-encoding",
        "unsupported-feature",
        "unsupported-stanza-type",
        "xml-not-well-formed",
    }
)


class Stream:
    """Our side of the XMPP server.

    *received* is called in order, at once, for each message and presence and for
    each question that is not about the component itself. *up* is awaited after every
    handshake; *down* is called when the stream is lost, even if *up* has not
    returned. *wanted* tells by the bytes of ``to`` which groupchat messages are to
    be read at all.
    """

    def __init__(  # noqa: PLR0913 - the edge of a network has many neighbours
        self,
        *,
        domain: str,
        secret: str,
        host: str,
        port: int,
        tasks: asyncio.TaskGroup,
        received: Callable[[Element], None],
        up: Callable[[], Awaitable[None]],
        down: Callable[[], None],
        written: Written,
        wanted: Callable[[bytes], bool] = lambda _: True,
        disco: Disco | None = None,
    ) -> None:
        self.domain = domain
        self.suspects: Sequence[int] = ()
        self.blames = False
        self._secret = secret
        self._address = host, port
        self._tasks = tasks
        self._received = received
        self._up = up
        self._down = down
        self._written = written
        self._wanted = wanted
        self._disco = disco or Disco(domain)
        self._session: Session | None = None
        self._stop = asyncio.Event()
        self._may_open = asyncio.Event()
        self._may_open.set()
        self._failures = 0
        self._refusals_left = 0
        self._all_routed = False

    @property
    def connected(self) -> bool:
        """Tell whether what is written now may arrive."""
        return self._open_session() is not None

    async def run(self) -> None:
        """Keep the stream open until it is closed.

        Raises ``ComponentRefusedError`` if the server will not have us.
        """
        while not self._stop.is_set():
            try:
                await self._live()
            except ComponentRefusedError as error:
                self._refusals_left -= 1
                if self._refusals_left < 0:
                    raise
                logger.warning("the XMPP server refuses us, will be retried: %s", error)
            except (OSError, TimeoutError, IqError) as error:
                logger.warning(
                    "the XMPP server cannot be reached, will be retried: %s",
                    str(error) or type(error).__name__,
                )
            await self._pause()
            await self._may_open.wait()

    async def connect_once(self) -> None:
        """Try whether the server accepts us, and close again.

        Raises ``ComponentRefusedError``, ``OSError`` or ``TimeoutError``.
        """
        session = await self._open()
        await session.close(CLOSE_S)

    async def close(self) -> None:
        """Let out what is written, then close for good."""
        self._stop.set()
        self._may_open.set()
        session, self._session = self._session, None
        if session is not None:
            self._down()
            await session.close(CLOSE_S)

    def shut(self) -> None:
        """Disconnect until *reopen*, so that servers bounce what is for us."""
        self._may_open.clear()
        session = self._open_session()
        if session is not None:
            session.leaving = True
            self._tasks.create_task(session.leave(CLOSE_S), name="leave XMPP")

    def reopen(self) -> None:
        """Connect again."""
        self._may_open.set()

    def write(self, data: bytes, ids: Sequence[int] = ()) -> bool:
        """Write *data*, which passed the gate and carries the parcels *ids*.

        Return False, and do nothing, if there is no stream.
        """
        session = self._open_session()
        if session is None:
            return False
        session.outlet.put(data, ids)
        return True

    async def drained(self) -> None:
        """Wait until the stream takes more without piling it up, or is lost."""
        if self._session is not None:
            await self._session.outlet.drained()

    def pause(self) -> None:
        """Read nothing more for now, so that the server holds back what comes."""
        if self._session is not None and not self._session.over.done():
            self._session.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._session is not None and not self._session.over.done():
            self._session.transport.resume_reading()

    async def iq(
        self, kind: str, to: str, sender: str, payload: Node, timeout_s: float = 15.0
    ) -> Element:
        """Ask *to*, as *sender*, and return the result.

        Raises ``IqError``, ``TimeoutError``, ``NotConnectedError`` or
        ``StanzaError``.
        """
        answer = await self._ask(kind, to, sender, payload, timeout_s)
        if answer is None:
            raise NotConnectedError("the stream was lost")
        if answer.get("type") == "error":
            raise refusal(answer)
        return answer

    async def ping(self, to: str, sender: str, timeout_s: float) -> bool:
        """Tell whether anything at all comes back from *to*; XEP-0199."""
        try:
            payload = node("ping", {"xmlns": PING})
            return await self._ask("get", to, sender, payload, timeout_s) is not None
        except (TimeoutError, NotConnectedError):
            return False

    async def barrier(self) -> bool:
        """Wait until the server has routed what was written; False if it is lost."""
        session = self._open_session()
        if session is None:
            # Whoever asks has written to the stream that was left, or to none.
            return self._session is None and self._all_routed
        return await session.barrier.passed()

    def _open_session(self) -> Session | None:
        session = self._session
        return None if session is None or session.leaving else session

    async def _ask(
        self, kind: str, to: str, sender: str, payload: Node, timeout_s: float
    ) -> Element | None:
        session = self._open_session()
        if session is None:
            raise NotConnectedError("there is no stream")
        name = session.questions.name()
        attributes = {"from": sender, "to": to, "id": name, "type": kind}
        session.outlet.put(serialise(node("iq", attributes, payload), self.domain))
        return await session.questions.answer(key(name, to, sender), timeout_s)

    async def _open(self) -> Session:
        session = Session(
            domain=self.domain,
            secret=self._secret,
            disco=self._disco,
            written=self._written,
            wanted=self._wanted,
            received=self._received,
            ended=self._lost,
        )
        await session.open(*self._address)
        try:
            alone = await session.alone()
        except BaseException:
            session.abort()
            raise
        if session.over.done():
            raise session.refusal or NotConnectedError("the stream was lost")
        if not alone:
            session.abort()
            raise SharedDomainError
        return session

    async def _live(self) -> None:
        """Be connected once, from beginning to end."""
        loop = asyncio.get_running_loop()
        session = await self._open()
        if self._stop.is_set() or not self._may_open.is_set():
            session.abort()
            return
        began = loop.time()
        self._session = session
        logger.info("connected to the XMPP server as %s", self.domain)
        self._tasks.create_task(_watch(session), name="xmpp watch")
        session.begin()
        try:
            await self._up()
            await session.over
        finally:
            session.abort()
        if loop.time() - began > STEADY_S:
            self._failures = 0
        self._refusals_left = REFUSALS_MAX
        if session.refusal is not None:
            self._refusals_left = 0
            raise session.refusal

    def _lost(self, session: Session) -> None:
        if session is not self._session:
            return
        self._session = None
        self._all_routed = session.all_routed
        self.suspects = ()
        if not session.all_routed:
            session.outlet.doubt()
            self.suspects = session.outlet.suspects()
        self.blames = session.condition in _BLAMING
        why = session.condition or "no reason given"
        logger.warning("the stream to the XMPP server was lost: %s", why)
        if self.suspects:
            shown = self.suspects[-_SUSPECTS_SHOWN:]
            logger.warning("just before, these parcels were written: %s", shown)
        self._down()

    async def _pause(self) -> None:
        """Wait before the next attempt: longer each time, never for the same time."""
        if self._stop.is_set():
            return
        pause = min(PAUSE_S_MIN * 2**self._failures, PAUSE_S_MAX)
        self._failures = min(self._failures + 1, 10)
        try:
            async with asyncio.timeout(pause * (500 + secrets.randbelow(501)) / 1000):
                await self._stop.wait()
        except TimeoutError:
            return


async def _watch(session: Session) -> None:
    """Notice a stream that is dead though nobody closed it."""
    while not session.over.done():
        done, _ = await asyncio.wait([session.over], timeout=WATCH_S)
        if not done:
            await session.barrier.passed()
