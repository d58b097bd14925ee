"""One connection to the XMPP server, from the handshake to its end; XEP-0114."""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import cast
from xml.etree.ElementTree import Element

from slixmpp import ComponentXMPP
from typing_extensions import override

from bridge.xmpp import replies
from bridge.xmpp.codec.peek import UNREAD
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.disco import PING, Disco
from bridge.xmpp.gate import StanzaError, serialise
from bridge.xmpp.iq import Barrier, Questions
from bridge.xmpp.outlet import Outlet
from bridge.xmpp.reader import BadStreamError, Reader
from bridge.xmpp.skipper import Skipper
from bridge.xmpp.written import Written

logger = logging.getLogger(__name__)

COMPONENT = "jabber:component:accept"
PROBES = 20
PROBE_S = 2.0

_CLIENT = "{jabber:client}"
_MESSAGE = f"{{{COMPONENT}}}message"
_PRESENCE = f"{{{COMPONENT}}}presence"
_IQ = f"{{{COMPONENT}}}iq"
_HANDSHAKE = f"{{{COMPONENT}}}handshake"
_ERROR = "{http://etherx.jabber.org/streams}error"
_STREAMS = "{urn:ietf:params:xml:ns:xmpp-streams}"

_REMEDIES = {
    "not-authorized": (
        "the secret is not the one that the XMPP server has for this component"
        " (ejabberd says the same of a component that it does not know)"
    ),
    "host-unknown": "the XMPP server has no component of this name",
    "conflict": "another bridge is connected as this component; stop it",
}


class NotConnectedError(ConnectionError):
    """There is no stream, or it was lost before the answer came."""


class ComponentRefusedError(Exception):
    """The server will not have us, now or later, unless somebody changes something."""

    def __init__(self, condition: str, remedy: str) -> None:
        super().__init__(f"{condition}: {remedy}")
        self.condition = condition
        self.remedy = remedy


class SharedDomainError(ComponentRefusedError):
    """Another bridge is connected under our domain and gets a part of the stanzas."""

    def __init__(self) -> None:
        super().__init__(
            "shared-domain",
            "another bridge is connected as this component; stop it (on ejabberd,"
            " another component of the same listener takes our stanzas too,"
            " unless the listener has global_routes: false)",
        )


class Session:
    """The stream between one handshake and its end.

    *received* gets every stanza that is not an answer to a question of ours or a
    question about the component itself; *ended* is called when it is over. Once it is
    *leaving*, nothing more is to be written; if it left in good order, *all_routed*
    tells that the server has taken all that was.
    """

    def __init__(  # noqa: PLR0913 - what a stream is made of
        self,
        *,
        domain: str,
        secret: str,
        disco: Disco,
        written: Written,
        wanted: Callable[[bytes], bool],
        received: Callable[[Element], None],
        ended: Callable[["Session"], None],
    ) -> None:
        self.questions = Questions()
        self.barrier = Barrier(self._sound, self.abort, self._routed)
        self._written_before = 0
        self.refusal: ComponentRefusedError | None = None
        self.condition = ""
        self.leaving = False
        self.all_routed = False
        self.outlet: Outlet
        self.transport: asyncio.Transport
        loop = asyncio.get_running_loop()
        self.accepted: asyncio.Future[bool] = loop.create_future()
        self.over: asyncio.Future[None] = loop.create_future()
        self._domain = domain
        self._secret = secret
        self._disco = disco
        self._written = written
        self._received = received
        self._ended = ended
        self._reader = Reader()
        self._skipper = Skipper(self._reader, wanted)
        self._greeted = False
        self._held: list[Element] | None = []
        self._probes: set[str] = set()
        self._probed: asyncio.Future[None] = loop.create_future()

    async def open(self, host: str, port: int) -> None:
        """Connect and shake hands.

        Raises ``ComponentRefusedError``, ``OSError`` or ``TimeoutError``.
        """
        loop = asyncio.get_running_loop()
        wire = _Wire(self._domain, self)
        async with asyncio.timeout(10):
            await loop.create_connection(lambda: wire, host, port)
        try:
            async with asyncio.timeout(10):
                accepted = await self.accepted
        except BaseException:
            self.abort()
            raise
        if not accepted:
            raise self.refusal or NotConnectedError(self.condition or "closed")

    async def alone(self) -> bool:
        """Tell whether all that goes to our domain comes to us.

        ejabberd lets two bridges share a domain, and deals the stanzas out at random.
        Raises ``TimeoutError`` if the server routes nothing at all.
        """
        self._probes = {self.questions.name() for _ in range(PROBES)}
        for name in tuple(self._probes):
            self._ping(name)
        try:
            async with asyncio.timeout(PROBE_S):
                await self._probed
        except TimeoutError:
            if len(self._probes) == PROBES:
                raise
            return False
        return not self._probes

    def begin(self) -> None:
        """Hand on what has come since the handshake, and from now on what comes.

        What was handed on sooner could not be answered: nobody wrote here yet.
        """
        held, self._held = self._held or (), None
        for stanza in held:
            self._try(self._received, stanza)

    async def leave(self, within_s: float) -> None:
        """End the stream once the server says that it has routed what was written."""
        if not self.over.done():
            self.transport.resume_reading()  # its answer may be behind other stanzas
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                self.all_routed = await self.barrier.passed()
        await self.close(within_s)

    async def close(self, within_s: float) -> None:
        """End the stream once all that is written has gone, or time is up."""
        self.outlet.put(b"</stream:stream>")
        self.outlet.flush()
        await asyncio.wait([self.over], timeout=within_s)
        self.abort()

    def abort(self) -> None:
        """Cut the connection."""
        if not self.over.done():
            self.transport.abort()

    def opened(self, transport: asyncio.Transport) -> None:
        """Take note that there is a connection."""
        self.transport = transport
        self.outlet = Outlet(transport, self._written)

    def arrived(self, chunk: bytes) -> None:
        """Read *chunk* and act on every stanza that it completes."""
        try:
            stanzas = self._skipper.feed(chunk)
        except BadStreamError as error:
            logger.error("the XMPP server sent what cannot be read: %s", error)  # noqa: TRY400 - no traceback: it would show contents
            self.abort()
            return
        if not self._greeted and self._reader.root is not None:
            self._greet(self._reader.root)
        for stanza in stanzas:
            self._try(self._route, stanza)
        if self._reader.refused:
            self._turn_away()
        if self._greeted and not self._reader.depth:
            # RFC 6120 §4.4: the server has ended its stream, and hears nothing more.
            self.transport.close()

    def _try(self, take: Callable[[Element], None], stanza: Element) -> None:
        try:
            take(stanza)
        except Exception:
            logger.exception("a stanza was lost by a fault of the bridge")

    def lost(self) -> None:
        """Take note that the connection is gone."""
        if self.over.done():
            return
        self.over.set_result(None)
        for future in (self.accepted, self._probed):
            if not future.done():
                future.set_result(None)  # type: ignore[arg-type] # falsy is what counts
        self.outlet.close()
        self.questions.fail()
        self.barrier.fail()
        self.begin()  # it was handed over to us: nobody else has it
        self._ended(self)

    def _greet(self, header: Element) -> None:
        """Answer the stream header; XEP-0114 §3."""
        self._greeted = True
        proof = hashlib.sha1(  # noqa: S324 - the XEP knows no other
            (header.get("id", "") + self._secret).encode()
        ).hexdigest()
        self.transport.write(b"<handshake>" + proof.encode() + b"</handshake>")

    def _hand_on(self, stanza: Element) -> None:
        if self._held is None:
            self._received(stanza)
        else:
            self._held.append(stanza)

    def _route(self, stanza: Element) -> None:
        if stanza.tag.startswith(_CLIENT):
            _adapt(stanza)
        tag = stanza.tag
        if tag in (_MESSAGE, _PRESENCE):
            self._hand_on(stanza)
        elif tag == _IQ:
            self._route_iq(stanza)
        elif tag == _HANDSHAKE:
            if not self.accepted.done():
                self.accepted.set_result(True)
        elif tag == _ERROR:
            self._fail(stanza)

    def _route_iq(self, iq: Element) -> None:
        if iq.get("type") not in ("get", "set"):
            if not self.questions.settle(iq):
                logger.debug("an answer that nobody waits for was dropped")
        elif iq.get("from") == self._domain == iq.get("to"):
            self._echo(iq.get("id", ""))
        else:
            answer = self._disco.service(iq)
            if answer is None:
                self._hand_on(iq)
            else:
                self._reply(answer)

    def _echo(self, name: str) -> None:
        """Take note that our own ping is back: its way here is all it was to show."""
        if name in self._probes:
            self._probes.remove(name)
            if not self._probes and not self._probed.done():
                self._probed.set_result(None)
        else:
            self.barrier.came(name)

    def _sound(self, name: str) -> None:
        self._written_before = self.outlet.count
        self._ping(name)

    def _routed(self) -> None:
        self._written.arrived(self._written_before)

    def _ping(self, name: str) -> None:
        attributes = {"from": self._domain, "to": self._domain, "id": name}
        ping = node("iq", {**attributes, "type": "get"}, node("ping", {"xmlns": PING}))
        self.outlet.put(serialise(ping, self._domain))

    def _reply(self, answer: Node) -> None:
        try:
            self.outlet.put(serialise(answer, self._domain))
        except StanzaError as error:
            logger.debug("a question cannot be answered: %s", error)

    def _turn_away(self) -> None:
        """Tell the senders of what was too large to be read."""
        refused, self._reader.refused = self._reader.refused, []
        for stanza in refused:
            if stanza.tag.startswith(_CLIENT):
                _adapt(stanza)
            logger.info("a stanza was too large or too deep to be read")
            if _is_of_a_room(stanza):
                # An error would have us put out of the room.
                stanza.tag = UNREAD
                self._hand_on(stanza)
            elif replies.may_answer(stanza) and stanza.tag in (_MESSAGE, _IQ):
                self._reply(replies.error(stanza, "modify", "policy-violation"))

    def _fail(self, error: Element) -> None:
        """Read a stream error; the server closes the connection after it."""
        for child in error:
            namespace, _, name = child.tag.rpartition("}")
            if namespace + "}" == _STREAMS and name != "text":
                self.condition = name
        if self.condition in _REMEDIES:
            remedy = _REMEDIES[self.condition]
            self.refusal = ComponentRefusedError(self.condition, remedy)
        self.abort()


class _Wire(ComponentXMPP):
    """What of slixmpp carries a session: the stream's header and the transport.

    None of its routing is reached: several of its stock parts answer wrongly for a
    component, and all of it is slow.
    """

    def __init__(self, domain: str, session: Session) -> None:
        super().__init__(domain, "")
        self._bridge_session = session

    @override
    def connection_made(
        self,
        transport: asyncio.BaseTransport,
        send_event: bool = True,
    ) -> None:
        self._bridge_session.opened(cast("asyncio.Transport", transport))
        super().connection_made(transport, send_event)

    @override
    def data_received(self, data: bytes | str) -> None:
        self._bridge_session.arrived(cast("bytes", data))

    @override
    def eof_received(self) -> None:
        """Let the transport close itself."""

    @override
    def connection_lost(self, exception: BaseException | None) -> None:
        logger.debug("the connection ended: %s", exception)
        self.parser = None
        self.transport = None
        self.socket = None
        self._bridge_session.lost()

    @override
    def pause_writing(self) -> None:
        self._bridge_session.outlet.pause()

    @override
    def resume_writing(self) -> None:
        self._bridge_session.outlet.resume()


def _is_of_a_room(stanza: Element) -> bool:
    """Tell whether a message was said in a room elsewhere, and not in one of ours."""
    is_said = stanza.tag == _MESSAGE and stanza.get("type") == "groupchat"
    return is_said and stanza.get("to", "")[:1] not in ("#", "!")


def _adapt(stanza: Element) -> None:
    """Give a stanza of clients' namespace the one that components speak."""
    prefix = "{" + COMPONENT + "}"
    for element in (stanza, *stanza):
        if element.tag.startswith(_CLIENT):
            element.tag = prefix + element.tag[len(_CLIENT) :]
