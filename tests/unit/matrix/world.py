"""The Matrix adapter between a homeserver and a core that live in the test."""

import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from aiohttp import web

from bridge.core.ports import State, Store, Unit
from bridge.matrix.adapter import MatrixAdapter
from bridge.matrix.client import Homeserver
from bridge.matrix.codec.envelope import RawEvent, raw_event
from bridge.model.delivery import (
    Arrival,
    Description,
    Later,
    Outcome,
    Parcel,
    Refusal,
    Refused,
    Route,
    Taken,
    Unreadable,
    Wire,
)
from bridge.model.events import AnyEvent, Message, Text, Vanished
from bridge.model.pictures import NO_PICTURE, Picture
from bridge.model.places import Network, Person, PortalId, Ref, Room
from bridge.model.records import Kind, Portal, Record
from bridge.model.text import RichText
from tests.fakes_store import FakeStore
from tests.homeserver import AS_TOKEN, Event
from tests.unit.matrix.keys import KeyHomeserver

BOT = "@xmppbot:hs"
ALICE, BOB = "@alice:hs", "@bob:hs"
JULIET = Person(Network.XMPP, "juliet@capulet.lit")
ROMEO = Person(Network.XMPP, "romeo@montague.lit")
GHOST = "@_xmpp_juliet=40capulet.lit:hs"
HALL = "!hall:hs"
MUC = "tea@muc.example"


class StrictHomeserver(KeyHomeserver):
    """Knows invitations, bans and aliases that are freed, as Synapse does."""

    def __init__(self) -> None:
        super().__init__("hs")
        self.closed: set[str] = set()
        self.powerless: set[str] = set()
        self.syncs: dict[str, Event] = {}

    def _add_routes(self, app: web.Application) -> None:
        v3 = "/_matrix/client/v3"
        summary = "/_matrix/client/v1/room_summary/{room}"
        app.router.add_route(
            "DELETE", v3 + "/directory/room/{alias}", self._faulty(self._free)
        )
        app.router.add_route("GET", summary, self._faulty(self._summary))
        super()._add_routes(app)

    def membership(self, room: str, user: str) -> str:
        event = self.rooms[room].state.get(("m.room.member", user))
        return event["content"]["membership"] if event else ""

    def name_of(self, room: str, user: str) -> str:
        return str(
            self.rooms[room].state["m.room.member", user]["content"].get("displayname")
        )

    def bodies(self, room: str) -> list[str]:
        events = self.rooms[room].events
        return [e["content"]["body"] for e in events if e["type"] == "m.room.message"]

    def delete(self, room: str, *, aliases: bool = True) -> None:
        """Delete *room*, as the admin of a Synapse may, and its *aliases* with it."""
        del self.rooms[room]
        if aliases:
            self.aliases = {a: to for a, to in self.aliases.items() if to != room}

    async def _free(self, request: web.Request) -> web.Response:
        self.aliases.pop(request.match_info["alias"], None)
        return web.json_response({})

    async def _sync(self, request: web.Request) -> web.Response:
        if "device_id" in request.query:
            return await super()._sync(request)
        return web.json_response(self.syncs)

    async def _summary(self, request: web.Request) -> web.Response:
        room = self.rooms.get(request.match_info["room"])
        if room is None or ("m.room.name", "") not in room.state:
            return web.json_response({"errcode": "M_NOT_FOUND"}, status=404)
        members = [k for k in room.state if k[0] == "m.room.member"]
        return web.json_response(
            {
                "room_id": request.match_info["room"],
                "name": room.state["m.room.name", ""]["content"]["name"],
                "num_joined_members": room.state["m.room.name", ""].get(
                    "size", len(members)
                ),
                "join_rule": "public",
                "encryption": "m.megolm"
                if ("m.room.encryption", "") in room.state
                else None,
            }
        )

    async def _join(self, request: web.Request) -> web.Response:
        name, user = request.match_info["room"], self._user(request)
        room = self.aliases.get(name, name)
        change = request.match_info.get("change", "join")
        if change == "join" and room in self.rooms and self._shut(room, user):
            return _forbidden()
        if change == "invite":
            whom = (await request.json())["user_id"]
            if not self._joined_to(room, user) or self.membership(room, whom) == "ban":
                return _forbidden()
            self._set_member(room, user, whom, {"membership": "invite"})
            return web.json_response({})
        return await super()._join(request)

    async def _set_state(self, request: web.Request) -> web.Response:
        room, user = request.match_info["room"], self._user(request)
        joins = (await request.json()).get("membership") == "join"
        if user in self.powerless and not joins:
            return _forbidden()
        if joins and room in self.rooms and self._shut(room, user):
            return _forbidden()
        return await super()._set_state(request)

    def _shut(self, room: str, user: str) -> bool:
        now = self.membership(room, user)
        return now == "ban" or (room in self.closed and now not in ("invite", "join"))


def _forbidden() -> web.Response:
    return web.json_response(
        {"errcode": "M_FORBIDDEN", "error": "You are not invited"}, status=403
    )


@dataclass
class FakeHost:
    """A core that knows portals and remembers what it was given."""

    portals: dict[str, Portal] = field(default_factory=dict)
    later_wires: list[tuple[Room, Wire]] = field(default_factory=list)
    kept: list[Arrival] = field(default_factory=list)
    barred: set[str] = field(default_factory=set)
    warned: list[tuple[Room, str]] = field(default_factory=list)
    told: list[State | Vanished] = field(default_factory=list)

    def portal(self, room: Room) -> Portal | None:
        return self.portals.get(room.address)

    async def keep(self, arrivals: Sequence[Arrival]) -> None:
        self.kept += arrivals

    def tell(self, event: State | Vanished) -> None:
        self.told.append(event)

    def bars(self, person: Person) -> bool:
        return person.id in self.barred

    def request(self, person: Person) -> Refusal | None:
        return Refusal.NOT_ALLOWED if self.bars(person) else None

    def later(self, room: Room, wires: Sequence[Wire]) -> None:
        self.later_wires += [(room, wire) for wire in wires]

    def back(self, remote: str) -> None:
        raise NotImplementedError

    def warn(self, room: Room, words: str) -> None:
        self.warned.append((room, words))

    def note(self, *records: Record) -> None:
        raise NotImplementedError

    def retry(self, room: Room) -> None:
        raise NotImplementedError

    def regret(self, parcel: Parcel, refused: Refused) -> None:
        raise NotImplementedError

    async def open_hosted(
        self, address: Room, guest: Person, name: str
    ) -> Portal | Refusal:
        return Refusal.NO_SUCH_ROOM

    async def open_foreign(self, muc: Room) -> Portal | Refusal:
        return Refusal.NO_SUCH_ROOM

    async def describe(self, portal: Portal) -> Description:
        return Description()

    async def called(self, person: Person) -> str:
        return person.id

    async def pictured(self, person: Person) -> Picture | None:
        return NO_PICTURE

    async def look(self, address: Room) -> Description | Refusal:
        return Refusal.NO_SUCH_ROOM


@dataclass
class MatrixWorld:
    """Everything that the adapter stands between."""

    server: StrictHomeserver
    homeserver: Homeserver
    store: FakeStore
    host: FakeHost
    adapter: MatrixAdapter
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def room(self, room: str = HALL, *members: str) -> str:
        """Have a room in which the bot is, and *members*."""
        self.server.users.add(BOT)
        self.server.add(room, BOT, "m.room.create", {"creator": BOT}, state_key="")
        for member in (BOT, *members):
            self.joins(room, member)
        return room

    def joins(self, room: str, member: str, name: str = "") -> Event:
        shown = name or member[1:].partition(":")[0].capitalize()
        content = {"membership": "join", "displayname": shown}
        return self.server.add(room, member, "m.room.member", content, state_key=member)

    def link(
        self, kind: Kind = Kind.HOSTED, room: str = HALL, agent: str = BOT
    ) -> Portal:
        """Make *room* a portal."""
        portal = Portal(PortalId(1), kind, room, MUC, agent)
        self.host.portals[room] = portal
        return portal

    async def reads(self, event: Event) -> AnyEvent | Unreadable | None:
        """Let the homeserver push *event*, and read what is kept of it."""
        arrivals = self.adapter.arrivals([opened(event)])
        if not arrivals:
            return None
        read = await self.adapter.read(Taken(next(self._numbers), arrivals[0]), Unit())
        glanced = self.adapter.glance(arrivals[0])
        if glanced is not None and arrivals[0].room.address in self.host.portals:
            # What is carried at a glance is what is read, but for what "now" is.
            assert isinstance(read, Message)
            assert replace(glanced, sent_at=read.sent_at) == read
        return read

    async def sends(self, *wires: Wire) -> list[Outcome | Later]:
        """Send each of *wires*, once."""
        outcomes: list[Outcome | Later] = []
        for wire in wires:
            outcomes += await self.adapter.send([parcel(wire)])
        return outcomes

    async def says(
        self, words: str, portal: Portal, sender: Person = JULIET, name: str = "Juliet"
    ) -> list[Outcome | Later]:
        """Let somebody of XMPP say *words*, and send them."""
        wires = self.adapter.prepare(said(words, sender, name), route(portal))
        assert not isinstance(wires, Refusal)
        return await self.sends(*wires)

    async def restarts(self) -> None:
        """Start another adapter on what the store and the homeserver remember."""
        self.adapter = adapter_on(self.homeserver, self.store)
        await self.adapter.start(self.host)


def adapter_on(homeserver: Homeserver, store: Store) -> MatrixAdapter:
    """Return an adapter that does not wait for those whom it invites."""
    adapter = MatrixAdapter(homeserver, store, BOT)
    adapter._secrecy.audiences.settle_s = 0.0
    adapter._gone.pause_s = 0.0
    return adapter


def opened(event: Event) -> RawEvent:
    read = raw_event(json.dumps(event).encode())
    assert isinstance(read, RawEvent)
    return read


def parcel(wire: Wire) -> Parcel:
    return Parcel(1, Network.MATRIX, "1", wire)


def route(portal: Portal) -> Route:
    return Route(portal, Room(Network.MATRIX, portal.matrix))


def said(words: str, sender: Person = JULIET, name: str = "Juliet") -> Message:
    return Message(
        ref=Ref(Network.XMPP, f"{sender.id}#1"),
        room=Room(Network.XMPP, MUC),
        sender=sender,
        sent_at=datetime.now(UTC),
        name=name,
        content=Text(RichText(words)),
    )


def with_previous(event: Event, **content: object) -> Event:
    """Let *event* tell what the state was before."""
    return {**event, "unsigned": {"prev_content": content}}


@asynccontextmanager
async def matrix_world() -> AsyncIterator[MatrixWorld]:
    server = StrictHomeserver()
    await server.start()
    homeserver = Homeserver(server.url, AS_TOKEN, "hs")
    store, host = FakeStore(), FakeHost()
    adapter = adapter_on(homeserver, store)
    await adapter.start(host)
    try:
        yield MatrixWorld(server, homeserver, store, host, adapter)
    finally:
        await homeserver.close()
        await server.stop()
