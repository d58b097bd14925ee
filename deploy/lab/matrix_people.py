"""People on Matrix, as a test or the demonstration leads them."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import yarl

from deploy.lab.heard import PATIENCE_S, Ears, Heard, NotHeardError
from deploy.lab.synapse import Synapse

V3 = "/_matrix/client/v3"
FILTER = '{"room":{"timeline":{"limit":5000}},"presence":{"types":[]}}'
LATEST = '{"room":{"timeline":{"limit":1}},"presence":{"types":[]}}'
RETRY_S = 0.2
OUTAGE_S = 60.0
GONE = {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE}

Json = dict[str, Any]


class MatrixRefusedError(Exception):
    """The homeserver said no."""

    def __init__(self, status: int, answer: Mapping[str, object]) -> None:
        super().__init__(f"{status} {answer.get('errcode')} {answer.get('error')}")
        self.status = status
        self.code = str(answer.get("errcode"))


class MatrixPerson:
    """Somebody with one device, who hears by /sync."""

    def __init__(self, synapse: Synapse, name: str, localpart: str) -> None:
        self.name = name
        self.localpart = localpart
        self.id = f"@{localpart}:{synapse.server_name}"
        self.invites: dict[str, str] = {}
        self.members: dict[str, dict[str, Json]] = {}
        self.state: dict[str, dict[tuple[str, str], Json]] = {}
        self.events: list[Json] = []
        self._synapse = synapse
        self._session = aiohttp.ClientSession()
        self._token = ""
        self._since = ""
        self._known: set[str] = set()
        self._syncing = asyncio.Lock()
        self._ears = Ears(name, self.pull)
        self.hears = self._ears.hears
        self.hears_next = self._ears.next
        self.hears_unordered = self._ears.hears_unordered
        self.all_heard = self._ears.all_heard
        self.count = self._ears.count
        self.until = self._ears.until

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def log_in(self, password: str = "secret") -> None:
        """Log in (the account is made if need be), and forget what was said before."""
        await asyncio.to_thread(self._synapse.register, self.localpart, password)
        asked = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self.localpart},
            "password": password,
            "device_id": "DEMO",
        }
        answer = await self.call("POST", "/login", asked)
        self._token = answer["access_token"]
        path = f"/profile/{quote(self.id)}/displayname"
        await self.call("PUT", path, {"displayname": self.name})
        await self._sync(0, LATEST)
        self._ears.forget()
        self.events.clear()

    async def call(
        self, method: str, path: str, content: object = None, **query: str
    ) -> Json:
        """Make a request; again while the homeserver is away."""
        deadline = time.monotonic() + OUTAGE_S
        while True:
            try:
                return await self._once(method, path, content, query)
            except MatrixRefusedError as error:
                if error.status not in GONE or time.monotonic() > deadline:
                    raise
            except (aiohttp.ClientError, TimeoutError):
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(RETRY_S)

    async def makes_room(self, alias: str = "", **more: object) -> str:
        """Create a public room; return its id."""
        asked: Json = {"preset": "public_chat", **more}
        if alias:
            asked["room_alias_name"] = alias
        return str((await self.call("POST", "/createRoom", asked))["room_id"])

    async def names(self, room: str, alias: str) -> None:
        """Let an alias lead to a room."""
        path = f"/directory/room/{quote(alias)}"
        await self.call("PUT", path, {"room_id": room})

    async def resolves(self, alias: str) -> str:
        """Return the room of an alias; empty if there is none."""
        try:
            path = f"/directory/room/{quote(alias)}"
            return str((await self.call("GET", path))["room_id"])
        except MatrixRefusedError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return ""
            raise

    async def joins(self, room: str) -> str:
        """Join a room by its id or alias; return the id, once it is seen by /sync."""
        answer = await self.call("POST", f"/join/{quote(room)}", {})
        number = str(answer["room_id"])
        await self.until(
            lambda: self.membership(number, self.id) == "join" or None,
            f"to be in {room}",
        )
        self.invites.pop(number, None)
        return number

    async def leaves(self, room: str) -> None:
        """Leave a room."""
        await self.call("POST", f"/rooms/{quote(room)}/leave", {})

    async def invites_to(self, room: str, user: str) -> None:
        """Invite somebody."""
        path = f"/rooms/{quote(room)}/invite"
        await self.call("POST", path, {"user_id": user})

    async def starts_chat(self, user: str) -> str:
        """Make a direct room with somebody, as clients do; return its id."""
        asked = {
            "preset": "trusted_private_chat",
            "is_direct": True,
            "invite": [user],
        }
        return str((await self.call("POST", "/createRoom", asked))["room_id"])

    async def says(self, room: str, text: str, **more: object) -> str:
        """Say *text*; *more* goes into the content. Return the event's id."""
        content: Json = {"msgtype": "m.text", "body": text, **more}
        return await self.sends(room, "m.room.message", content)

    async def sends(self, room: str, kind: str, content: Json) -> str:
        """Send any event; return its id."""
        txn = secrets.token_hex(8)
        path = f"/rooms/{quote(room)}/send/{kind}/{txn}"
        return str((await self.call("PUT", path, content))["event_id"])

    async def sets(self, room: str, kind: str, content: Json, key: str = "") -> str:
        """Set state; return the event's id."""
        path = f"/rooms/{quote(room)}/state/{kind}/{quote(key)}"
        return str((await self.call("PUT", path, content))["event_id"])

    def membership(self, room: str, user: str) -> str:
        """Tell how a user stands to a room."""
        return str(self.members.get(room, {}).get(user, {}).get("membership", ""))

    def name_of(self, room: str, user: str) -> str:
        """Return what a user is called in a room."""
        return str(self.members.get(room, {}).get(user, {}).get("displayname") or "")

    def topic(self, room: str) -> str:
        """Return the topic of a room."""
        content = self.state.get(room, {}).get(("m.room.topic", ""), {})
        return str(content.get("topic", ""))

    async def is_invited(self, by: str, within_s: float = PATIENCE_S) -> str:
        """Wait for an invitation of *by*; return the room."""
        return await self.until(
            lambda: next((r for r, who in self.invites.items() if who == by), None),
            f"an invitation of {by}",
            within_s,
        )

    async def sees_member(
        self,
        room: str,
        user: str,
        *,
        membership: str = "join",
        name: str = "",
        within_s: float = PATIENCE_S,
    ) -> None:
        """Wait until somebody is in a room (or is not), under that name."""
        await self.until(
            lambda: (
                (
                    self.membership(room, user) == membership
                    and (not name or self.name_of(room, user) == name)
                )
                or None
            ),
            f"{user} to {membership} {room} as {name!r}",
            within_s,
        )

    async def pull(self, within_s: float) -> None:
        """Take in what is new."""
        await self._sync(min(within_s, 2.0), FILTER)

    async def _sync(self, timeout_s: float, wanted: str) -> None:
        async with self._syncing:
            query = {"timeout": str(int(timeout_s * 1000)), "filter": wanted}
            if self._since:
                query["since"] = self._since
            answer = await self.call("GET", "/sync", None, **query)
            self._since = answer["next_batch"]
            rooms = answer.get("rooms", {})
            for room, invited in rooms.get("invite", {}).items():
                self._take_invite(room, invited["invite_state"]["events"])
            for room, joined in rooms.get("join", {}).items():
                self._take_room(room, joined)
            for room, left in rooms.get("leave", {}).items():
                self._take_room(room, left)
                self.invites.pop(room, None)

    def _take_invite(self, room: str, events: list[Json]) -> None:
        for event in events:
            if event["type"] == "m.room.member" and event["state_key"] == self.id:
                self.invites[room] = event["sender"]

    def _take_room(self, room: str, said: Json) -> None:
        if said["timeline"].get("limited") and room in self.members and self._since:
            timeline = len(said["timeline"]["events"])
            if timeline >= 5000:  # noqa: PLR2004 - the filter's limit
                raise NotHeardError("the timeline has a gap")
        for event in said.get("state", {}).get("events", []):
            self._take_state(room, event)
        events = said["timeline"]["events"]
        entry = _own_entry(events, self.id)
        for place, event in enumerate(events):
            if "state_key" in event:
                self._take_state(room, event)
            if place >= entry:
                self._take_event(room, event)

    def _take_state(self, room: str, event: Json) -> None:
        key = (event["type"], event["state_key"])
        self.state.setdefault(room, {})[key] = event["content"]
        if event["type"] == "m.room.member":
            self.members.setdefault(room, {})[event["state_key"]] = event["content"]

    def _take_event(self, room: str, event: Json) -> None:
        if event["event_id"] in self._known:
            return  # /sync shows them again to somebody who comes back into a room
        self._known.add(event["event_id"])
        self.events.append({"room_id": room, **event})
        if event["type"] == "m.room.message" and event["sender"] != self.id:
            text = event["content"].get("body", "")
            self._ears.put(
                Heard(
                    room,
                    event["sender"],
                    text,
                    event["event_id"],
                    self.name_of(room, event["sender"]),
                    event,
                )
            )

    async def _once(
        self, method: str, path: str, content: object, query: Mapping[str, str]
    ) -> Json:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        url = f"{self._synapse.url}{V3}{path}"
        async with self._session.request(
            method, _exact(url), json=content, params=query, headers=headers
        ) as answer:
            body: Json = await answer.json(content_type=None)
            if answer.status != HTTPStatus.OK:
                raise MatrixRefusedError(answer.status, body)
            return body


def _own_entry(events: list[Json], me: str) -> int:
    """Find where we were let in: what is before that was not said to us."""
    for place, event in enumerate(events):
        if event["type"] == "m.room.member" and event.get("state_key") == me:
            before = event.get("unsigned", {}).get("prev_content", {})
            if before.get("membership") not in {"invite", "join"}:
                return place
    return 0


def _exact(url: str) -> yarl.URL:
    # "#" and "@" are quoted already; quoting again would spoil them.
    return yarl.URL(url, encoded=True)
