"""People on XMPP, as a test or the demonstration leads them."""

import asyncio
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element, SubElement

from deploy.lab.gateway import XmppServer
from deploy.lab.heard import PATIENCE_S, Ears, Heard, NotHeardError
from deploy.lab.ports import HOST
from deploy.lab.stanzas import (
    MAM,
    MUC,
    RSM,
    SELF,
    bare,
    condition,
    heard,
    ping,
    resource,
    statuses,
    tag,
)
from deploy.lab.venvs import ROOT

PROGRAM = "deploy.lab.xmpp_client"


@dataclass(slots=True)
class Entered:
    """What a room told somebody who came in, in the order of XEP-0045 §7.2."""

    nick: str
    occupants: list[str] = field(default_factory=list)
    codes: set[str] = field(default_factory=set)
    history: list[Heard] = field(default_factory=list)
    subject: str = ""


class Cast:
    """All the XMPP devices of one scenario: one process, and who is who in it."""

    def __init__(
        self, python: Path, server: XmppServer, program: str = PROGRAM
    ) -> None:
        self.server = server
        self._python = python
        self._program = program
        self._people: dict[str, XmppPerson] = {}
        self._reading = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            self._python,
            "-m",
            self._program,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            limit=1 << 24,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is None or self._process.stdin is None:
            return
        self._process.stdin.close()
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def person(
        self, name: str, *, jid: str = "", password: str = "", device: str = "desk"
    ) -> "XmppPerson":
        """Return somebody who is online; their account is made if need be."""
        if not jid:
            jid = f"{name}-{secrets.token_hex(3)}@{self.server.host}"
        person = XmppPerson(self, name, jid, password or "secret", device)
        await self.enter(person)
        return person

    async def enter(self, person: "XmppPerson") -> None:
        """Let somebody log in."""
        self._people[person.full] = person
        await person.log_in()

    async def order(self, who: str, do: str, **words: object) -> None:
        """Tell the device *who* what to do."""
        if self._process is None or self._process.stdin is None:
            raise NotHeardError("the XMPP clients do not run")
        line = json.dumps({"who": who, "do": do, **words})
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()

    async def pull(self, within_s: float) -> None:
        """Take in what some device has heard."""
        await self._take(min(within_s, 1.0))

    async def catch_up(self) -> None:
        """Take in all that the devices have heard by now."""
        while await self._take(0.0):
            pass

    async def _take(self, within_s: float) -> bool:
        async with self._reading:
            if self._process is None or self._process.stdout is None:
                raise NotHeardError("the XMPP clients do not run")
            try:
                async with asyncio.timeout(within_s):
                    line = await self._process.stdout.readline()
            except TimeoutError:
                return False
            if not line:
                raise NotHeardError("the XMPP clients have ended")
            told = json.loads(line)
            self._people[told["who"]].take(told["kind"], told["text"])
            return True


class XmppPerson:
    """Somebody with one device."""

    def __init__(
        self, cast: Cast, name: str, jid: str, password: str, device: str
    ) -> None:
        self.name = name
        self.jid = jid
        self.password = password
        self.device = device
        self.state = ""
        self.presences: list[Element] = []
        self.errors: list[Element] = []
        self.all: list[Element] = []
        self.subjects: dict[str, str] = {}
        self.more: dict[str, str] = {}
        self._cast = cast
        self._ears = Ears(name, cast.pull)
        self.hears = self._ears.hears
        self.hears_next = self._ears.next
        self.hears_unordered = self._ears.hears_unordered
        self.all_heard = self._ears.all_heard
        self.count = self._ears.count
        self.until = self._ears.until
        self.catch_up = cast.catch_up
        self._answers: dict[str, Element] = {}
        self._archived: list[Heard] = []

    @property
    def full(self) -> str:
        """The JID with its resource."""
        return f"{self.jid}/{self.device}"

    async def log_in(self) -> None:
        """Connect, and be available."""
        server = self._cast.server
        self.state = ""
        await self._cast.order(
            self.full,
            "login",
            jid=self.full,
            password=self.password,
            host=HOST,
            port=server.c2s_port,
            **self.more,
        )
        await self.until(lambda: self.state or None, "a session")
        if self.state != "online":
            raise NotHeardError(f"{self.jid} cannot log in: {self.state}")
        await self.send(Element("presence"))

    async def log_out(self) -> None:
        """Go offline."""
        await self._cast.order(self.full, "logout")
        await self.until(lambda: self.state == "offline" or None, "the end")

    async def comes_back(self) -> None:
        """Log in again, once it is known that the connection has ended."""
        await self.until(lambda: self.state == "offline" or None, "the end")
        await self.log_in()

    async def vanishes(self) -> None:
        """Break the connection without a word."""
        await self._cast.order(self.full, "vanish")
        await self.until(lambda: self.state == "offline" or None, "the end")

    async def send(self, stanza: Element) -> str:
        """Send a stanza; return its id."""
        stanza.attrib.setdefault("id", secrets.token_hex(6))
        xml = ET.tostring(stanza, "unicode")
        await self._cast.order(self.full, "send", xml=xml)
        return stanza.attrib["id"]

    async def says(self, to: str, text: str, id: str = "") -> str:  # noqa: A002 - as on the wire
        """Say *text* in a chat with somebody; return the message's id."""
        return await self._say("chat", to, text, id)

    async def says_in(self, room: str, text: str, id: str = "") -> str:  # noqa: A002 - as on the wire
        """Say *text* in a room; return the message's id."""
        return await self._say("groupchat", room, text, id)

    async def asks(
        self,
        to: str,
        query: Element,
        kind: str = "get",
        within_s: float = PATIENCE_S,
    ) -> Element:
        """Send an IQ; return the answer, whether a result or an error."""
        asked = Element("iq", {"type": kind, "to": to})
        asked.append(query)
        number = await self.send(asked)
        return await self.until(
            lambda: self._answers.pop(number, None), f"an answer of {to}", within_s
        )

    async def joins(
        self, room: str, nick: str, *, history: int | None = None
    ) -> Entered:
        """Enter a room; check the order of what it tells (XEP-0045 §7.2)."""
        presence = Element("presence", {"to": f"{room}/{nick}"})
        x = SubElement(presence, "x", {"xmlns": MUC})
        if history is not None:
            SubElement(x, "history", {"maxstanzas": str(history)})
        number = await self.send(presence)
        entered = Entered(nick)
        self.subjects.pop(room, None)
        self.presences.clear()
        me = await self.until(
            lambda: self._find_self(room, number, entered), f"to be in {room}"
        )
        if me.get("type") == "error":
            raise NotHeardError(f"{self.name} cannot enter {room}: {condition(me)}")
        await self.until(
            lambda: "" if room in self.subjects else None, f"the subject of {room}"
        )
        entered.history = self.all_heard(room)
        entered.subject = self.subjects[room]
        return entered

    async def renames(self, room: str, nick: str) -> Element:
        """Take another nick; return the presence that says so (XEP-0045 §7.6)."""
        await self.send(Element("presence", {"to": f"{room}/{nick}"}))
        return await self.sees(
            lambda p: (
                p.get("from") == f"{room}/{nick}"
                and p.get("type") is None
                and SELF in statuses(p)
            ),
            f"to be called {nick}",
        )

    async def sets_subject(self, room: str, subject: str) -> None:
        """Change the subject of a room (XEP-0045 §8.1)."""
        message = Element("message", {"type": "groupchat", "to": room})
        SubElement(message, "subject").text = subject
        await self.send(message)

    async def leaves(self, room: str, nick: str) -> None:
        """Leave a room, and wait for its word."""
        await self.send(
            Element("presence", {"to": f"{room}/{nick}", "type": "unavailable"})
        )
        await self.sees(
            lambda p: p.get("type") == "unavailable" and SELF in statuses(p),
            f"that {self.name} has left {room}",
        )

    async def sees(
        self,
        wanted: Callable[[Element], bool],
        what: str,
        within_s: float = PATIENCE_S,
    ) -> Element:
        """Wait for a presence, and take it."""

        def take() -> Element | None:
            for presence in self.presences:
                if wanted(presence):
                    self.presences.remove(presence)
                    return presence
            return None

        return await self.until(take, what, within_s)

    async def sees_come(self, room: str, nick: str) -> Element:
        """Wait until somebody is in a room."""
        return await self.sees(
            lambda p: p.get("from") == f"{room}/{nick}" and p.get("type") is None,
            f"{nick} to come into {room}",
        )

    async def sees_go(self, room: str, nick: str) -> Element:
        """Wait until somebody has left a room."""
        return await self.sees(
            lambda p: (
                p.get("from") == f"{room}/{nick}" and p.get("type") == "unavailable"
            ),
            f"{nick} to leave {room}",
        )

    async def archive(self, room: str) -> list[Heard]:
        """Read all of a room's archive (XEP-0313)."""
        self._archived.clear()
        last = ""
        while True:
            query = Element("query", {"xmlns": MAM})
            page = SubElement(query, "set", {"xmlns": RSM})
            SubElement(page, "max").text = "50"
            if last:
                SubElement(page, "after").text = last
            fin = (await self.asks(room, query, "set")).find(tag("fin", MAM))
            if fin is None:
                raise NotHeardError(f"{room} has no archive")
            last = fin.findtext(f".//{tag('last', RSM)}", "")
            if fin.get("complete") == "true" or not last:
                return list(self._archived)

    async def is_refused(self, number: str, within_s: float = PATIENCE_S) -> Element:
        """Wait until the message of that id comes back as an error."""

        def take() -> Element | None:
            for error in self.errors:
                if error.get("id") == number:
                    self.errors.remove(error)
                    return error
            return None

        return await self.until(take, f"an error for {number}", within_s)

    async def has_passed(self, to: str) -> None:
        """Wait until all that was sent to *to*'s domain before has been routed."""
        await self.asks(to, ping())

    def take(self, kind: str, text: str) -> None:
        """Take in what the device tells."""
        if kind != "stanza":
            self.state = kind if kind != "failed" else text
            return
        stanza = ET.XML(text)
        self.all.append(stanza)
        match stanza.tag.rpartition("}")[2]:
            case "message":
                self._take_message(stanza)
            case "presence":
                self.presences.append(stanza)
            case "iq" if stanza.get("type") in {"result", "error"}:
                self._answers[stanza.get("id", "")] = stanza

    async def _say(self, kind: str, to: str, text: str, number: str) -> str:
        message = Element("message", {"type": kind, "to": to})
        if number:
            message.set("id", number)
        SubElement(message, "body").text = text
        return await self.send(message)

    def _take_message(self, stanza: Element) -> None:
        if stanza.get("type") == "error":
            self.errors.append(stanza)
            return
        sender, body = stanza.get("from", ""), stanza.find(tag("body"))
        if (result := stanza.find(tag("result", MAM))) is not None:
            for kept in result.iter(tag("message")):
                if (said := kept.findtext(tag("body"))) is not None:
                    self._archived.append(heard(kept, said))
        elif body is not None:
            self._ears.put(heard(stanza, body.text or ""))
        elif (subject := stanza.find(tag("subject"))) is not None:
            self.subjects[bare(sender)] = subject.text or ""

    def _find_self(self, room: str, number: str, entered: Entered) -> Element | None:
        while self.presences:
            presence = self.presences.pop(0)
            sender = presence.get("from", "")
            if bare(sender) != room or not resource(sender):
                continue  # the room's own presence tells of its avatar
            if presence.get("id") == number and presence.get("type") == "error":
                return presence
            if SELF in statuses(presence):
                entered.nick, entered.codes = resource(sender), statuses(presence)
                return presence
            entered.occupants.append(resource(sender))
        return None
