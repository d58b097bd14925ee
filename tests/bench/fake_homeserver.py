"""A homeserver that costs almost nothing: what it takes to measure a bridge alone.

It answers what Synapse answers, keeps send's txnId idempotent, and pushes
transactions of at most 100 events, one at a time, as the specification asks.
"""

import asyncio
import itertools
import json
import time
from collections import deque
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

Json = dict[str, Any]

NAME = "hs.bench"
BATCH_MAX = 100


class FakeHomeserver:
    """The rooms, and what is pushed and received."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self._on_text = on_text
        self._ids = itertools.count(1)
        self._txns: dict[str, bytes] = {}
        self._queue: deque[Json] = deque()
        self._more = asyncio.Event()
        self.members: dict[str, list[str]] = {}
        self.unknown: set[str] = set()
        self.bridge = ("127.0.0.1", 0)
        self.hs_token = ""

    async def listen(self) -> int:
        """Serve on a free port and return it."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    def says(self, room: str, sender: str, body: str) -> None:
        """Let *sender* write to *room*."""
        self.happens(
            room, sender, "m.room.message", {"msgtype": "m.text", "body": body}
        )

    def joins(self, room: str, member: str) -> None:
        """Let *member* come into *room*."""
        self.members.setdefault(room, []).append(member)
        self.happens(room, member, "m.room.member", _member(room, member)["content"])
        self._queue[-1]["state_key"] = member

    def happens(self, room: str, sender: str, kind: str, content: Json) -> None:
        """Queue an event for the bridge."""
        self._queue.append(
            {
                "event_id": f"$event{next(self._ids):039d}",
                "room_id": room,
                "sender": sender,
                "type": kind,
                "content": content,
                "origin_server_ts": int(time.time() * 1000),
                "unsigned": {"age": 1},
            }
        )
        self._more.set()

    async def push(self) -> None:
        """Push what is queued, until cancelled."""
        reader, writer = await asyncio.open_connection(*self.bridge)
        for number in itertools.count(1):
            if not self._queue:
                self._more.clear()
                await self._more.wait()
            events = [
                self._queue.popleft() for _ in range(min(BATCH_MAX, len(self._queue)))
            ]
            body = json.dumps({"events": events}).encode()
            writer.write(
                b"PUT /_matrix/app/v1/transactions/%d HTTP/1.1\r\n"
                b"Host: bridge\r\nAuthorization: Bearer %s\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (number, self.hs_token.encode(), len(body), body)
            )
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"the bridge refused a transaction: {head!r}")
            length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))

    def answer(self, method: str, target: str, body: bytes) -> bytes:
        """Return the HTTP answer to a request."""
        path, _, query = target.partition("?")
        parts = path.split("/")
        if "/send/" in path:
            return self._send(parts[-1], query, body)
        status, content = self._route(method, [unquote(p) for p in parts[3:]], body)
        if status == 404:
            self.unknown.add(f"{method} {urlsplit(target).path}")
        return _http(status, json.dumps(content).encode())

    def _send(self, txn: str, query: str, body: bytes) -> bytes:
        known = self._txns.get(txn)
        if known is not None:
            return known
        event = f"$sent{next(self._ids):040d}"
        answer = _http(200, b'{"event_id":"%s"}' % event.encode())
        self._txns[txn] = answer
        self._on_text(json.loads(body).get("body", ""))
        return answer

    def _route(self, method: str, path: list[str], body: bytes) -> tuple[int, Json]:
        if path == ["versions"]:
            return 200, {"versions": ["v1.11", "v1.15"], "unstable_features": {}}
        match (method, *path[1:]):
            case ("GET", "account", "whoami"):
                return 200, {"user_id": f"@_xmpp_sender:{NAME}"}
            case ("GET", "directory", "room", alias):
                room = _room_of(alias)
                known = room in self.members
                return (200, {"room_id": room, "servers": [NAME]}) if known else _NONE
            case ("GET", "rooms", room, *rest):
                return self._room(room, rest)
            case ("GET", "profile", *_):
                return 200, {"displayname": "Somebody"}
            case ("POST", _, "sync"):
                return 200, {"pos": "1"}
            case ("POST", "createRoom"):
                return self._create(body)
            case ("POST", "join", room) | ("POST", "rooms", room, "join"):
                return 200, {"room_id": _room_of(room)}
            case ("PUT", "rooms", _, "state", *_):
                return 200, {"event_id": f"$state{next(self._ids):039d}"}
            case ("GET", *_):
                return 404, {"errcode": "M_UNRECOGNIZED", "error": "Unrecognized"}
            case _:
                return 200, {}

    def _create(self, body: bytes) -> tuple[int, Json]:
        name = json.loads(body).get("room_alias_name", f"made{next(self._ids)}")
        room = f"!{name}:{NAME}"
        self.members.setdefault(room, [])
        return 200, {"room_id": room}

    def _room(self, room: str, rest: list[str]) -> tuple[int, Json]:
        members = self.members.get(room, [])
        match rest:
            case ["joined_members"]:
                joined = {m: {"display_name": _name(m)} for m in members}
                return 200, {"joined": joined}
            case ["members"]:
                return 200, {"chunk": [_member(room, m) for m in members]}
            case ["state", "m.room.power_levels", *_]:
                return 200, {"users": {}, "users_default": 0}
            case ["state", "m.room.join_rules", *_]:
                return 200, {"join_rule": "public"}
            case ["state", "m.room.name", *_]:
                return 200, {"name": room}
            case ["state", "m.room.create", *_]:
                return 200, {"room_version": "10", "creator": "@member0:" + NAME}
            case ["state"]:
                return 200, [_member(room, m) for m in members]  # type: ignore[return-value]
            case ["messages"]:
                return 200, {"chunk": [], "start": "s", "state": []}
            case _:
                return _NONE


_NONE: tuple[int, Json] = (404, {"errcode": "M_NOT_FOUND", "error": "Not found"})


def _room_of(alias: str) -> str:
    return f"!{alias[1:]}" if alias.startswith("#") else alias


def _name(mxid: str) -> str:
    return mxid[1:].partition(":")[0].capitalize()


def _member(room: str, mxid: str) -> Json:
    return {
        "type": "m.room.member",
        "room_id": room,
        "state_key": mxid,
        "sender": mxid,
        "event_id": f"$member-{mxid}",
        "content": {"membership": "join", "displayname": _name(mxid)},
    }


def _wait_s(target: str) -> float:
    """Return how long who syncs waits for news, as there are none."""
    path, _, query = target.partition("?")
    asked = parse_qs(query).get("timeout", ["0"]) if path.endswith("/sync") else ["0"]
    return int(asked[0]) / 1000


def _http(status: int, body: bytes) -> bytes:
    return (
        b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (status, len(body), body)
    )


class _Connection(asyncio.Protocol):
    """HTTP/1.1 as far as a well-behaved client needs it."""

    def __init__(self, server: FakeHomeserver) -> None:
        self._server = server
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        assert self._transport is not None
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            start = head.find(b"content-length:")
            length = int(head[start + 15 :].split(b"\r\n")[0]) if start >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            method, target, _ = self._buffer[:end].split(b" ", 2)
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            answer = self._server.answer(method.decode(), target.decode(), body)
            if wait_s := _wait_s(target.decode()):
                loop = asyncio.get_running_loop()
                loop.call_later(wait_s, self._transport.write, answer)
            else:
                self._transport.write(answer)
