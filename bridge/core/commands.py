"""What people may ask of the bridge itself, in a room or in a chat with it."""

import logging
from collections.abc import Mapping, Sequence

from bridge.core.consent import UNLINKED, Consent
from bridge.core.directory import Directory
from bridge.core.dispatch import Dispatch
from bridge.core.office import Office
from bridge.core.ports import Adapter, MatrixRooms, Store, Unit, XmppRooms
from bridge.core.provisioning import Provisioning
from bridge.model.delivery import Refusal
from bridge.model.events import Command, Rank
from bridge.model.places import Network, Room
from bridge.model.records import Cursor, Kind, Portal

logger = logging.getLogger(__name__)

PROPOSAL = "proposal"
WORDS_MAX = 1000
SHOWN_MAX = 30

HELP = {
    Network.MATRIX: (
        "!xmpp bridge room@muc.example.org: link this room with that MUC"
        " (room admins; an owner or admin of the MUC has to agree)\n"
        "!xmpp unbridge: undo the link\n"
        "!xmpp status: say what this room is linked with\n"
        "!xmpp dead list: say what did not arrive; dead retry, dead drop NUMBER or all:"
        " send it again, or not (room admins)\n"
        "!xmpp devices: say what is encrypted, and how to check the bridge's devices\n"
        "!xmpp omemo: list the devices of those of XMPP you talk with; omemo trust"
        " FINGERPRINT, omemo distrust FINGERPRINT: decide on one, for what you write\n"
        "!xmpp confirm: believe that those are still themselves whose encryption"
        " identity has changed (room admins)\n"
        "!xmpp plaintext allow, !xmpp plaintext forbid: say whether encrypted messages"
        " may go on in the clear (room admins)"
    ),
    Network.XMPP: (
        "!matrix accept: agree to link this room with the Matrix room that asked\n"
        "!matrix unbridge: undo the link (owners and admins)\n"
        "!matrix status: say what this room is linked with\n"
        "!matrix dead list: say what did not arrive; dead retry, dead drop NUMBER or"
        " all: send it again, or not (owners and admins)\n"
        "!matrix devices: say what is encrypted, and how to check the devices of those"
        " of Matrix you talk with\n"
        "!matrix plaintext allow, !matrix plaintext forbid: say whether encrypted"
        " messages may go on in the clear (owners and admins)"
    ),
}


class Commands:
    """Obeys those who may command, and answers everybody."""

    def __init__(  # noqa: PLR0913 - a command may concern every part
        self,
        *,
        adapters: Mapping[Network, Adapter],
        store: Store,
        directory: Directory,
        dispatch: Dispatch,
        provisioning: Provisioning,
        matrix: MatrixRooms,
        xmpp: XmppRooms,
    ) -> None:
        self._adapters = adapters
        self._store = store
        self._directory = directory
        self._dispatch = dispatch
        self._provisioning = provisioning
        self._matrix = matrix
        self._xmpp = xmpp
        self._office = Office(store, directory, dispatch)
        self._consent = Consent(adapters, directory, dispatch, matrix, xmpp)

    async def obey(self, event: Command, unit: Unit) -> None:
        """Do what *event* asks for, and answer in its room."""
        # Whatever spans lines is no command, but may try to look like several.
        plain = len(event.words) <= WORDS_MAX and event.words.isprintable()
        words = event.words.split() if plain else []
        matrix = event.room.network is Network.MATRIX
        match words:
            case ["bridge", address] if matrix:
                answer = await self._bridge(event, address, unit)
            case ["accept"] if not matrix:
                answer = await self._accept(event, unit)
            case ["unbridge"]:
                answer = await self._unbridge(event, unit)
            case ["status"]:
                answer = self._status(event)
            case _:
                answer = await self._others(event, words, unit)
        if answer:
            self._answer(unit, event.room, answer)

    async def _others(self, event: Command, words: Sequence[str], unit: Unit) -> str:
        """Obey what other parts see to."""
        match words:
            case [("plaintext" | "confirm" | "devices" | "omemo") as verb, *said]:
                return await self._consent.obey(event, verb, said, unit)
            case ["dead", *said]:
                return await self._office.obey(event, said, unit)
            case [word, *_] if word != "help" and not event.private:
                return f"There is no command {word[:SHOWN_MAX]}.\n{_help(event)}"
            case _:
                return _help(event)

    async def _bridge(self, event: Command, address: str, unit: Unit) -> str:
        if event.rank < Rank.ADMIN:
            return "Only admins of this room may link it."
        if portal := self._directory.portal(event.room):
            if portal.kind is Kind.PLUMBED:
                return "This room is linked already; !xmpp unbridge undoes that."
            return f"This room cannot be linked. {self._stands(event, portal)}"
        known = self._xmpp.canonical(address)
        if known is None:
            return (
                f"{address[:100]} is not the address of a MUC (room@muc.example.org)."
            )
        return await self._propose(event, Room(Network.XMPP, known), unit)

    async def _propose(self, event: Command, muc: Room, unit: Unit) -> str:
        if self._directory.portal(muc):
            return f"{muc.address} is linked with another Matrix room already."
        if other := await self._matrix.foreign_bridge(event.room.address, muc.address):
            return f"Another bridge ({other}) links this room with {muc.address}."
        about = await self._xmpp.visit(muc.address)
        if isinstance(about, Refusal):
            return f"{muc.address} cannot be entered: {about.value}."
        unit.put.append(Cursor(PROPOSAL, muc.address, event.room.address))
        self._answer(
            unit,
            muc,
            f"{event.name or event.sender.id} asks to link this room with the Matrix"
            f" room {event.room.address}. Everybody there would read along. An owner"
            " or admin of this room agrees with: !matrix accept",
        )
        return (
            f"Asked in {muc.address}: an owner or admin there now has to write"
            " !matrix accept"
        )

    async def _accept(self, event: Command, unit: Unit) -> str:
        if event.rank < Rank.ADMIN:
            return "Only owners and admins of this room may link it."
        proposal = await self._store.find(Cursor, PROPOSAL, event.room.address)
        if proposal is None or self._directory.portal(event.room):
            return "Nobody has asked to link this room."
        room = Room(Network.MATRIX, proposal.value)
        portal = await self._provisioning.plumb(room, event.room.address)
        if isinstance(portal, Refusal):
            return f"The Matrix room cannot be linked: {portal.value}."
        unit.drop.append(proposal)
        self._answer(unit, room, f"This room is now linked with {event.room.address}.")
        return f"This room is now linked with the Matrix room {room.address}."

    async def _unbridge(self, event: Command, unit: Unit) -> str:
        portal = self._directory.portal(event.room)
        if portal is None:
            return UNLINKED
        if portal.kind not in (Kind.PLUMBED, Kind.FOREIGN):
            return f"There is no link to undo. {self._stands(event, portal)}"
        if event.rank < Rank.ADMIN:
            return "Only admins of this room may undo the link."
        if portal.kind is Kind.FOREIGN and event.room.network is Network.MATRIX:
            return "This room exists only for the MUC; leave it, and nothing remains."
        far = self._directory.far(portal, event.room)
        if event.room.network is Network.XMPP:
            self._answer(unit, far, "The link was undone from the other side.")
        self._answer(unit, event.room, "The link is undone.")
        await self._provisioning.unplumb(portal, unit)
        return ""

    def _status(self, event: Command) -> str:
        portal: Portal | None = self._directory.portal(event.room)
        return UNLINKED if portal is None else self._stands(event, portal)

    def _stands(self, event: Command, portal: Portal) -> str:
        far = self._directory.far(portal, event.room).address
        match portal.kind:
            case Kind.DIRECT:
                return f"This is a chat between {' and '.join(portal.xmpp.split())}."
            case Kind.HOSTED:
                return f"On XMPP this room is {far}."
            case Kind.FOREIGN if event.room.network is Network.MATRIX:
                return f"This room is the MUC {far}, as Matrix sees it."
            case _:
                return f"This room is linked with {far}."

    def _answer(self, unit: Unit, room: Room, words: str) -> None:
        wires = self._adapters[room.network].notice(room, words)
        self._dispatch.add(unit, room, wires)


def _help(event: Command) -> str:
    return HELP[event.room.network]
