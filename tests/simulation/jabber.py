"""An XMPP server: one component stream, people who chat, occupants, and MUCs.

The stream acknowledges nothing (fact F7). While the component is away its people keep
what was not answered and write it again; a MUC keeps an archive, and puts the puppets
out at the first message that finds them gone (F10).
"""

from collections.abc import Callable
from typing import Protocol

from tests.simulation.loop import Process
from tests.simulation.net import DownError, Net, Pipe
from tests.simulation.stanza import Stanza

PAGE = 5

_END = Stanza("end", "", "")


class Port(Protocol):
    """The component's end of its stream."""

    def received(self, stanza: Stanza) -> None:
        """Take what comes."""

    def down(self) -> None:
        """Learn that the stream is lost."""


class Link:
    """A component's stream."""

    def __init__(self, server: "JabberServer", process: Process, port: Port) -> None:
        self.open = True
        self.process = process
        self._server = server
        self._port = port
        self.inward = Pipe(server.net, port.received, process)
        self.outward = Pipe(server.net, self._took, None)
        process.died.append(lambda: self.outward.put(_END))

    def sever(self) -> None:
        """Break it, and lose what is on its way; both sides notice."""
        if not self.open:
            return
        self.open = False
        self._server.severed += 1
        self.inward.cut()
        self.outward.cut()
        self._server.gone(self)
        loop = self._server.net.loop
        loop.call_soon(self._port.down, context=self.process.context)

    def _took(self, stanza: Stanza) -> None:
        if stanza is _END:
            self.open = False
            self._server.gone(self)
        else:
            self._server.took(stanza, self)


class Person:
    """Somebody of XMPP who writes to the bridge, until they know that it came.

    *heard* is what they are shown: the id that tells it from others, and the words.
    """

    def __init__(self, jid: str, to: str, kind: str, server: "JabberServer") -> None:
        self.jid = jid
        self.heard: list[tuple[str, str]] = []
        self.told: list[str] = []
        self.waiting: dict[str, str] = {}
        self._kind = kind
        self._to = to
        self._server = server

    def say(self, text: str) -> None:
        """Write *text*."""
        name = f"{self.jid}-{text}"
        self.waiting[name] = text
        self._write(name, text)

    def again(self) -> None:
        """Write all again that was not answered; the bridge is back."""
        for name, text in self.waiting.items():
            self._write(name, text)

    def received(self, stanza: Stanza) -> Stanza | None:
        """Take what the bridge sends; return what comes back."""
        match stanza.kind:
            case "receipt":
                self.waiting.pop(stanza.id, None)
            case "error":
                self.told.append(stanza.id.removeprefix(f"{self.jid}-"))
                self.waiting.pop(stanza.id, None)
            case _ if "forbidden" in stanza.text and stanza.kind == "chat":
                return Stanza("error", self.jid, stanza.sender, stanza.id)
            case _:
                self.heard.append((stanza.name or stanza.id, stanza.text))
                self.waiting.pop(stanza.id, None)
        return None

    def _write(self, name: str, text: str) -> None:
        link = self._server.link
        if link is not None:
            link.inward.put(Stanza(self._kind, self.jid, self._to, name, text))


class Muc:
    """A MUC with an archive; *listener* hears for the component."""

    def __init__(self, address: str, server: "JabberServer") -> None:
        self.address = address
        self.archive: list[Stanza] = []
        self.occupants: set[str] = set()
        self._server = server

    def say(self, nick: str, text: str) -> None:
        """Let an occupant from elsewhere say something."""
        self._show(Stanza("groupchat", nick, self.address, f"{nick}-{text}", text))

    def kick(self, jid: str) -> None:
        """Put somebody of the component out."""
        if jid in self.occupants:
            self.occupants.discard(jid)
            self._send(Stanza("unavailable", self.address, jid))

    def took(self, stanza: Stanza) -> None:
        """Take what comes from the component."""
        match stanza.kind:
            case "presence":
                self.occupants.add(stanza.sender)
                self._send(Stanza("presence", self.address, stanza.sender))
            case "query":
                self._send(self._page(stanza))
            case _ if stanza.sender not in self.occupants:
                self._bounce(stanza, "not-acceptable")
            case _ if "forbidden" in stanza.text and stanza.text[:5] != "told ":
                self._bounce(stanza, "forbidden")
            case _:
                self._show(stanza)

    def _show(self, stanza: Stanza) -> None:
        name = str(len(self.archive) + 1)
        shown = Stanza(
            "groupchat", stanza.sender, self.address, stanza.id, stanza.text, name
        )
        self.archive.append(shown)
        if self._server.link is None:
            self.occupants.clear()
        elif self._server.listener in self.occupants:
            self._send(shown)

    def _bounce(self, stanza: Stanza, why: str) -> None:
        error = Stanza("error", self.address, stanza.sender, stanza.id, why)
        self._send(error)

    def _page(self, query: Stanza) -> Stanza:
        """Answer a query for what came after an archived message, or for the last."""
        if query.text == "newest":
            items, complete = self.archive[-1:], True
        else:
            start = int(query.text or 0)
            items = self.archive[start : start + PAGE]
            complete = start + PAGE >= len(self.archive)
        return Stanza(
            "fin", self.address, query.sender, query.id, "", "", tuple(items), complete
        )

    def _send(self, stanza: Stanza) -> None:
        if self._server.link is not None:
            self._server.link.inward.put(stanza)


class JabberServer:
    """See above; *listener* is the JID that listens in MUCs.

    *severed* counts the streams that were lost, or closed, with what was under way.
    """

    listener = "bot@b/listener"

    def __init__(self, net: Net) -> None:
        self.net = net
        self.up = True
        self.severed = 0
        self.link: Link | None = None
        self.people: dict[str, Person] = {}
        self.mucs: dict[str, Muc] = {}

    def connect(self, process: Process, port: Port) -> Callable[[], Link]:
        """Accept a component's stream; a second one is refused."""

        def act() -> Link:
            if not self.up:
                raise DownError("connection refused")
            if self.link is not None:
                raise DownError("conflict")
            if not process.alive:
                raise DownError("nobody there")
            self.link = Link(self, process, port)
            # Who waits for an answer learns that the bridge is back.
            for person in self.people.values():
                person.again()
            return self.link

        return act

    def restart(self) -> None:
        """Fall: MUCs forget who is in them, and keep their archives.

        What a process that has died just before has left to the kernel gets through;
        see ``World._cut``.
        """
        self.up = False
        for muc in self.mucs.values():
            muc.occupants.clear()
        if self.link is not None and self.link.process.alive:
            self.link.sever()

    def gone(self, link: Link) -> None:
        """Take note that a stream has ended."""
        if self.link is link:
            self.link = None

    def took(self, stanza: Stanza, link: Link) -> None:
        """Bring what the component sends to whom it is for."""
        if stanza.kind == "ping":
            if link.open:
                link.inward.put(Stanza("pong", stanza.to, stanza.sender, stanza.id))
        elif (muc := self.mucs.get(stanza.to)) is not None:
            muc.took(stanza)
        elif (person := self.people.get(stanza.to)) is not None:
            back = person.received(stanza)
            if back is not None and link.open:
                link.inward.put(back)
