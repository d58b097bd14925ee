"""A MUC service and an XMPP server that live in this process, as we see them."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from xml.etree.ElementTree import XML, Element, tostring
from xml.sax.saxutils import quoteattr

from bridge.model.delivery import (
    Parcel,
    Route,
    Wire,
)
from bridge.model.events import Message, Text
from bridge.model.places import Network, Person, PortalId, Ref, Room
from bridge.model.records import Kind, Portal
from bridge.model.text import RichText
from bridge.xmpp.codec.names import Jid, parse
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.component import IqError, NotConnectedError
from bridge.xmpp.gate import serialise
from bridge.xmpp.means import Means
from tests.fakes_store import FakeStore
from tests.unit.xmpp.elsewhere_core import Host, Intake

DOMAIN = "bridge.example"
MUC = "tea@muc.example"
ROOM = Room(Network.XMPP, MUC)
LISTENER = f"bridge@{DOMAIN}/listener"
ALICE = Person(Network.MATRIX, "@alice:hs.example")
BOB = Person(Network.MATRIX, "@bob:hs.example")
ALICES = f"alice_hs.example@{DOMAIN}/matrix"
BOBS = f"bob_hs.example@{DOMAIN}/matrix"
TEA = Portal(PortalId(7), Kind.FOREIGN, "!tea:hs.example", MUC, agent="@xmppbot")
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)

STREAM = "jabber:component:accept"
USER = "http://jabber.org/protocol/muc#user"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
FEATURES = (
    "http://jabber.org/protocol/muc",
    "urn:xmpp:mam:2",
    "urn:xmpp:sid:0",
    "urn:xmpp:occupant-id:0",
)


def stanzas(data: bytes | str) -> list[Element]:
    """Read stanzas as the stream reads them."""
    text = data if isinstance(data, str) else data.decode()
    return list(XML(f"<stream xmlns='{STREAM}'>{text}</stream>"))


def stanza(text: str) -> Element:
    """Read one stanza."""
    (only,) = stanzas(text)
    return only


def name_of(element: Element) -> str:
    """Return the name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def said(words: str, name: str = "$1", person: Person = ALICE) -> Message:
    """Let somebody of Matrix say *words*."""
    return Message(
        ref=Ref(Network.MATRIX, name),
        room=Room(Network.MATRIX, TEA.matrix),
        sender=person,
        sent_at=NOW,
        name=person.id[1:].partition(":")[0].title(),
        content=Text(RichText(words)),
    )


def route(portal: Portal = TEA) -> Route:
    """Lead from Matrix to the XMPP side of *portal*."""
    return Route(portal, Room(Network.XMPP, portal.xmpp))


def parcels(wires: Sequence[Wire], first: int = 1) -> list[Parcel]:
    """Put wires on their way."""
    return [Parcel(n, Network.XMPP, "7", w) for n, w in enumerate(wires, first)]


CROWD = 500


@dataclass
class Server:
    """An XMPP server with one MUC; *swallows* are JIDs that it does not listen to.

    A MUC that is *crowded* has many more, and shows nobody to whoever comes in.
    """

    connected: bool = True
    features: tuple[str, ...] = FEATURES
    exists: bool = True
    occupants: dict[str, str] = field(default_factory=dict)
    refuses: dict[str, str] = field(default_factory=dict)
    bounces: dict[str, str] = field(default_factory=dict)
    swallows: set[str] = field(default_factory=set)
    silent: bool = False
    crowded: bool = False
    members: list[str] = field(default_factory=list)
    archive: list[tuple[str, str]] = field(default_factory=list)
    page_max: int = 50
    subject: str = "<subject/>"
    received: Callable[[Element, Jid, Jid], None] = lambda *_: None
    written: list[Element] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def write(self, data: bytes, ids: Sequence[int] = ()) -> bool:
        if not self.connected:
            return False
        self.ids.extend(ids)
        for one in stanzas(data):
            self.written.append(one)
            self._take(one)
        return True

    async def barrier(self) -> bool:
        await asyncio.sleep(0)
        return self.connected

    async def ping(self, to: str, sender: str, timeout_s: float) -> bool:
        self.asked.append(("ping", to))
        await asyncio.sleep(0)
        return self.connected and not self.silent

    async def iq(
        self, kind: str, to: str, sender: str, payload: Node, timeout_s: float
    ) -> Element:
        if not self.connected:
            raise NotConnectedError
        iq = Node("iq", {"from": sender, "to": to, "id": "1", "type": kind}, (payload,))
        query = stanzas(serialise(iq, DOMAIN))[0][0]
        self.asked.append((name_of(query), to))
        condition, answer = self._answer(query, to, sender)
        passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(passed.set_result, None)
        await passed
        if condition:
            raise IqError(condition, "cancel", "")
        return answer

    def deliver(self, text: str) -> None:
        """Send something to the bridge, after all before it."""
        for one in stanzas(text):
            sender, to = parse(one.get("from", "")), parse(one.get("to", ""))
            assert sender is not None
            assert to is not None
            asyncio.get_running_loop().call_soon(self.received, one, sender, to)

    def says(self, nick: str, words: str, name: str = "x1", more: str = "") -> str:
        """Let an occupant say something; return its stanza-id."""
        return self._show(nick, f"<body>{words}</body>{more}", name)

    def enters(self, nick: str, jid: str, item: str = "") -> None:
        """Let somebody come in."""
        self.occupants[nick] = jid
        for to in self.ours():
            self.deliver(self._presence(nick, to, item))

    def leaves(self, nick: str, *, status: str = "", item: str = "") -> None:
        """Let somebody go, or be put out."""
        gone = self.occupants[nick]
        for to in self.ours():
            own = "<status code='110'/>" if to == gone else ""
            extra = f"{own}{status}"
            self.deliver(
                self._presence(nick, to, item, "type='unavailable'", extra=extra)
            )
        del self.occupants[nick]

    def ours(self) -> list[str]:
        """List the occupants that are of the bridge."""
        return [jid for jid in self.occupants.values() if DOMAIN in jid]

    def heard(self) -> list[str]:
        """List what was said in the room by the bridge."""
        bodies = (one.find(f"{{{STREAM}}}body") for one in self.written)
        return [body.text or "" for body in bodies if body is not None]

    def _take(self, one: Element) -> None:
        to, sender, kind = one.get("to", ""), one.get("from", ""), one.get("type")
        if not to.startswith(MUC):
            if (name := one.get("id", "")) in self.bounces:
                self._refuse(one, self.bounces[name])
        elif name_of(one) == "presence":
            self._enter(one, to.partition("/")[2], sender, kind)
        elif kind == "groupchat" and sender not in self.swallows:
            self._hear(one, sender)

    def _hear(self, one: Element, sender: str) -> None:
        nick = next((n for n, jid in self.occupants.items() if jid == sender), "")
        name = one.get("id", "")
        if not nick:
            self._refuse(one, "not-acceptable")
        elif name in self.bounces:
            self._refuse(one, self.bounces[name])
        else:
            inside = "".join(tostring(child, "unicode") for child in one)
            self._show(nick, inside, name)

    def _show(self, nick: str, inside: str, name: str) -> str:
        stanza_id = f"s{next(self.numbers)}"
        about = f"from={quoteattr(MUC + '/' + nick)} type='groupchat' id='{name}'"
        occupant = self._occupant(nick)
        if "urn:xmpp:sid:0" in self.features:
            inside += f"<stanza-id xmlns='urn:xmpp:sid:0' by='{MUC}' id='{stanza_id}'/>"
        inside += occupant
        self.archive.append((stanza_id, f"<message {about}>{inside}</message>"))
        for to in self.ours():
            self.deliver(f"<message {about} to='{to}'>{inside}</message>")
        return stanza_id

    def _occupant(self, nick: str) -> str:
        bare = self.occupants[nick].partition("/")[0]
        return f"<occupant-id xmlns='urn:xmpp:occupant-id:0' id='id-of-{bare}'/>"

    def _enter(self, one: Element, nick: str, sender: str, kind: str | None) -> None:
        former = next((n for n, jid in self.occupants.items() if jid == sender), "")
        bare = sender.partition("/")[0]
        if kind == "unavailable":
            if former:
                self.leaves(former)
        elif sender in self.swallows:
            pass
        elif self.occupants.get(nick, sender) != sender:
            self._refuse(one, "conflict", f"/{nick}")
        elif bare in self.refuses:
            self._refuse(one, self.refuses[bare], f"/{nick}")
        else:
            self._let_in(nick, sender, former)

    def _let_in(self, nick: str, sender: str, former: str) -> None:
        if former and former != nick:
            renamed = "<status code='303'/>"
            self.leaves(former, status=renamed, item=f"nick={quoteattr(nick)}")
        for other, jid in self.occupants.items():
            if jid != sender and not self.crowded:
                self.deliver(self._presence(other, sender))
        self.occupants[nick] = sender
        for to in self.ours():
            own = "<status code='110'/>" if to == sender else ""
            self.deliver(self._presence(nick, to, extra=own))
        about = f"type='groupchat' from='{MUC}' to='{sender}'"
        if not former:
            self.deliver(f"<message {about}>{self.subject}</message>")

    def _presence(
        self, nick: str, to: str, item: str = "", more: str = "", extra: str = ""
    ) -> str:
        about = item or "affiliation='none' role='participant'"
        if self.members:
            about += f" jid={quoteattr(self.occupants[nick])}"
            about = about.replace("none", "member", 1)
        return (
            f"<presence from={quoteattr(MUC + '/' + nick)} to='{to}' {more}>"
            f"<x xmlns='{USER}'><item {about}/>{extra}</x>{self._occupant(nick)}"
            "</presence>"
        )

    def _refuse(self, one: Element, condition: str, at: str = "") -> None:
        to = (one.get("to") or "") if at == "" else MUC + at
        self.deliver(
            f"<{name_of(one)} type='error' from={quoteattr(to)} to='{one.get('from')}'"
            f" id='{one.get('id', '')}'><error type='cancel'>"
            f"<{condition} xmlns='{STANZAS}'/></error></{name_of(one)}>"
        )

    def _answer(self, query: Element, to: str, sender: str) -> tuple[str, Element]:
        empty = Element("iq")
        if not self.exists:
            return "item-not-found", empty
        if name_of(query) == "ping":
            nick = to.partition("/")[2]
            inside = self.occupants.get(nick) == sender
            return ("" if inside else "not-acceptable"), empty
        if query.tag == "{http://jabber.org/protocol/muc#admin}query":
            return self._belonging(query)
        if query.tag.startswith("{urn:xmpp:mam:2}"):
            return self._archived(query, sender)
        features = "".join(f"<feature var='{name}'/>" for name in self.features)
        there = len(self.occupants) + (CROWD if self.crowded else 0)
        return "", stanza(
            "<iq><query xmlns='http://jabber.org/protocol/disco#info'>"
            f"<identity category='conference' type='text' name='Tea'/>{features}"
            "<x xmlns='jabber:x:data'><field var='muc#roominfo_occupants'>"
            f"<value>{there}</value></field></x></query></iq>"
        )

    def _belonging(self, query: Element) -> tuple[str, Element]:
        asked = query[0].get("affiliation", "")
        jids = self.members if asked == "member" else []
        items = "".join(f"<item jid='{jid}' affiliation='member'/>" for jid in jids)
        space = "http://jabber.org/protocol/muc#admin"
        condition = "" if self.members else "forbidden"
        return condition, stanza(f"<iq><query xmlns='{space}'>{items}</query></iq>")

    def _archived(self, query: Element, sender: str) -> tuple[str, Element]:
        rsm = "{http://jabber.org/protocol/rsm}"
        after = query.findtext(f"{rsm}set/{rsm}after")
        names = [name for name, _ in self.archive]
        if after is not None and after not in names:
            return "item-not-found", Element("iq")
        count = min(int(query.findtext(f"{rsm}set/{rsm}max") or 0), self.page_max)
        if query.find(f"{rsm}set/{rsm}before") is not None:
            page = self.archive[-count:]
        else:
            start = 0 if after is None else names.index(after) + 1
            page = self.archive[start : start + count]
        for name, text in page:
            self.deliver(result(name, text, query.get("queryid", ""), sender))
        last = page[-1][0] if page else ""
        complete = "complete='true'" if not page or page[-1] == self.archive[-1] else ""
        return "", stanza(
            f"<iq><fin xmlns='urn:xmpp:mam:2' {complete}>"
            f"<set xmlns='http://jabber.org/protocol/rsm'><last>{last}</last></set>"
            "</fin></iq>"
        )


def result(name: str, text: str, query: str, to: str, sender: str = MUC) -> str:
    """Write a result of the archive (XEP-0313 §4.2)."""
    inner = text.replace("<message ", "<message xmlns='jabber:client' ", 1)
    return (
        f"<message from='{sender}' to='{to}'><result xmlns='urn:xmpp:mam:2'"
        f" queryid='{query}' id='{name}'><forwarded xmlns='urn:xmpp:forward:0'>"
        "<delay xmlns='urn:xmpp:delay' stamp='2026-05-01T11:00:00Z'/>"
        f"{inner}</forwarded></result></message>"
    )


@dataclass
class World:
    """All of it."""

    means: Means
    server: Server
    host: Host
    intake: Intake
    store: FakeStore

    async def settle(self, turns: int = 50) -> None:
        """Let everything happen that can happen now."""
        for _ in range(turns):
            await asyncio.sleep(0)


def build(tasks: asyncio.TaskGroup) -> World:
    """Make a world in which the MUC has a portal and nobody is connected to it yet."""
    server, intake, store = Server(), Intake(), FakeStore()
    host = Host({ROOM: TEA}, store=store)
    means = Means(DOMAIN, server, host, store, intake, tasks)
    return World(means, server, host, intake, store)
