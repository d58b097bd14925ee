"""Matrix, seen from the core: puts the parts together and offers them as ports."""

import logging
from collections.abc import Sequence

from typing_extensions import override

from bridge.core.ports import Adapter, Host, MatrixRooms, State, Store, Unit
from bridge.matrix.bot import MEMBERS_MAX, Bot
from bridge.matrix.checking import Checks
from bridge.matrix.client import Homeserver, HomeserverDownError, MatrixError
from bridge.matrix.codec import names
from bridge.matrix.codec.envelope import RawEvent
from bridge.matrix.direct import Direct
from bridge.matrix.doubts import Doubts
from bridge.matrix.ghosts import Ghosts
from bridge.matrix.gone import Gone
from bridge.matrix.guests import Guests
from bridge.matrix.inbound import Inbound, where
from bridge.matrix.members import Members
from bridge.matrix.membership import Memberships
from bridge.matrix.outbound import Outbound
from bridge.matrix.patience import Trials
from bridge.matrix.pictures import Pictures
from bridge.matrix.presences import Presences
from bridge.matrix.rooms import Rooms
from bridge.matrix.sealed import Sealed
from bridge.matrix.secrecy import PINNED, Encryption, Secrecy
from bridge.matrix.sending import Sending
from bridge.matrix.upgrades import Upgrades
from bridge.matrix.views import Views, refusing
from bridge.model.delivery import (
    Arrival,
    Delivered,
    Description,
    Later,
    Outcome,
    Parcel,
    Refusal,
    Route,
    Taken,
    Unreadable,
    Wire,
)
from bridge.model.events import AnyEvent, Invite, Message, Protection
from bridge.model.pictures import Picture
from bridge.model.places import Network, Person, Room
from bridge.model.records import Kind, Portal

logger = logging.getLogger(__name__)


class MatrixAdapter(Adapter, MatrixRooms):
    """The homeserver's users and rooms, as ``Adapter`` and ``MatrixRooms``.

    *bot* is the MXID of the bridge's own user. Nobody of ours enters a room with more
    than *members_max* people. ``start`` before anything else.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        store: Store,
        bot: str,
        members_max: int = MEMBERS_MAX,
        encryption: Encryption = PINNED,
    ) -> None:
        self._server = server = homeserver.server_name
        self._host: Host | None = None
        self._prefix, self._suffix = f"@{names.PREFIX}", f":{server}"
        homeserver.ours = self.is_ours
        self._ghosts = Ghosts(homeserver, store)
        self._members = Members(homeserver, self.agent, self.is_ours, bot)
        self._presences = Presences(
            homeserver, store, self._ghosts, self.agent, self._members.has_like
        )
        self._guests = Guests(homeserver, store, self._presences)
        self._sealed, self._gone = Sealed(store), Gone(homeserver, lambda: self._host)
        self._views, self._pictures = Views(homeserver), Pictures(homeserver)
        self._encrypts = encryption.direct
        self._secrecy = self._secrets(homeserver, store, bot, encryption)
        self._bot = self._speaker(homeserver, bot, members_max)
        self._rooms, self._direct = self._places(homeserver)
        self._upgrades = Upgrades(
            homeserver=homeserver,
            bot=self._bot,
            presences=self._presences,
            views=self._views,
            rooms=self._rooms,
            too_large=self._bot.too_large,
        )
        self._inbound = self._way_in()
        self._outbound = Outbound(server, self._presences)
        self._sending = self._way_out(homeserver)

    def _places(self, homeserver: Homeserver) -> tuple[Rooms, Direct]:
        rooms = Rooms(
            homeserver=homeserver,
            bot=self._bot,
            views=self._views,
            members=self._members,
            presences=self._presences,
            sealed=self._sealed,
        )
        direct = Direct(
            homeserver=homeserver,
            ghosts=self._ghosts,
            presences=self._presences,
            guests=self._guests,
            views=self._views,
            rooms=rooms,
            secrecy=self._secrecy,
            encrypts=self._encrypts,
            too_large=self._bot.too_large,
            tell=lambda room, words: self._say(room, self._bot.notice(room, words)),
        )
        return rooms, direct

    def _speaker(self, homeserver: Homeserver, bot: str, members_max: int) -> Bot:
        return Bot(
            mxid=bot,
            homeserver=homeserver,
            ghosts=self._ghosts,
            presences=self._presences,
            views=self._views,
            agent=self.agent,
            admits=self._admits,
            members_max=members_max,
        )

    def _secrets(
        self, homeserver: Homeserver, store: Store, bot: str, encryption: Encryption
    ) -> Secrecy:
        return Secrecy(
            homeserver=homeserver,
            store=store,
            views=self._views,
            sealed=self._sealed,
            agent=self.agent,
            ours=self.is_ours,
            bot=bot,
            strictness=encryption.strictness,
        )

    def _way_out(self, homeserver: Homeserver) -> Sending:
        return Sending(
            homeserver=homeserver,
            ghosts=self._ghosts,
            presences=self._presences,
            guests=self._guests,
            audiences=self._secrecy.audiences,
            trials=Trials(homeserver),
            sealing=self._secrecy.sealing,
            gone=self._gone,
            said=self._secrecy.lates.said,
        )

    def _way_in(self) -> Inbound:
        memberships = Memberships(
            bot=self._bot,
            person=self.person,
            portal=self._portal,
            greet=self._greet,
            members=self._members,
            presences=self._presences,
            guests=self._guests,
            pictures=self._pictures,
        )
        return Inbound(
            bot=self._bot,
            ours=self.is_ours,
            portal=self._portal,
            members=self._members,
            memberships=memberships,
            sealed=self._sealed,
            views=self._views,
            audiences=self._secrecy.audiences,
            opening=self._secrecy.opening,
            checks=Checks(self._secrecy.machine, self.agent, self._say),
            doubts=Doubts(self._sealed, self._portal, self._warn),
        )

    async def start(self, host: Host) -> None:
        """Meet the core, remember earlier runs, and have the bot registered."""
        self._host = host
        await self._sealed.start()
        await self._guests.start()
        await self._secrecy.start(host)
        try:
            await self._bot.ensure()
        except (MatrixError, HomeserverDownError) as error:
            logger.warning("the bot cannot be registered yet: %s", error)

    async def recover(self) -> None:
        """Begin anew where keys are concerned; see the port ``Recovering``."""
        await self._secrecy.recover()

    def doubt(self) -> None:
        """Take note that the homeserver was away: what it told us may be old."""
        self._secrecy.sealing.doubt()
        self._secrecy.audiences.doubt()

    async def has_device(self) -> bool:
        """Tell whether an earlier run has set up the bot's device."""
        return await self._secrecy.has_device()

    async def run(self) -> None:
        """Listen for keys, until cancelled."""
        self._secrecy.feed.prepare = self._bot.ensure
        await self._secrecy.run()

    def arrivals(self, events: Sequence[RawEvent]) -> list[Arrival]:
        """Choose which of *events* the core has to keep."""
        return self._inbound.arrivals(events)

    def is_ours(self, mxid: str) -> bool:
        """Tell whether *mxid* is a ghost of ours, or the bot."""
        return (
            mxid.startswith(self._prefix) and mxid.endswith(self._suffix)
        ) or mxid == self._bot.mxid

    async def person(self, mxid: str) -> str | None:
        """Tell whose ghost *mxid* is; None if it is none of ours."""
        if not self.is_ours(mxid) or mxid == self._bot.mxid:
            return None
        if (person := names.person_of(mxid, self._server)) is not None:
            return person
        # Too long to be written in the name: whoever made it has noted it.
        ghost = await self._ghosts.find(mxid)
        return ghost.person if ghost is not None else None

    async def exists(self, person: str) -> bool:
        """Have a ghost for *person*, for whom somebody on Matrix asks."""
        ghost = self._outbound.ghost(person)
        try:
            await self._ghosts.ensure(ghost, person, person)
        except (MatrixError, HomeserverDownError) as error:
            logger.warning("%s cannot be registered: %s", ghost, error)
            return False
        await self._secrecy.welcome(ghost)
        return True

    def agent(self, room: str) -> str:
        """Tell who of ours is in *room* for sure."""
        portal = self._portal(room)
        return portal.agent if portal is not None else self._bot.mxid

    @property
    @override
    def network(self) -> Network:
        return Network.MATRIX

    @override
    def glance(self, arrival: Arrival) -> Message | None:
        return self._inbound.glance(arrival)

    @override
    async def read(self, taken: Taken, unit: Unit) -> AnyEvent | Unreadable | None:
        return await self._inbound.read(taken, unit)

    @override
    def receipt(self, event: Message) -> bytes:
        return self._inbound.receipt(event)

    @override
    def prepare(self, event: Message, route: Route) -> Sequence[Wire] | Refusal:
        return self._outbound.prepare(event, route)

    @override
    async def apply(self, event: State, route: Route) -> Sequence[Wire]:
        return await self._outbound.apply(event, route)

    @override
    async def send(self, parcels: Sequence[Parcel]) -> Sequence[Outcome | Later]:
        return await self._sending.send(parcels)

    @override
    def settle(self, receipt: bytes, outcome: Outcome) -> Sequence[Wire]:
        told = where(receipt)
        if told is None or isinstance(outcome, Delivered):
            return ()
        if outcome.why is Refusal.WOULD_EXPOSE and not self._inbound.tells(told):
            return ()  # in a room that nobody has opened, once says it all
        detail = f" ({outcome.detail})" if outcome.detail else ""
        fate = "confirmed" if outcome.why is Refusal.UNCONFIRMED else "delivered"
        words = f"Not {fate}: {outcome.why.value}{detail}"
        return self._bot.notice(told.room, words, told.event)

    @override
    def notice(self, room: Room, words: str) -> Sequence[Wire]:
        return self._bot.notice(room.address, words)

    @override
    def protection(self, portal: Portal) -> Protection:
        sealed = portal.encrypted or portal.matrix in self._sealed
        return Protection.END_TO_END if sealed else Protection.TRANSPORT

    @override
    async def protect(self, portal: Portal) -> bool:
        return await self._direct.protect(portal)

    @override
    async def devices(self, room: str) -> str:
        return await self._secrecy.devices(room)

    @override
    async def confirm(self, room: str) -> Sequence[str] | Refusal:
        return await refusing(self._secrecy.confirm(room))

    @override
    async def enter(self, address: str, guest: Person, name: str) -> Portal | Refusal:
        logger.info("%s asks for the Matrix room %s", guest.id, address)
        return await self._rooms.enter(address)

    @override
    async def start_direct(
        self, chat: Room, host: Person, guest: Person, name: str
    ) -> Portal | Refusal:
        if self.is_ours(guest.id):
            return Refusal.NO_SUCH_PERSON  # from XMPP through Matrix to XMPP
        ghost = self._outbound.ghost(host.id)
        return await self._direct.start(chat, ghost, host, guest.id, name)

    @override
    async def begun(self, far: Room, kind: Kind) -> str | None:
        return await self._direct.begun(far, kind)

    @override
    async def accept(
        self, invite: Invite
    ) -> tuple[Portal, Sequence[Arrival]] | Refusal:
        ghost = self._outbound.ghost(invite.person.id)
        accepted = await self._direct.accept(ghost, invite)
        if isinstance(accepted, Refusal):
            return accepted
        return accepted[0], self._inbound.arrivals(accepted[1])

    @override
    async def decline(self, invite: Invite) -> None:
        await self._direct.decline(self._outbound.ghost(invite.person.id), invite)

    @override
    async def linkable(self, room: str) -> Portal | Refusal:
        return await self._rooms.linkable(room)

    @override
    async def found(self, muc: str, about: Description) -> Portal | Refusal:
        return await self._rooms.found(muc, about)

    @override
    async def follow(self, portal: Portal, room: str, by: Person) -> Portal | Refusal:
        return await self._upgrades.follow(portal, room, by.id)

    @override
    async def describe(self, room: str) -> Description:
        return await self._rooms.describe(room, self.agent(room))

    @override
    async def look(self, address: str) -> Description | Refusal:
        return await self._rooms.look(address)

    @override
    async def called(self, person: Person) -> str | None:
        return "" if self.is_ours(person.id) else await self._views.called(person.id)

    @override
    async def pictured(self, person: Person) -> Picture | None:
        return await self._pictures.of(person.id)

    @override
    async def foreign_bridge(self, room: str, muc: str) -> str:
        return await self._rooms.foreign_bridge(room, muc)

    @override
    async def depart(self, portal: Portal) -> Sequence[Wire]:
        return await self._rooms.depart(portal)

    def _admits(self, mxid: str) -> bool:
        host, sender = self._host, Person(Network.MATRIX, mxid)
        return host is None or host.request(sender) is None

    def _say(self, room: str, wires: Sequence[Wire]) -> None:
        if self._host is not None:
            self._host.later(Room(Network.MATRIX, room), wires)

    def _warn(self, room: Room, words: str) -> None:
        if self._host is not None:
            self._host.warn(room, words)

    def _portal(self, room: str) -> Portal | None:
        host = self._host
        return None if host is None else host.portal(Room(Network.MATRIX, room))

    async def _greet(self, room: str) -> None:
        """Say hello in a room that the bot has just been asked into."""
        if self._host is None:
            return
        if await self._bot.is_encrypted(room):
            await self._sealed.add(room)
        self._host.later(Room(Network.MATRIX, room), self._bot.hello(room))
