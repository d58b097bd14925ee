"""Makes and unmakes portals: whoever writes first brings the far side into being."""

import asyncio
import logging
from asyncio import sleep
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

from bridge.core.directory import Directory, side
from bridge.core.dispatch import Dispatch
from bridge.core.foundings import Foundings
from bridge.core.guard import Guard, Limits
from bridge.core.openings import Opening, Openings
from bridge.core.ports import MatrixRooms, Store, StoreUnavailableError, Unit, XmppRooms
from bridge.model.delivery import Arrival, Description, Refusal
from bridge.model.events import Invite, Leave, Message, Replaced
from bridge.model.pictures import NO_PICTURE, Picture
from bridge.model.places import Network, Person, PortalId, Room
from bridge.model.records import Kind, Portal

logger = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_S = 1.0
NOT_FOLLOWED = (
    "The Matrix room was replaced by {room}, to which the bridge cannot go: {why}."
    " What is said here may reach nobody any more."
)
TAKEN = (
    "{person} was not asked in: this room is a conversation with one person of XMPP. To"
    " talk with several, make a room, give it a name, and invite them all there."
)
NOT_OURS = (
    "{person} was not asked in: who of XMPP is here is for {muc} to say. They can join"
    " it there."
)
WAITS = "{muc} does not answer: what is said here waits until it does."
LOST = "What is said here reaches nobody: {muc} cannot be bridged: {why}"


class Provisioning:
    """Which portals there are, and how they come and go."""

    def __init__(  # noqa: PLR0913 - a portal is made of all of them
        self,
        store: Store,
        directory: Directory,
        dispatch: Dispatch,
        matrix: MatrixRooms,
        xmpp: XmppRooms,
        *,
        guard: Guard | None = None,
        exposes: bool = False,
    ) -> None:
        self._exposes = exposes
        self._guard = guard or Guard(Limits())
        self._store = store
        self._directory = directory
        self._dispatch = dispatch
        self._matrix = matrix
        self._xmpp = xmpp
        self._openings = Openings(store)
        self._foundings = Foundings(store)
        # A room is opened by one at a time; a lock lives as long as somebody holds it.
        self._opening: WeakValueDictionary[Room, asyncio.Lock] = WeakValueDictionary()

    async def open(self, event: Message, unit: Unit) -> Portal | Refusal | None:
        """Make the portal for the first message of a direct chat from XMPP.

        None if *event* was said in a room that is bridged nowhere.
        """
        if event.room.network is Network.MATRIX:
            return None
        guest = self._xmpp.addressee(event.room)
        if not isinstance(guest, Person):
            return guest
        if refusal := self._guard.request(event.sender):
            return refusal
        async with self._alone(event.room):
            if portal := self._directory.portal(event.room):
                return portal  # they have just started it from the other side
            opening = await self._openings.begin(event)
            return await self._start(opening, guest, unit)

    async def resume(self, room: Room) -> None:
        """Have a portal for *room*, of Matrix, if it is one that is being made.

        Whoever was invited there, or came by its alias, may speak before the portal
        is on disk.
        """
        if room.network is not Network.MATRIX or self._directory.portal(room):
            return
        for opening in await self._openings.all():
            await self._go_on_opening(opening, room)
        for muc in await self._foundings.all():
            await self._go_on_founding(muc, room)

    async def _go_on_opening(self, opening: Opening, room: Room) -> None:
        """Have the portal of *opening* if *room* is the one that was made for it."""
        chat, guest = opening.chat, self._xmpp.addressee(opening.chat)
        made = await _sure(partial(self._matrix.begun, chat, Kind.DIRECT))
        if made == room.address and isinstance(guest, Person):
            await _sure(partial(self._finish, opening, guest))
        elif not made and not self._alone(chat).locked():
            await self._abandon(chat, Kind.DIRECT)

    async def _go_on_founding(self, muc: Room, room: Room) -> None:
        """Have the portal of *muc* if *room* is the one that was made for it."""
        made = await _sure(partial(self._matrix.begun, muc, Kind.FOREIGN))
        if made == room.address:
            await self._go_on(muc, room)
        elif not made and not self._alone(muc).locked():
            await self._abandon(muc, Kind.FOREIGN)

    async def _go_on(self, muc: Room, room: Room) -> None:
        """Have the portal of *muc*, or tell those in *room* why there is none."""
        made = await self.open_foreign(muc)
        if made is Refusal.UNREACHABLE:
            self._dispatch.tell(room, WAITS.format(muc=muc.address))
            made = await _sure(partial(self.open_foreign, muc))
        if isinstance(made, Refusal):
            words = LOST.format(muc=muc.address, why=made.value)
            self._dispatch.tell(room, words)

    async def _abandon(self, far: Room, kind: Kind) -> None:
        """Forget that the room of *far* is being made, unless it was made meanwhile."""
        async with self._alone(far):
            if not await _sure(partial(self._matrix.begun, far, kind)):
                unit = Unit()
                self._openings.end(far, unit)
                await self._foundings.end(far, unit)
                await self._write(unit)

    async def _finish(self, opening: Opening, guest: Person) -> Portal | Refusal:
        async with self._alone(opening.chat):
            unit = Unit()
            portal = self._directory.portal(opening.chat)
            made = portal or await self._start(opening, guest, unit)
            if portal is not None:
                unit.put.append(portal)  # known, but perhaps not written yet
            await self._write(unit)
            return made

    async def _start(
        self, opening: Opening, guest: Person, unit: Unit
    ) -> Portal | Refusal:
        chat = opening.chat
        made = await self._matrix.start_direct(chat, opening.host, guest, opening.name)
        if made is Refusal.UNREACHABLE:
            return made  # it may have been made all the same
        self._openings.end(chat, unit)
        if isinstance(made, Refusal):
            return made
        # Who writes encrypted has not agreed to answers in the clear.
        exposed = made.exposed and not opening.protection
        return self._enter(replace(made, id=opening.number, exposed=exposed), unit)

    async def protect(self, portal: Portal) -> bool:
        """Encrypt the room of a direct chat, if it is ours; tell whether it is."""
        return portal.kind is Kind.DIRECT and await self._matrix.protect(portal)

    async def invited(self, event: Invite) -> Sequence[Arrival]:
        """Let somebody of XMPP into a Matrix room; return what they have missed."""
        refusal = self._guard.request(event.sender)
        if refusal is not None or self._guard.closes(event.room):
            why = "blocked" if refusal is None else refusal.name
            logger.info("invitation to %s: %s", event.room.address, why)
            await self._matrix.decline(event)
            return ()
        chat = self._xmpp.chat(event.person, event.sender)
        # A portal may just be on its way into the room to which somebody is asked.
        async with self._alone(event.room), self._alone(chat):
            return await self._accept(event)

    def _bars(self, event: Invite) -> str:
        """Say why nobody can be asked into the room of *event*; empty if they can."""
        known = self._directory.portal(event.room)
        if known is None or known.kind is Kind.HOSTED:
            return ""
        if known.kind is not Kind.DIRECT:
            return NOT_OURS.format(person=event.person.id, muc=known.xmpp)
        if known.xmpp == self._xmpp.chat(event.person, event.sender).address:
            return ""
        return TAKEN.format(person=event.person.id)

    async def _accept(self, event: Invite) -> Sequence[Arrival]:
        if words := self._bars(event):
            await self._matrix.decline(event)
            self._dispatch.tell(event.room, words)
            return ()
        accepted = await self._matrix.accept(event)
        if isinstance(accepted, Refusal):
            logger.info("invitation to %s: %s", event.room.address, accepted.name)
            await self._matrix.decline(event)  # it may be in, where nobody would hear
            return ()
        made, missed = accepted
        unit = Unit()
        if made.kind is Kind.DIRECT:
            chat = self._xmpp.chat(event.person, event.sender)
            await self._replace(chat, made.matrix, unit)
            self._enter(replace(made, xmpp=chat.address), unit)
        else:
            known = self._directory.portal(event.room)
            address = self._xmpp.hosted(made)
            portal = known or self._enter(replace(made, xmpp=address), unit)
            await self._xmpp.invite(event, portal)
        await self._write(unit)
        return missed

    async def left(self, event: Leave, unit: Unit) -> bool:
        """Close a direct chat that a side has left; tell whether it was one."""
        portal = self._directory.portal(event.room)
        if portal is None or portal.kind is not Kind.DIRECT:
            return False
        if event.person.network is Network.XMPP:
            # They put the ghost out: the next message, from either side, starts anew.
            await self._close(portal, unit)
        return True

    async def open_hosted(
        self, address: Room, guest: Person, name: str
    ) -> Portal | Refusal:
        """Find or make the portal for a Matrix room; see ``Host``."""
        async with self._alone(address):
            if portal := self._directory.portal(address):
                return portal
            alias = self._xmpp.alias(address.address)
            if alias is None:
                return Refusal.NO_SUCH_ROOM
            if refusal := self._guard.request(guest):
                return refusal
            if self._guard.closes(Room(Network.MATRIX, alias)):
                return Refusal.NOT_ALLOWED
            made = await self._matrix.enter(alias, guest, name)
            if isinstance(made, Refusal):
                return made
            # Another address of a room that is hosted already leads to that portal.
            known = self._directory.portal(Room(Network.MATRIX, made.matrix))
            return known or await self._commit(replace(made, xmpp=address.address))

    async def open_foreign(self, muc: Room) -> Portal | Refusal:
        """Find or make the portal for a MUC elsewhere; see ``Host``."""
        async with self._alone(muc):
            if portal := self._directory.portal(muc):
                return portal
            if self._guard.closes(muc):
                return Refusal.NOT_ALLOWED
            about = await self._xmpp.visit(muc.address)
            if isinstance(about, Refusal):
                return about
            return await self._found(muc, about)

    async def _found(self, muc: Room, about: Description) -> Portal | Refusal:
        begun, unit = Unit(), Unit()
        await self._foundings.begin(muc, begun)
        await self._write(begun)
        made = await self._matrix.found(muc.address, about)
        if made is Refusal.UNREACHABLE:
            return made  # it may have been made all the same
        await self._foundings.end(muc, unit)
        if isinstance(made, Portal):
            made = self._enter(replace(made, xmpp=muc.address), unit)
        await self._write(unit)
        return made

    async def plumb(self, room: Room, muc: str) -> Portal | Refusal:
        """Link an existing Matrix room with an existing MUC."""
        there = Room(Network.XMPP, muc)
        if self._guard.closes(room) or self._guard.closes(there):
            return Refusal.NOT_ALLOWED
        async with self._alone(there):
            made = await self._matrix.linkable(room.address)
            if isinstance(made, Refusal):
                return made
            if self._directory.portal(room) or self._directory.portal(there):
                return Refusal.NOT_ALLOWED  # somebody else was quicker
            return await self._commit(replace(made, xmpp=muc))

    async def unplumb(self, portal: Portal, unit: Unit) -> None:
        """Undo a link, and clean up on both sides."""
        farewell = await self._xmpp.depart(portal)
        self._dispatch.add(unit, side(portal, Network.XMPP), farewell)
        await self._close(portal, unit)

    async def replaced(self, event: Replaced, unit: Unit) -> None:
        """Go on in the room that replaces the one of a portal, or say why not."""
        portal = self._directory.portal(event.room)
        if portal is None:
            return
        there = Room(Network.MATRIX, event.address)
        async with self._alone(there):
            made = await self._followed(portal, there, event.sender)
        # Meanwhile a chat may have begun anew elsewhere.
        portal = self._directory.by_id(portal.id)
        if portal is None:
            return
        if isinstance(made, Refusal):
            logger.warning("portal %d: not followed: %s", portal.id, made.name)
            words = NOT_FOLLOWED.format(room=event.address, why=made.value)
            far = self._directory.far(portal, event.room)
            self._dispatch.add(unit, far, self._xmpp.notice(far, words))
            return
        sealed = portal.encrypted or made.encrypted
        moved = replace(portal, matrix=made.matrix, via=made.via, encrypted=sealed)
        logger.info("portal %d: goes on in %s", portal.id, moved.matrix)
        self._directory.put(moved, unit)

    async def _followed(
        self, portal: Portal, there: Room, by: Person
    ) -> Portal | Refusal:
        """Go with *portal* to *there*, unless that is linked already.

        Whoever names such a room could take it over.
        """
        if self._directory.portal(there) or self._guard.closes(there):
            return Refusal.NOT_ALLOWED
        return await self._matrix.follow(portal, there.address, by)

    async def describe(self, portal: Portal) -> Description:
        """Tell what the Matrix room of *portal* looks like; see ``Host``."""
        return await self._matrix.describe(portal.matrix)

    async def look(self, address: Room) -> Description | Refusal:
        """Tell what a Matrix room looks like from outside; see ``Host``."""
        alias = self._xmpp.alias(address.address)
        if alias is None:
            return Refusal.NO_SUCH_ROOM
        return await self._matrix.look(alias)

    async def called(self, person: Person) -> str | None:
        """Tell what a person of Matrix is called; see ``Host``."""
        if person.network is not Network.MATRIX:
            return ""
        return await self._matrix.called(person)

    async def pictured(self, person: Person) -> Picture | None:
        """Tell what a person of Matrix looks like; see ``Host``."""
        if person.network is not Network.MATRIX:
            return NO_PICTURE
        return await self._matrix.pictured(person)

    def _alone(self, room: Room) -> asyncio.Lock:
        lock = self._opening.get(room)
        if lock is None:
            lock = self._opening[room] = asyncio.Lock()
        return lock

    async def _replace(self, chat: Room, matrix: str, unit: Unit) -> None:
        """Move a direct chat to a new room: the old one is left."""
        old = self._directory.portal(chat)
        if old is not None and old.matrix != matrix:
            await self._close(old, unit)

    async def _close(self, portal: Portal, unit: Unit) -> None:
        farewell = await self._matrix.depart(portal)
        self._dispatch.add(unit, side(portal, Network.MATRIX), farewell)
        self._directory.drop(portal, unit)

    async def _commit(self, made: Portal) -> Portal:
        unit = Unit()
        portal = self._enter(made, unit)
        await self._write(unit)
        return portal

    async def _write(self, unit: Unit) -> None:
        """Make *unit* durable, however long nothing can be written.

        A portal that is known must not be forgotten by a restart.
        """
        while True:
            try:
                await self._dispatch.commit(unit)
            except StoreUnavailableError:
                logger.warning("nothing can be written at present, will be retried")
                await sleep(RETRY_S)
            else:
                return

    def _enter(self, made: Portal, unit: Unit) -> Portal:
        known = self._directory.portal(Room(Network.MATRIX, made.matrix))
        number = made.id or PortalId(self._store.number())
        number = number if known is None else known.id
        exposed = made.exposed or self._exposes if known is None else known.exposed
        portal = replace(made, id=number, exposed=exposed)
        self._directory.put(portal, unit)
        logger.info("portal %d: %s opened", portal.id, portal.kind.value)
        return portal


async def _sure(ask: Callable[[], Awaitable[T | None]]) -> T:
    """Return what *ask* returns once it is sure, however long that takes."""
    while True:
        answer = await ask()
        if answer is not None and answer is not Refusal.UNREACHABLE:
            return answer
        await sleep(RETRY_S)
