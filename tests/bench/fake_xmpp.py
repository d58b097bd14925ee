"""An XMPP server for one component that costs almost nothing.

It routes what the component sends to itself, answers pings and disco, and keeps MUCs
of the kind a native server has, as far as a bridge can tell the difference.
"""

import asyncio
import hashlib
import itertools
import re
from collections.abc import Callable
from typing import cast

DOMAIN = "bridge.bench"
MUC = "room@muc.bench"
SECRET = "bench"

_STANZA = re.compile(
    rb"<(message|presence|iq)\b((?:[^>'\"]|'[^']*'|\"[^\"]*\")*?)(?:/>|>(.*?)</\1>)",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(rb"(\w+)=(?:'([^']*)'|\"([^\"]*)\")")
_BODY = re.compile(rb"<body[^>]*>(.*?)</body>", re.DOTALL)


class FakeXmpp:
    """The server side of a component's stream."""

    def __init__(self, on_text: Callable[[str, bytes], None]) -> None:
        self._on_text = on_text
        self._transport: asyncio.Transport | None = None
        self._ids = itertools.count(1)
        self.joined = 0
        self.ready = asyncio.Event()
        self.bridge_occupants: dict[bytes, bytes] = {}
        self._nicks: dict[bytes, bytes] = {}

    async def listen(self) -> int:
        """Serve on a free port and return it."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Stream(self), "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    def write(self, data: bytes) -> None:
        """Send bytes to the component."""
        assert self._transport is not None
        self._transport.write(data)

    def connected(self, transport: asyncio.Transport) -> None:
        """Take note that the component has shaken hands."""
        self._transport = transport
        self.bridge_occupants.clear()
        self.ready.set()

    def says(self, room: str, sender: str, body: str) -> None:
        """Let an XMPP user write to a room that the bridge hosts."""
        self.write(
            b"<message from='%s' to='%s' type='groupchat' id='x%d'><body>%s</body>"
            b"</message>"
            % (sender.encode(), room.encode(), next(self._ids), body.encode())
        )

    def enters(self, room: str, sender: str, nick: str) -> None:
        """Let an XMPP user join a room that the bridge hosts."""
        self.write(
            b"<presence from='%s' to='%s/%s'>"
            b"<x xmlns='http://jabber.org/protocol/muc'/></presence>"
            % (sender.encode(), room.encode(), nick.encode())
        )

    def muc_says(self, nick: str, body: str) -> None:
        """Let a native occupant of the MUC write to it."""
        number = next(self._ids)
        self._to_all(
            b"<message from='%s/%s' type='groupchat' id='n%d' to='"
            % (MUC.encode(), nick.encode(), number),
            b"'><body>%s</body><stanza-id xmlns='urn:xmpp:sid:0' by='%s' id='s%d'/>"
            b"<occupant-id xmlns='urn:xmpp:occupant-id:0' id='occ-%s'/></message>"
            % (body.encode(), MUC.encode(), number, nick.encode()),
        )

    def _to_all(self, before: bytes, after: bytes) -> None:
        jids = list(self.bridge_occupants.values())
        self.write(b"".join(before + jid + after for jid in jids))

    def stanza(self, match: re.Match[bytes]) -> None:
        """Do what a server does with a stanza of the component."""
        kind, head, inner = match[1], match[2], match[3] or b""
        attributes = {m[1]: m[2] or m[3] or b"" for m in _ATTRIBUTE.finditer(head)}
        to = attributes.get(b"to", b"")
        domain = to.partition(b"/")[0].rpartition(b"@")[2]
        if domain == DOMAIN.encode():
            self.write(match[0])
        elif to.startswith(MUC.encode()):
            self._muc(kind, attributes, inner)
        elif kind == b"message":
            if (body := _BODY.search(inner)) is not None:
                self._on_text(to.decode(), body[1])
        elif kind == b"iq" and attributes.get(b"type") in (b"get", b"set"):
            self._result(attributes, b"")
        elif kind == b"presence" and b"code='110'" in inner.replace(b'"', b"'"):
            self.joined += 1

    def _result(self, attributes: dict[bytes, bytes], payload: bytes) -> None:
        self.write(
            b"<iq type='result' id='%s' from='%s' to='%s'>%s</iq>"
            % (attributes[b"id"], attributes[b"to"], attributes[b"from"], payload)
        )

    def _muc(self, kind: bytes, attributes: dict[bytes, bytes], inner: bytes) -> None:
        if kind == b"iq":
            self._muc_iq(attributes, inner)
        elif kind == b"presence":
            self._muc_presence(attributes)
        elif attributes.get(b"type") == b"groupchat":
            self._muc_message(attributes, inner)

    def _muc_iq(self, attributes: dict[bytes, bytes], inner: bytes) -> None:
        if b"disco#info" in inner:
            self._result(attributes, _DISCO)
        elif b"urn:xmpp:mam:2" in inner:
            self._result(attributes, b"<fin xmlns='urn:xmpp:mam:2' complete='true'/>")
        else:
            self._result(attributes, b"")

    def _muc_presence(self, attributes: dict[bytes, bytes]) -> None:
        sender, to = attributes[b"from"], attributes[b"to"]
        nick = to.partition(b"/")[2]
        if attributes.get(b"type") == b"unavailable":
            self._nicks.pop(self.bridge_occupants.pop(nick, b""), None)
            return
        if nick in self.bridge_occupants:
            return
        item = (
            b"<x xmlns='http://jabber.org/protocol/muc#user'>"
            b"<item affiliation='none' role='participant'/>%s</x>"
            b"<occupant-id xmlns='urn:xmpp:occupant-id:0' id='occ-%s'/></presence>"
        )
        before = b"<presence from='%s' to='" % to
        self._to_all(before, b"'>" + item % (b"", nick))
        self.bridge_occupants[nick] = sender
        self._nicks[sender] = nick
        own = item % (b"<status code='110'/>", nick)
        subject = b"<message type='groupchat' from='%s' to='%s'><subject/></message>"
        self.write(before + sender + b"'>" + own + subject % (MUC.encode(), sender))

    def _muc_message(self, attributes: dict[bytes, bytes], inner: bytes) -> None:
        sender = attributes[b"from"]
        nick = self._nicks.get(sender)
        if nick is None:
            return
        number = next(self._ids)
        if (body := _BODY.search(inner)) is not None:
            self._on_text(MUC, body[1])
        self._to_all(
            b"<message from='%s/%s' type='groupchat' id='%s' to='"
            % (MUC.encode(), nick, attributes.get(b"id", b"")),
            b"'>%s<stanza-id xmlns='urn:xmpp:sid:0' by='%s' id='s%d'/>"
            b"<occupant-id xmlns='urn:xmpp:occupant-id:0' id='occ-%s'/></message>"
            % (inner, MUC.encode(), number, nick),
        )


_FEATURES = ("http://jabber.org/protocol/muc", "urn:xmpp:sid:0", "urn:xmpp:mam:2")
_DISCO = (
    "<query xmlns='http://jabber.org/protocol/disco#info'>"
    "<identity category='conference' type='text' name='Bench'/>"
    + "".join(f"<feature var='{name}'/>" for name in _FEATURES)
    + "<feature var='http://jabber.org/protocol/muc#stable_id'/>"
    "<feature var='urn:xmpp:occupant-id:0'/>"
    "<feature var='muc_semianonymous'/><feature var='muc_open'/></query>"
).encode()


class _Stream(asyncio.Protocol):
    """XEP-0114, the server's side."""

    def __init__(self, server: FakeXmpp) -> None:
        self._server = server
        self._buffer = b""
        self._open = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._open and not self._shake_hands():
            return
        end = 0
        for match in _STANZA.finditer(self._buffer):
            end = match.end()
            self._server.stanza(match)
        self._buffer = self._buffer[end:]

    def _shake_hands(self) -> bool:
        assert self._transport is not None
        if b"<stream:stream" in self._buffer and b">" in self._buffer:
            self._buffer = self._buffer.split(b">", 2 if b"?>" in self._buffer else 1)[
                -1
            ]
            self._transport.write(
                b"<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept'"
                b" xmlns:stream='http://etherx.jabber.org/streams' from='%s' id='b1'>"
                % DOMAIN.encode()
            )
        digest = hashlib.sha1(f"b1{SECRET}".encode(), usedforsecurity=False).hexdigest()
        if (end := self._buffer.find(b"</handshake>")) < 0:
            return False
        assert digest.encode() in self._buffer
        self._buffer = self._buffer[end + 12 :]
        self._open = True
        self._transport.write(b"<handshake/>")
        self._server.connected(self._transport)
        return True
