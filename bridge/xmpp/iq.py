"""Questions that we ask over the stream, and what comes of them."""

import asyncio
import itertools
import secrets
from collections.abc import Callable
from xml.etree.ElementTree import Element

from slixmpp import JID, InvalidJID

from bridge.xmpp.replies import STANZAS

BARRIER_S = 30.0
PING_PACE_S = 0.002
PINGS_AT_ONCE = 3.0
"""A server that routes nothing for so long is as good as gone."""

Key = tuple[str, str, str]


class IqError(Exception):
    """The other side refused: *condition* and *kind* as in RFC 6120 §8.3."""

    def __init__(self, condition: str, kind: str, text: str) -> None:
        super().__init__(condition)
        self.condition = condition
        self.kind = kind
        self.text = text


class Questions:
    """The IQs that wait for an answer, by id and by who asked whom."""

    def __init__(self) -> None:
        self._open: dict[Key, asyncio.Future[Element | None]] = {}
        self._prefix = secrets.token_hex(4)
        self._count = itertools.count()

    def name(self) -> str:
        """Make an id that was never used before."""
        return f"{self._prefix}-{next(self._count)}"

    async def answer(self, key: Key, timeout_s: float) -> Element | None:
        """Wait for the answer to *key*; None if the stream is lost.

        Raises ``TimeoutError``.
        """
        future: asyncio.Future[Element | None]
        future = asyncio.get_running_loop().create_future()
        self._open[key] = future
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        finally:
            self._open.pop(key, None)

    def settle(self, iq: Element) -> bool:
        """Give *iq*, a result or an error, to whoever asked; False if nobody did."""
        name, asked, asker = iq.get("id", ""), iq.get("from", ""), iq.get("to", "")
        future = self._open.get(key(name, asked, asker))
        if future is None or future.done():
            return False
        future.set_result(iq)
        return True

    def fail(self) -> None:
        """Take note that no answer will come any more."""
        for future in self._open.values():
            if not future.done():
                future.set_result(None)


class Barrier:
    """Tells when the server has routed all that was written before.

    *send* writes a ping to ourselves with the id that it is given; it comes back
    after all else was routed: then *routed* is called. *stalled* is called if it does
    not come back. Pings that follow
    each other without a rest are spaced out, so that many callers share one.
    """

    def __init__(
        self,
        send: Callable[[str], None],
        stalled: Callable[[], None],
        routed: Callable[[], None] = lambda: None,
    ) -> None:
        self._routed = routed
        self._send = send
        self._stalled = stalled
        self._prefix = secrets.token_hex(4)
        self._count = 0
        self._flying: list[asyncio.Future[bool]] = []
        self._waiting: list[asyncio.Future[bool]] = []
        self._alarm: asyncio.TimerHandle | None = None
        self._soon: asyncio.TimerHandle | None = None
        self._credit = PINGS_AT_ONCE
        self._then = 0.0

    async def passed(self) -> bool:
        """Wait for the next ping to come back; False if it never will."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if not self._flying:
            self._fly_soon()
        return await future

    def came(self, name: str) -> bool:
        """Take note that the ping *name* is back; False if it is not the barrier's."""
        if not name.startswith(self._prefix):
            return False
        if name == self._name() and self._flying:
            self._routed()
            self._land(passed=True)
            if self._waiting:
                self._fly_soon()
        return True

    def fail(self) -> None:
        """Take note that nothing will come back any more."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        self._land(passed=False)
        self._flying, self._waiting = self._waiting, []
        self._land(passed=False)

    def _fly_soon(self) -> None:
        if self._soon is not None:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        earned = (now - self._then) / PING_PACE_S
        self._credit = min(PINGS_AT_ONCE, self._credit + earned) - 1
        self._then = now
        if self._credit >= 0:
            self._fly()
        else:
            self._soon = loop.call_later(-self._credit * PING_PACE_S, self._fly)

    def _fly(self) -> None:
        self._soon = None
        self._flying, self._waiting = self._waiting, []
        self._count += 1
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(BARRIER_S, self._stalled)
        self._send(self._name())

    def _land(self, *, passed: bool) -> None:
        flying, self._flying = self._flying, []
        for future in flying:
            if not future.done():
                future.set_result(passed)
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _name(self) -> str:
        return f"{self._prefix}-{self._count}"


def key(name: str, asked: str, asker: str) -> Key:
    """Tell one question from all others, however the addresses are spelt."""
    return name, _canonical(asked), _canonical(asker)


def refusal(iq: Element) -> IqError:
    """Read an IQ of type error."""
    error = iq.find("{*}error")
    if error is None:
        return IqError("undefined-condition", "cancel", "")
    condition, text = "undefined-condition", ""
    for child in error:
        namespace, _, name = child.tag.rpartition("}")
        if namespace != "{" + STANZAS:
            continue
        if name == "text":
            text = child.text or ""
        else:
            condition = name
    return IqError(condition, error.get("type", "cancel"), text)


def _canonical(jid: str) -> str:
    try:
        return str(JID(jid))
    except InvalidJID:
        return jid
