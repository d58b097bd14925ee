"""Keeps what is said in hosted rooms as secret as its people do.

    an occupant wrote sealed -> opened once, as the relay -> an event that is guarded
    somebody of Matrix wrote -> sealed by their puppet for all members of XMPP

Clients encrypt for the members of a room: for those of XMPP, and for the relay, which
stands for all of Matrix. What they have sealed is shown to the others as it came.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, cast
from xml.etree.ElementTree import Element

from bridge.core.ports import Unit
from bridge.model.delivery import Later, Parcel, Refusal, Refused
from bridge.model.places import Network, Room
from bridge.model.records import Cursor, Portal
from bridge.xmpp.checking import Company
from bridge.xmpp.codec.encryption import Encryption, encryption
from bridge.xmpp.codec.message import OWN_WORDS
from bridge.xmpp.codec.names import puppet_jid
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.endtoend import (
    Empty,
    EndToEnd,
    Failed,
    NotForUs,
    Passage,
    Plain,
    Sealed,
)
from bridge.xmpp.gate import StanzaError, addressed
from bridge.xmpp.hopes import Hopes
from bridge.xmpp.muc.packing import Said, Sheet, pack
from bridge.xmpp.muc.ports import Means
from bridge.xmpp.muc.room import HostedRoom
from bridge.xmpp.muc.rooms import MODE, Rooms
from bridge.xmpp.muc.stanza import parsed, wrap
from bridge.xmpp.muc.stencil import OCCUPANT_ID, STANZA_IDS
from bridge.xmpp.packing import GUARDED
from bridge.xmpp.recipients import Lacking, seal_for_all
from bridge.xmpp.sealed import AGAIN_S, Finals, Strange, Told, passage

logger = logging.getLogger(__name__)

OURS_MAX: Final = 100

CLEAR: Final = (
    "{who} writes without encryption from XMPP, though this room is encrypted. It was"
    " delivered, as will be what they write next."
)
CLEAR_NOW: Final = (
    "The last message from XMPP came without encryption, so what is said here goes"
    " there without, too."
)
NO_OMEMO: Final = (
    "This room is encrypted, but the bridge finds no device of yours that uses OMEMO:"
    " you will not be able to read what is said on Matrix, and nobody there can write"
    " to this room while you are in it. Please turn OMEMO on, or ask an admin of the"
    " room to allow messages without encryption (on Matrix: !xmpp plaintext allow)."
)
HIDDEN: Final = (
    "This room is encrypted, but the bridge cannot see which devices of yours use"
    " OMEMO, so nobody on Matrix can write to this room while you are in it. If you are"
    " asked whether {relay} may be a contact of yours, please agree: your server shows"
    " the list to contacts only. Or ask an admin of the room to allow messages without"
    " encryption (on Matrix: !xmpp plaintext allow)."
)

_BLANK: Final = Sheet(b"", b"")
"""For nobody, not even for those who come later: none of XMPP belongs to the room."""


class Secrecy:
    """Opens and seals for all rooms; *reveal* shows who is in a room.

    *opened*, *sealed* and *failed* count messages.
    """

    def __init__(self, means: Means, rooms: Rooms, hopes: Hopes | None = None) -> None:
        self.opened = self.sealed = self.failed = 0
        self.hopes = hopes or Hopes(means.host, means.endtoend)
        self.reveal: Callable[[HostedRoom], None] = lambda _room: None
        self._means = means
        self._rooms = rooms
        self._final = Finals[Sheet]()
        self._told = Told()
        self._strange = Strange(means.host, omemo=means.endtoend is not None)

    def opens(self, stanza: Element) -> bool:
        """Tell whether *stanza* is sealed as we can open it."""
        if self._means.endtoend is None:
            return False
        return encryption(stanza) is Encryption.OMEMO

    async def open(
        self, said: Said, stanza: Element, key: str, unit: Unit
    ) -> Element | Refused | None:
        """Open *stanza*, which came in *said*; None if it was opened before.

        *key* names the arrival.
        """
        endtoend = cast("EndToEnd", self._means.endtoend)
        bare = said.device.partition("/")[0]
        way = passage(self._means.relay, bare, said.room, said.at_ms)
        found = await endtoend.decrypt(stanza, way, unit, key)
        if isinstance(found, Plain):
            self.opened += 1
            self.hopes.seen(bare)
            self._heard(said.room, unit, sealed=True)
            return wrap("message", dict(stanza.attrib), found.content)
        if isinstance(found, Empty) or (isinstance(found, NotForUs) and found.empty):
            if isinstance(found, Empty) and found.words:
                self._warn(said.room, f"{said.nick}: {found.words}")
            return wrap("message", dict(stanza.attrib), ())
        if isinstance(found, Failed) and found.repeated:
            return None
        self.failed += 1
        return Refused(Refusal.UNDECIPHERABLE, found.words)

    def strange(self, said: Said, stanza: Element) -> None:
        """Tell Matrix of *stanza* if it is encrypted as nobody can read it here."""
        self._strange.met(said.room, said.nick, stanza)

    def notices(self, said: Said) -> bool:
        """Tell whether ``clear`` may have anything to note about *said*."""
        if said.room in self._rooms.sealed:
            return True
        room = self._rooms.get(said.room)
        if room is None or room.public:
            return False
        portal = self._portal(said.room)
        return portal is not None and portal.encrypted

    def clear(self, said: Said, unit: Unit) -> None:
        """Take note of what came in the clear."""
        if said.room in self._rooms.sealed:
            self._heard(said.room, unit, sealed=False)
        room = self._rooms.get(said.room)
        if room is None or room.public:
            return
        portal = self._portal(said.room)
        bare = said.device.partition("/")[0]
        if (
            portal is not None
            and portal.encrypted
            and self._told.first((said.room, bare))
        ):
            self._warn(said.room, CLEAR.format(who=said.nick))

    def entered(self, room: HostedRoom, device: str) -> None:
        """Tell whoever came in, once, if they can read nothing of what is said."""
        portal = self._portal(room.address)
        if self._means.endtoend is None or portal is None:
            return
        self.hopes.seen(device.partition("/")[0])
        if portal.encrypted and not portal.exposed:
            look = self._look_at(room.address, device)
            self._means.tasks.create_task(look, name="look for OMEMO")

    async def seal(
        self,
        parcels: Sequence[Parcel],
        sheets: Sequence[Sheet | Refused],
        guarded: Sequence[bool],
    ) -> Sequence[Sheet | Refused | Later]:
        """Seal those of *sheets* that are *guarded*, up to the first trouble.

        What is sealed is on disk then. Asked again, it returns the same bytes.
        """
        unit = Unit()
        made: list[Sheet | Refused | Later] = []
        fresh: dict[int, Sheet] = {}
        for parcel, sheet, is_guarded in zip(parcels, sheets, guarded, strict=True):
            if not is_guarded or not isinstance(sheet, Sheet):
                made.append(sheet)
                continue
            known = self._final.get(parcel)
            found = known or await self._seal(parcel, sheet, unit)
            made.append(found)
            if not isinstance(found, Sheet):
                break
            if found is not known and found is not sheet:
                fresh[parcel.id] = found
                wire = replace(parcel.wire, data=pack(found))
                unit.final.append(replace(parcel, wire=wire))
        if fresh:
            await self._means.store.commit(unit)
            self._final.keep(fresh)
        return made

    def done(self, parcels: Sequence[Parcel], outcomes: Sequence[object]) -> None:
        """Forget those of *parcels* whose fate is known."""
        self._final.done(parcels, outcomes)

    def company(self, address: str) -> Company:
        """Name who meets in a room; see ``Checking``."""
        room = self._rooms.get(address)
        people = () if room is None else tuple(room.people.values())
        ours = [
            puppet_jid(seat.person.id, self._means.domain)
            for seat in people
            if seat.person.network is Network.MATRIX
        ]
        people_of_xmpp = self._rooms.recipients(address)
        return Company(self._means.relay, people_of_xmpp, ours[:OURS_MAX])

    async def _seal(
        self, parcel: Parcel, sheet: Sheet, unit: Unit
    ) -> Sheet | Refused | Later:
        stanza = parsed(sheet.stanza.to(self._means.relay))
        address = stanza.attributes["from"].partition("/")[0]
        portal = self._portal(address)
        room = self._rooms.get(address)
        if room is not None and room.public and portal is not None:
            self._close(room, portal)
        made = await self._encrypted(stanza, address, sheet.account, unit)
        if isinstance(made, Sealed):
            return self._finished(stanza, made, sheet)
        exposed = portal is not None and portal.exposed
        bare = sheet.guard != GUARDED or exposed
        if made is None:
            return sheet if bare else _BLANK
        if made.passing:
            return Later(AGAIN_S)
        if bare:
            return sheet
        logger.info("%s: cannot be sealed: %s", parcel.wire.key, made.words)
        if made.jids:
            self.hopes.refused(address, sheet.account, made.jids, one=made.away)
        return Refused(Refusal.WOULD_EXPOSE, made.words)

    def _close(self, room: HostedRoom, portal: Portal) -> None:
        """Let *room* be one in which people can encrypt, now that Matrix does."""
        if portal.encrypted:
            self.reveal(room)

    async def _encrypted(
        self, stanza: Node, address: str, account: str, unit: Unit
    ) -> Sealed | Lacking | None:
        """Seal for all members; None if there are none."""
        endtoend = self._means.endtoend
        if endtoend is None:
            return Lacking("the bridge has no OMEMO")
        content = tuple(
            child
            for child in stanza.children
            if isinstance(child, Node) and not _is_rooms(child)
        )
        way = Passage(account=account, peer="", to=address)
        room = self._rooms.get(address)
        seats = () if room is None else room.devices.values()
        people = self._rooms.recipients(address), {s.person.id for s in seats}
        return await seal_for_all(endtoend, content, way, people, unit)

    def _finished(self, stanza: Node, made: Sealed, sheet: Sheet) -> Sheet | Refused:
        rooms = tuple(c for c in stanza.children if _is_rooms(c) and not _is_hint(c))
        outside = stanza._replace(children=(*made.children, *rooms))
        try:
            whole = addressed(outside, self._means.domain)
        except StanzaError:
            return Refused(Refusal.TOO_LARGE)
        self.sealed += 1
        return Sheet(whole.before, whole.after, sheet.at_ms)

    async def _look_at(self, address: str, device: str) -> None:
        endtoend = cast("EndToEnd", self._means.endtoend)
        bare = device.partition("/")[0]
        try:
            capable = await endtoend.capable(self._means.relay, bare)
        except Exception:
            # The end of the line: nobody must fall out of a room because of this.
            logger.exception("whether %s uses OMEMO cannot be told", bare)
            return
        portal = self._portal(address)
        if capable or portal is None or portal.exposed:
            return  # it may have been allowed meanwhile: then nobody misses anything
        if not self._told.first((address, f"{bare} omemo")):
            return
        words = HIDDEN.format(relay=self._means.relay) if capable is None else NO_OMEMO
        body = node("body", None, words)
        attributes = {"type": "groupchat", "from": address, "to": device}
        self._means.write(node("message", attributes, body, OWN_WORDS))

    def _heard(self, address: str, unit: Unit, *, sealed: bool) -> None:
        """Take note of how people of XMPP write now."""
        known = address in self._rooms.sealed
        if known is sealed:
            return
        unit.put.append(Cursor(MODE, address, "yes" if sealed else ""))
        if sealed:
            self._rooms.sealed.add(address)
            return
        self._rooms.sealed.discard(address)
        portal = self._portal(address)
        if (portal is None or not portal.encrypted) and self._told.first((address, "")):
            self._warn(address, CLEAR_NOW)

    def _portal(self, address: str) -> Portal | None:
        return self._means.host.portal(Room(Network.XMPP, address))

    def _warn(self, address: str, words: str) -> None:
        self._means.host.warn(Room(Network.XMPP, address), words)


def _is_rooms(child: object) -> bool:
    """Tell whether the room itself says it, not who speaks."""
    if not isinstance(child, Node):
        return True
    space = child.attributes.get("xmlns", "")
    return space in (OCCUPANT_ID, STANZA_IDS) or _is_hint(child)


def _is_hint(child: object) -> bool:
    return isinstance(child, Node) and child.attributes.get("xmlns") == _HINTS


_HINTS: Final = "urn:xmpp:hints"
