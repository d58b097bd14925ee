"""People on Matrix who encrypt, with matrix-nio."""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import nio

from deploy.lab.synapse import Synapse
from deploy.lab.world import World

PATIENCE_S = 30
UNPROTECTED = "writes without encryption from XMPP"
"""In a notice that says so once of everybody; no test here is about it."""
MEGOLM = {"algorithm": "m.megolm.v1.aes-sha2"}
SEALED = [{"type": "m.room.encryption", "state_key": "", "content": MEGOLM}]
ALL = {"room": {"timeline": {"limit": 200}}}
"""Without it a homeserver leaves out what came in a burst."""


@dataclass(frozen=True)
class Said:
    """What was read in a room; *secret* tells that it was encrypted."""

    room: str
    sender: str
    words: str
    secret: bool


class NioPerson:
    """Somebody with one device that encrypts; it keeps its keys in *folder*."""

    def __init__(self, synapse: Synapse, localpart: str, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.localpart = localpart
        self.id = f"@{localpart}:{synapse.server_name}"
        self._synapse = synapse
        self._client = nio.AsyncClient(
            synapse.url,
            self.id,
            store_path=str(folder),
            config=nio.AsyncClientConfig(encryption_enabled=True),
        )
        self._unread: list[Said] = []
        self.unreadable: list[str] = []
        self.invites: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._synapse.register, self.localpart, "secret")
        answer = await self._client.login("secret")
        assert isinstance(answer, nio.LoginResponse), answer
        await self._client.sync(full_state=True)
        await self._client.keys_upload()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.close()

    def puppet(self, world: World) -> str:
        """Return the JID under which XMPP reaches them."""
        server = world.synapse.server_name
        return f"{self.localpart}_{server}@{world.xmpp.component}"

    async def looks_up(self, jid: str) -> str:
        """Find the ghost of *jid*, as clients do before they start a chat."""
        path = f"/_matrix/client/v3/thirdparty/user/xmpp?jid={quote(jid)}"
        headers = {"Authorization": f"Bearer {self._client.access_token}"}
        url = f"{self._synapse.url}{path}"
        async with aiohttp.request("GET", url, headers=headers) as answer:
            assert answer.status == HTTPStatus.OK
            return str((await answer.json())[0]["userid"])

    async def raw(self, room: str) -> list[dict[str, Any]]:
        """Return what was said in *room*, as the homeserver has it: encrypted."""
        where = f"{self._synapse.url}/_matrix/client/v3/rooms/{quote(room)}/messages"
        query = {
            "dir": "b",
            "limit": "1000",
            "filter": '{"types":["m.room.encrypted"]}',
        }
        headers = {"Authorization": f"Bearer {self._client.access_token}"}
        async with aiohttp.request("GET", where, params=query, headers=headers) as got:
            assert got.status == HTTPStatus.OK
            return list((await got.json())["chunk"])

    async def makes_room(self, alias: str, *, encrypted: bool = True) -> str:
        """Make a public room; return its id, once it is seen."""
        answer = await self._client.room_create(
            visibility=nio.RoomVisibility.public,
            alias=alias,
            preset=nio.RoomPreset.public_chat,
            initial_state=SEALED if encrypted else (),
        )
        assert isinstance(answer, nio.RoomCreateResponse), answer
        await self._until(lambda: answer.room_id in self._client.rooms)
        return str(answer.room_id)

    async def encrypts(self, room: str) -> None:
        """Let *room* be encrypted from now on."""
        answer = await self._client.room_put_state(room, "m.room.encryption", MEGOLM)
        assert isinstance(answer, nio.RoomPutStateResponse), answer
        await self._until(lambda: self._client.rooms[room].encrypted)

    async def starts_chat(self, user: str) -> str:
        """Make an encrypted direct room with somebody, as clients do."""
        answer = await self._client.room_create(
            preset=nio.RoomPreset.trusted_private_chat,
            is_direct=True,
            invite=[user],
            initial_state=SEALED,
        )
        assert isinstance(answer, nio.RoomCreateResponse), answer
        room = str(answer.room_id)
        await self._until(
            lambda: (
                room in self._client.rooms
                and user in self._client.rooms[room].invited_users
            )
        )
        return room

    async def gathers(self, *users: str) -> str:
        """Make a private, encrypted room and ask people in; return its id."""
        answer = await self._client.room_create(
            name="Secret",
            preset=nio.RoomPreset.private_chat,
            invite=users,
            initial_state=SEALED,
        )
        assert isinstance(answer, nio.RoomCreateResponse), answer
        room = str(answer.room_id)
        await self._until(lambda: room in self._client.rooms)
        return room

    async def asks_the_bridge_in(self, room: str, bot: str) -> None:
        """Ask the bridge itself into *room*, and wait until it has greeted."""
        answer = await self._client.room_invite(room, bot)
        assert isinstance(answer, nio.RoomInviteResponse), answer
        await self.sees(room, bot)
        await self.hears_next()

    async def asks_in(self, room: str, person: Self) -> None:
        """Ask somebody of Matrix into *room*, and wait until they are there."""
        answer = await self._client.room_invite(room, person.id)
        assert isinstance(answer, nio.RoomInviteResponse), answer
        await person.is_invited(self.id)
        await person.joins(room)
        await self.sees(room, person.id)

    async def joins(self, room: str) -> None:
        """Accept an invitation."""
        answer = await self._client.join(room)
        assert isinstance(answer, nio.JoinResponse), answer
        await self._until(lambda: room in self._client.rooms)

    async def is_invited(self, by: str) -> str:
        """Wait for an invitation of *by*; return the room."""
        await self._until(lambda: by in self.invites.values())
        return next(room for room, who in self.invites.items() if who == by)

    async def sees(self, room: str, user: str) -> None:
        """Wait until *user* is in *room*."""
        await self._until(lambda: user in self._client.rooms[room].users)

    async def says(self, room: str, words: str) -> str:
        """Say *words*, encrypted as the room is; return the event's id."""
        # It would not ask for the devices of whoever is only invited.
        self._client.olm.users_for_key_query.update(self._client.rooms[room].users)
        await self._client.keys_query()
        content = {"msgtype": "m.text", "body": words}
        answer = await self._client.room_send(
            room, "m.room.message", content, ignore_unverified_devices=True
        )
        assert isinstance(answer, nio.RoomSendResponse), answer
        return str(answer.event_id)

    async def turns_to_another_key(self, room: str) -> None:
        """Encrypt what comes next under another key."""
        self._client.invalidate_outbound_session(room)

    async def hears(self, words: str, room: str, sender: str) -> None:
        """Wait for the next message; it has to be this one, and encrypted."""
        heard = await self.hears_next()
        assert heard == Said(room, sender, words, secret=True), heard

    async def hears_next(self) -> Said:
        """Wait for the next message."""
        await self._until(lambda: bool(self._unread))
        return self._unread.pop(0)

    async def _until(self, there: object) -> None:
        assert callable(there)
        async with asyncio.timeout(PATIENCE_S):
            while not there():
                await self._pull()

    async def _pull(self) -> None:
        answer = await self._client.sync(timeout=1000, sync_filter=ALL)
        assert isinstance(answer, nio.SyncResponse), answer
        if self._client.should_query_keys:
            await self._client.keys_query()
        if self._client.should_upload_keys:
            await self._client.keys_upload()
        for room, invited in answer.rooms.invite.items():
            for event in invited.invite_state:
                mine = getattr(event, "state_key", "") == self.id
                if isinstance(event, nio.InviteMemberEvent) and mine:
                    self.invites[room] = event.sender
        for room, joined in answer.rooms.join.items():
            for event in joined.timeline.events:
                self._take(room, event)

    def _take(self, room: str, event: nio.Event) -> None:
        if event.sender == self.id:
            return
        if isinstance(event, nio.MegolmEvent):
            self.unreadable.append(event.event_id)
        elif isinstance(event, nio.RoomMessageText | nio.RoomMessageNotice):
            said = Said(room, event.sender, event.body, bool(event.decrypted))
            if UNPROTECTED not in said.words:
                self._unread.append(said)
