"""XMPP clients in a process of their own, led by JSON lines on stdin and stdout.

Of their own, because a client and a component of slixmpp cannot share an interpreter:
the component changes the namespace of the stanza classes.

In: ``{"who", "do": "login", "jid", "password", "host", "port"}``,
``{"who", "do": "send", "xml"}``, ``{"who", "do": "logout"}``,
``{"who", "do": "vanish"}``.
Out: ``{"who", "kind": "online" | "offline" | "failed" | "stanza", "text"}``.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import slixmpp
from slixmpp.exceptions import IqError
from slixmpp.xmlstream import StanzaBase, tostring
from slixmpp.xmlstream.xmlstream import NotConnectedError

Tell = Callable[[str, str], None]


class Client(slixmpp.ClientXMPP):
    """One device: tells all that it receives, and sends what it is told."""

    def __init__(self, jid: str, password: str, tell: Tell) -> None:
        super().__init__(jid, password)
        self._tell = tell
        self._password = password
        # Loopback: neither certificates nor encryption.
        self.enable_direct_tls = self.enable_starttls = False
        self.enable_plaintext = True
        self.plugin["feature_mechanisms"].unencrypted_scram = True
        self.plugin["feature_mechanisms"].unencrypted_plain = True
        self.register_plugin("xep_0077")
        self.register_plugin("xep_0199")
        self.plugin["xep_0077"].force_registration = True
        self.add_event_handler("register", self._register)
        self.add_event_handler("session_start", self._online)
        self.add_event_handler("disconnected", self._offline)
        self.add_event_handler("failed_all_auth", self._failed)
        self.add_filter("in", self._hear)

    async def _register(self, _: object) -> None:
        asked = self.Iq()
        asked["type"] = "set"
        asked["register"]["username"] = self.boundjid.user
        asked["register"]["password"] = self._password
        try:
            await asked.send()
        except IqError as error:
            # The account is there since the last time.
            if error.iq["error"]["condition"] != "conflict":
                self._tell("failed", f"registration: {error.condition}")

    def _online(self, _: object) -> None:
        self._tell("online", self.boundjid.full)

    def _offline(self, why: object) -> None:
        self._tell("offline", str(why or ""))

    def _failed(self, _: object) -> None:
        self._tell("failed", "wrong password")

    def _hear(self, stanza: StanzaBase) -> StanzaBase:
        if stanza.name in {"message", "presence", "iq"}:
            self._tell("stanza", tostring(stanza.xml, top_level=True))
        return stanza


class Clients:
    """All the devices of one process."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._clients: dict[str, Client] = {}
        self._unsent: dict[str, list[str]] = {}

    def obey(self, order: dict[str, Any]) -> None:
        """Do what one line asks for."""
        who, do = order["who"], order["do"]
        if do == "login":
            client = self._clients[who] = self.make(order, self._teller(who))
            _ = client.connect(order["host"], order["port"])
        elif do == "send":
            self._send(who, order["xml"])
        elif do == "logout":
            _ = self._clients[who].disconnect()
        elif do == "vanish":
            # As when the power goes: the connection breaks without a word.
            self._clients[who].abort()

    def make(self, order: dict[str, Any], tell: Tell) -> Client:
        """Make the device that is to log in."""
        return Client(order["jid"], order["password"], tell)

    def _send(self, who: str, xml: str) -> None:
        """Send *xml* now, or, as devices do, when there is a connection again."""
        try:
            self._clients[who].send_raw(xml)
        except NotConnectedError:
            self._unsent.setdefault(who, []).append(xml)

    def _teller(self, who: str) -> Tell:
        def tell(kind: str, text: str) -> None:
            line = json.dumps({"who": who, "kind": kind, "text": text})
            self._write(line.encode() + b"\n")
            if kind == "online":
                for xml in self._unsent.pop(who, ()):
                    self._send(who, xml)

        return tell


async def main(kind: type[Clients] = Clients) -> None:
    """Obey stdin until it ends."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    # Buffers what is not read yet: stanzas are taken in even if nobody listens.
    out, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sys.stdout)
    clients = kind(out.write)
    while line := await lines.readline():
        clients.obey(json.loads(line))


if __name__ == "__main__":
    asyncio.run(main())
