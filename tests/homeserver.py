"""A homeserver that lives in the test: small, obedient, and faulty on demand.

It answers as Synapse does wherever the bridge's behaviour depends on it.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

AS_TOKEN = "as-token-0123456789abcdef"
Event = dict[str, Any]
Answering = Callable[[web.Request], Awaitable[web.Response]]


@dataclass
class Fault:
    """What happens instead of an answer, *times* times, where *path* matches.

    *after* says that the request has its effect all the same; until *hold* nothing
    happens, and then what should.
    """

    path: str
    status: int = 0
    body: Any = None
    times: int = 1
    hang: bool = False
    hold: asyncio.Event | None = None
    after: bool = False
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class HeldRoom:
    events: list[Event] = field(default_factory=list)
    state: dict[tuple[str, str], Event] = field(default_factory=dict)


class FakeHomeserver:
    """Speaks enough of the Client-Server API for an appservice."""

    def __init__(self, server_name: str = "hs") -> None:
        self.server_name = server_name
        self.rooms: dict[str, HeldRoom] = {}
        self.aliases: dict[str, str] = {}
        self.users: set[str] = set()
        self.devices: set[tuple[str, str]] = set()
        self.profiles: dict[str, Event] = {}
        self.media: dict[str, bytes | Answering] = {}
        self.account_data: dict[tuple[str, str], Event] = {}
        self.requests: list[tuple[str, str]] = []
        self.faults: list[Fault] = []
        self.pings = 0
        self.ping_known = True
        self.port = 0
        self._sent: dict[tuple[str, str, str], str] = {}
        self._count = 0
        self._runner: web.AppRunner | None = None
        self._stopping = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen; a second time, after ``stop``, on the same port."""
        self._stopping.clear()
        app = web.Application(client_max_size=1 << 24)
        self._add_routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Go away and close every connection; what is known stays known."""
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def asked(self, pattern: str) -> list[tuple[str, str]]:
        """List the requests (method, path with query) that match."""
        return [asked for asked in self.requests if re.search(pattern, asked[1])]

    def say(self, room: str, sender: str, words: str, **more: object) -> Event:
        """Let *sender* say something; nothing is pushed."""
        content = {"msgtype": "m.text", "body": words}
        return self.add(room, sender, "m.room.message", content, **more)

    def add(
        self, room: str, sender: str, kind: str, content: Event, **more: object
    ) -> Event:
        """Put an event into *room*."""
        self._count += 1
        event: Event = {
            "event_id": f"${self._count}",
            "room_id": room,
            "sender": sender,
            "type": kind,
            "content": content,
            "origin_server_ts": 1_700_000_000_000 + self._count,
            **more,
        }
        held = self.rooms.setdefault(room, HeldRoom())
        held.events.append(event)
        if "state_key" in event:
            held.state[kind, event["state_key"]] = event
        return event

    def _add_routes(self, app: web.Application) -> None:
        v3, room = "/_matrix/client/v3", "/_matrix/client/v3/rooms/{room}"
        for method, path, answering in (
            ("GET", "/_matrix/client/versions", self._versions),
            ("POST", "/_matrix/client/v1/appservice/{id}/ping", self._ping),
            ("GET", v3 + "/account/whoami", self._whoami),
            ("POST", v3 + "/register", self._register),
            ("PUT", v3 + "/devices/{device}", self._device),
            ("GET", v3 + "/user/{user}/account_data/{type}", self._account_data),
            ("PUT", v3 + "/user/{user}/account_data/{type}", self._set_account_data),
            ("GET", v3 + "/profile/{user}", self._profile),
            ("PUT", v3 + "/profile/{user}/{key}", self._set_profile),
            ("GET", "/_matrix/client/v1/media/{kind}/{server}/{id}", self._media),
            ("POST", v3 + "/createRoom", self._create),
            ("POST", v3 + "/join/{room}", self._join),
            ("POST", room + "/{change:join|leave|invite}", self._join),
            ("GET", v3 + "/directory/room/{alias}", self._resolve),
            ("PUT", v3 + "/directory/room/{alias}", self._publish),
            ("PUT", room + "/send/{type}/{txn}", self._send),
            ("PUT", room + "/state/{type}/{key:[^/]*}", self._set_state),
            ("GET", room + "/state", self._all_state),
            ("GET", room + "/state/{type}/{key:[^/]*}", self._one_state),
            ("GET", room + "/members", self._members),
            ("GET", room + "/joined_members", self._joined),
            ("GET", room + "/messages", self._messages),
            ("GET", room + "/context/{event}", self._context),
            ("GET", room + "/event/{event}", self._event),
        ):
            app.router.add_route(method, path, self._faulty(answering))
        app.router.add_route("*", "/{rest:.*}", self._faulty(self._unknown))

    def _faulty(self, answering: Answering) -> Answering:
        async def answer(request: web.Request) -> web.StreamResponse:
            self.requests.append((request.method, request.path_qs))
            fault = self._fault(request.path)
            if fault is None:
                return await self._admit(request, answering)
            if fault.hold is not None:
                await fault.hold.wait()
                return await self._admit(request, answering)
            if fault.after:
                await self._admit(request, answering)
            if fault.hang:
                await self._stopping.wait()
            if not fault.status:
                assert request.transport is not None
                request.transport.abort()
            text = fault.body if isinstance(fault.body, str) else json.dumps(fault.body)
            return web.Response(
                status=fault.status or 500, text=text, headers=fault.headers
            )

        return answer  # type: ignore[return-value]

    def _fault(self, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and re.search(fault.path, path):
                fault.times -= 1
                return fault
        return None

    async def _admit(self, request: web.Request, answering: Answering) -> web.Response:
        if request.path != "/_matrix/client/versions":
            if request.headers.get("Authorization") != f"Bearer {AS_TOKEN}":
                return _error(401, "M_UNKNOWN_TOKEN")
            user = request.query.get("user_id", "")
            if user and user not in self.users and "register" not in request.path:
                return _error(403, "M_FORBIDDEN")
        return await answering(request)

    async def _unknown(self, request: web.Request) -> web.Response:
        return _error(404, "M_UNRECOGNIZED")

    async def _versions(self, request: web.Request) -> web.Response:
        return web.json_response({"versions": ["v1.11"]})

    async def _ping(self, request: web.Request) -> web.Response:
        if not self.ping_known:
            return _error(404, "M_UNRECOGNIZED")
        self.pings += 1
        return web.json_response({"duration_ms": 1})

    async def _whoami(self, request: web.Request) -> web.Response:
        return web.json_response({"user_id": self._user(request)})

    async def _register(self, request: web.Request) -> web.Response:
        user = f"@{(await request.json())['username']}:{self.server_name}"
        if user in self.users:
            return _error(400, "M_USER_IN_USE")
        self.users.add(user)
        return web.json_response({"user_id": user})

    async def _account_data(self, request: web.Request) -> web.Response:
        key = request.match_info["user"], request.match_info["type"]
        if key not in self.account_data:
            return _error(404, "M_NOT_FOUND")
        return web.json_response(self.account_data[key])

    async def _set_account_data(self, request: web.Request) -> web.Response:
        key = request.match_info["user"], request.match_info["type"]
        self.account_data[key] = await request.json()
        return web.json_response({})

    async def _device(self, request: web.Request) -> web.Response:
        self.devices.add((self._user(request), request.match_info["device"]))
        return web.json_response({}, status=201)

    async def _profile(self, request: web.Request) -> web.Response:
        profile = self.profiles.get(request.match_info["user"])
        return _error(404, "M_NOT_FOUND") if profile is None else _ok(profile)

    async def _set_profile(self, request: web.Request) -> web.Response:
        profile = self.profiles.setdefault(request.match_info["user"], {})
        profile.update(await request.json())
        return _ok({})

    async def _media(self, request: web.Request) -> web.Response:
        media = self.media.get(request.match_info["id"])
        if media is None:
            return _error(404, "M_NOT_FOUND")
        return (
            web.Response(body=media)
            if isinstance(media, bytes)
            else await media(request)
        )

    async def _create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self._count += 1
        room, user = f"!room{self._count}:{self.server_name}", self._user(request)
        if local := asked.get("room_alias_name"):
            alias = f"#{local}:{self.server_name}"
            if alias in self.aliases:
                return _error(400, "M_ROOM_IN_USE")
            self.aliases[alias] = room
        self.add(room, user, "m.room.create", {}, state_key="")
        self._set_member(room, user, user, {"membership": "join"})
        for event in asked.get("initial_state", ()):
            state_key = event.get("state_key", "")
            self.add(room, user, event["type"], event["content"], state_key=state_key)
        for guest in asked.get("invite", ()):
            content = {"membership": "invite", "is_direct": asked.get("is_direct")}
            self._set_member(room, user, guest, content)
        return _ok({"room_id": room})

    async def _join(self, request: web.Request) -> web.Response:
        name = request.match_info["room"]
        room, user = self.aliases.get(name, name), self._user(request)
        if room not in self.rooms:
            return _error(404, "M_NOT_FOUND")
        change = request.match_info.get("change", "join")
        asked = await request.json() if request.can_read_body else {}
        whom = asked.get("user_id", user) if change == "invite" else user
        self._set_member(room, user, whom, {"membership": change})
        return _ok({"room_id": room})

    async def _resolve(self, request: web.Request) -> web.Response:
        room = self.aliases.get(request.match_info["alias"])
        if room is None:
            return _error(404, "M_NOT_FOUND")
        return _ok({"room_id": room, "servers": [self.server_name]})

    async def _publish(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.aliases[request.match_info["alias"]] = asked["room_id"]
        return _ok({})

    async def _send(self, request: web.Request) -> web.Response:
        user, room = self._user(request), request.match_info["room"]
        if not self._joined_to(room, user):
            return _error(403, "M_FORBIDDEN")
        # With a device the homeserver knows a repeated transaction for 24 hours.
        txn = (user, request.query.get("device_id", ""), request.path)
        if txn not in self._sent:
            kind, content = request.match_info["type"], await request.json()
            self._sent[txn] = self.add(room, user, kind, content)["event_id"]
        return _ok({"event_id": self._sent[txn]})

    async def _set_state(self, request: web.Request) -> web.Response:
        user, room = self._user(request), request.match_info["room"]
        kind, key = request.match_info["type"], request.match_info["key"]
        content = await request.json()
        joins = kind == "m.room.member" and content.get("membership") == "join"
        if joins and room not in self.rooms:
            return _error(404, "M_UNKNOWN")  # it knows no server to join through
        if room not in self.rooms or not (joins or self._joined_to(room, user)):
            return _error(403, "M_FORBIDDEN")
        event = self.add(room, user, kind, content, state_key=key)
        return _ok({"event_id": event["event_id"]})

    async def _all_state(self, request: web.Request) -> web.Response:
        room = self.rooms.get(request.match_info["room"])
        if room is None:
            return _error(403, "M_FORBIDDEN")
        return web.json_response(list(room.state.values()))

    async def _one_state(self, request: web.Request) -> web.Response:
        room = self.rooms.get(request.match_info["room"], HeldRoom())
        key = request.match_info["type"], request.match_info["key"]
        event = room.state.get(key)
        if event is None:
            return _error(404, "M_NOT_FOUND")
        whole = request.query.get("format") == "event"
        return _ok(event if whole else event["content"])

    async def _members(self, request: web.Request) -> web.Response:
        room = self.rooms.get(request.match_info["room"], HeldRoom())
        events = [e for (kind, _), e in room.state.items() if kind == "m.room.member"]
        wanted = request.query.get("membership")
        return _ok(
            {
                "chunk": [
                    event
                    for event in events
                    if wanted in (None, event["content"]["membership"])
                ]
            }
        )

    async def _joined(self, request: web.Request) -> web.Response:
        room = self.rooms.get(request.match_info["room"], HeldRoom())
        return _ok(
            {
                "joined": {
                    key: {"display_name": event["content"].get("displayname")}
                    for (kind, key), event in room.state.items()
                    if kind == "m.room.member"
                    and event["content"]["membership"] == "join"
                }
            }
        )

    async def _messages(self, request: web.Request) -> web.Response:
        room, query = request.match_info["room"], request.query
        if not self._joined_to(room, self._user(request)):
            return _error(403, "M_FORBIDDEN")
        events, limit = self.rooms[room].events, int(query.get("limit", "10"))
        if query["dir"] == "b":
            end = int(query.get("from", f"t{len(events)}")[1:])
            chunk, last = events[max(end - limit, 0) : end][::-1], max(end - limit, 0)
        else:
            start = int(query.get("from", "t0")[1:])
            chunk = events[start : start + limit]
            last = start + len(chunk)
        return _ok({"chunk": chunk, "end": f"t{last}"} if chunk else {"chunk": []})

    async def _context(self, request: web.Request) -> web.Response:
        room, wanted = request.match_info["room"], request.match_info["event"]
        for place, event in enumerate(self.rooms[room].events):
            if event["event_id"] == wanted:
                return _ok(
                    {"event": event, "start": f"t{place}", "end": f"t{place + 1}"}
                )
        return _error(404, "M_NOT_FOUND")

    async def _event(self, request: web.Request) -> web.Response:
        room, wanted = request.match_info["room"], request.match_info["event"]
        for event in self.rooms[room].events:
            if event["event_id"] == wanted:
                return _ok(event)
        return _error(404, "M_NOT_FOUND")

    def _user(self, request: web.Request) -> str:
        return request.query.get("user_id", f"@_xmpp_sender:{self.server_name}")

    def _joined_to(self, room: str, user: str) -> bool:
        held = self.rooms.get(room, HeldRoom())
        member = held.state.get(("m.room.member", user))
        return member is not None and member["content"]["membership"] == "join"

    def _set_member(self, room: str, sender: str, whom: str, content: Event) -> None:
        self.add(room, sender, "m.room.member", content, state_key=whom)


def _ok(content: Event) -> web.Response:
    return web.json_response(content)


def _error(status: int, errcode: str) -> web.Response:
    return web.json_response({"errcode": errcode, "error": errcode}, status=status)
