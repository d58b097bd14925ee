"""Matrix rooms that the bot enters or makes for XMPP."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from bridge.matrix.bot import Bot
from bridge.matrix.client import Homeserver, MatrixError, join
from bridge.matrix.codec import names
from bridge.matrix.members import Members
from bridge.matrix.presences import Presences
from bridge.matrix.sealed import Sealed
from bridge.matrix.views import (
    BRIDGE_TYPES,
    About,
    Place,
    Views,
    named,
    place_of,
    refusing,
)
from bridge.matrix.wires import Stands, wire
from bridge.model.delivery import NO_PORTAL, Description, Member, Refusal, Wire
from bridge.model.places import Network, Person
from bridge.model.records import Kind, Portal

logger = logging.getLogger(__name__)

MADE_BY_US = frozenset((Kind.FOREIGN, Kind.DIRECT))


class Rooms:
    """The rooms in which the bot is our agent.

    *ended* is awaited with every room whose portal ends, also if it was a ghost's.
    """

    def __init__(
        self,
        *,
        homeserver: Homeserver,
        bot: Bot,
        views: Views,
        members: Members,
        presences: Presences,
        sealed: Sealed,
    ) -> None:
        self._homeserver = homeserver
        self._server = homeserver.server_name
        self._bot = bot
        self._views = views
        self._members = members
        self._presences = presences
        self._sealed = sealed
        self.ended: Callable[[str], Awaitable[None]] | None = None

    async def enter(self, address: str) -> Portal | Refusal:
        """Let the bot into the room of *address*, to host it; see ``MatrixRooms``."""
        return await refusing(self._enter(address))

    async def look(self, address: str) -> Description | Refusal:
        """Look at a room from outside; see ``MatrixRooms``."""
        return await refusing(self._look(address))

    async def linkable(self, room: str) -> Portal | Refusal:
        """Describe *room*, which the bot is in, for a link; see ``MatrixRooms``."""
        return await refusing(self.portal(Kind.PLUMBED, place_of(room), self._bot.mxid))

    async def found(self, muc: str, about: Description) -> Portal | Refusal:
        """Make the room of a MUC, or find it; see ``MatrixRooms``."""
        if not about.public:
            # Whoever knew its name could read along.
            return Refusal.NOT_ALLOWED
        return await refusing(self._found(muc, about))

    async def describe(self, room: str, agent: str) -> Description:
        """Tell what *agent* sees of *room*; see ``MatrixRooms``."""
        seen = await refusing(self._describe(room, agent))
        return Description() if isinstance(seen, Refusal) else seen

    async def foreign_bridge(self, room: str, muc: str) -> str:
        """Name another bridge in *room* that carries *muc*; see ``MatrixRooms``."""
        claims = await refusing(self._views.bridges(room, self._bot.mxid))
        if isinstance(claims, Refusal):
            logger.warning("room %s: its bridges cannot be read: %s", room, claims.name)
            claims = ()
        for event in claims:
            if claimant := self._claimant(event, muc):
                return claimant
        inside = _escaped(muc)
        for mxid in await self._members.of(room):
            localpart, _, server = mxid[1:].partition(":")
            if inside in localpart:
                return server
        return ""

    async def depart(self, portal: Portal) -> Sequence[Wire]:
        """Let our ghosts leave, and the bot too if the room is ours."""
        room = portal.matrix
        users = {p.mxid for p in await self._presences.all_in(room)}
        users.discard(self._bot.mxid)
        leaving = sorted(users)
        if portal.kind in MADE_BY_US and portal.agent == self._bot.mxid:
            leaving.append(self._bot.mxid)
        if self.ended is not None:
            await self.ended(room)
        return [wire(Stands(user, room, user, "leave")) for user in leaving]

    async def seal(self, room: str, content: object) -> None:
        """Send nothing in the clear to *room*, for ever."""
        await self._sealed.add(room, content)

    async def portal(self, kind: Kind, place: Place, agent: str) -> Portal:
        """Make the portal, without an id, of a room that *agent* of ours is in."""
        about = await self._views.inside(place.room, agent)
        if about.encrypted:
            await self._sealed.add(place.room)
        return Portal(
            NO_PORTAL,
            kind,
            matrix=place.room,
            xmpp="",
            agent=agent,
            alias=place.alias or about.alias,
            name=about.name,
            topic=about.topic,
            via=" ".join(place.via),
            encrypted=about.encrypted,
        )

    async def _enter(self, address: str) -> Portal | Refusal:
        if names.muc_of(address, self._server) is not None:
            return Refusal.NO_SUCH_ROOM  # a MUC: to be joined there, not through us
        await self._bot.ensure()
        place = await self._views.find(address, self._bot.mxid)
        about = await self._views.outside(place, self._bot.mxid)
        if about and (refusal := self._bot.objection(about)):
            return refusal
        await self._bot.join(place)
        return await self.portal(Kind.HOSTED, place, self._bot.mxid)

    async def _look(self, address: str) -> Description | Refusal:
        await self._bot.ensure()
        place = await self._views.find(address, self._bot.mxid)
        about = await self._views.outside(place, self._bot.mxid)
        if about is None:
            if address.startswith("!"):
                return Refusal.NO_SUCH_ROOM
            # Its alias leads somewhere; more than that cannot be seen.
            about = About(alias=address, public=True)
        about = named(about)
        return Description(
            about.name, about.topic, public=about.public, encrypted=about.encrypted
        )

    async def _describe(self, room: str, agent: str) -> Description:
        roster = await self._members.load(room)
        about = named(await self._views.inside(room, agent))
        powers = await self._views.powers(room, agent)
        members = tuple(
            Member(Person(Network.MATRIX, mxid), roster.shown(mxid), powers.rank(mxid))
            for mxid in roster
        )
        return Description(
            about.name,
            about.topic,
            members,
            about.public,
            about.encrypted,
            about.topic_by,
            about.topic_at_ms,
        )

    async def _found(self, muc: str, about: Description) -> Portal | Refusal:
        await self._bot.ensure()
        alias = names.muc_alias(muc, self._server)
        # Making comes first: to look the alias up would have the homeserver ask us
        # for it, who wait for this very answer.
        place = await self._made(muc, alias, about)
        if place is None:
            place = await self._existing(alias) or await self._made(muc, alias, about)
        if place is None:
            return Refusal.UNREACHABLE  # taken between two looks: ask again
        await self._presences.note(place.room, self._bot.mxid, "")
        return await self.portal(Kind.FOREIGN, place, self._bot.mxid)

    async def _existing(self, alias: str) -> Place | None:
        """Return the room that bears *alias*, if the bot can still be in it."""
        bot = self._bot.mxid
        try:
            place = await self._views.find(alias, bot)
        except MatrixError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return None
        try:
            await self._bot.join(place)
        except MatrixError as error:
            if error.passing:
                raise  # people may be in it, and those who come would be elsewhere
            # Everybody has left it: nobody ever can come in again.
            path = join("directory", "room", alias)
            await self._homeserver.request("DELETE", path, user=bot)
            return None
        return place

    async def _made(self, muc: str, alias: str, about: Description) -> Place | None:
        """Make a room that bears *alias*; None if there is one."""
        body = {
            "preset": "public_chat",
            "room_alias_name": alias[1:].partition(":")[0],
            "name": about.name or muc,
            "topic": about.topic,
            "initial_state": self._marks(muc, about),
        }
        try:
            answer = await self._homeserver.request(
                "POST", join("createRoom"), user=self._bot.mxid, body=body
            )
        except MatrixError as error:
            if error.errcode != "M_ROOM_IN_USE":
                raise
            return None
        return Place(str(answer["room_id"]), (self._server,), alias)

    def _marks(self, muc: str, about: Description) -> list[dict[str, object]]:
        """Say by whom and with what the room is bridged (MSC2346)."""
        content = {
            "bridgebot": self._bot.mxid,
            "creator": self._bot.mxid,
            "protocol": {"id": "xmpp", "displayname": "XMPP"},
            "channel": {
                "id": muc,
                "displayname": about.name or muc,
                "external_url": f"xmpp:{muc}?join",
            },
        }
        key = f"im.xmpp://{self._server}/{muc}"
        return [
            {"type": kind, "state_key": key, "content": content}
            for kind in BRIDGE_TYPES
        ]

    def _claimant(self, event: Mapping[str, Any], muc: str) -> str:
        content = event.get("content")
        channel = content.get("channel") if isinstance(content, dict) else None
        if not isinstance(content, dict) or not isinstance(channel, dict):
            return ""
        claimed = " ".join(str(channel.get(k, "")) for k in ("id", "external_url"))
        ours = (event.get("sender"), content.get("bridgebot"))
        if muc.casefold() not in claimed.casefold() or self._bot.mxid in ours:
            return ""
        return str(content.get("bridgebot") or event.get("sender"))[:255]


def _escaped(muc: str) -> str:
    """Write *muc* as it stands in the names that bridges give to its occupants."""
    room, _, domain = muc.rpartition("@")
    return f"{room}=40{domain}".lower()
