"""Shows what was said in a room to those who were away (XEP-0313).

It holds what the store keeps of each room, as it was sent to the occupants: what was
encrypted then is so still. Where it begins and ends is known from the contents alone,
so that no query reads more than its page.
"""

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from xml.etree.ElementTree import Element

from bridge.core.ports import NEWEST
from bridge.model.delivery import Refusal
from bridge.model.pace import Pace
from bridge.model.places import Network, Person, Room
from bridge.xmpp.codec.names import Jid
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.gate import Addressed, content
from bridge.xmpp.muc import refusals
from bridge.xmpp.muc.contents import CONTENTS_MAX, Contents, Entry
from bridge.xmpp.muc.history import DELAY, History, Said, stamp
from bridge.xmpp.muc.paging import MAM, PAGE_MAX, Asked, Page, fin, form, page
from bridge.xmpp.muc.ports import Means
from bridge.xmpp.muc.presence import MUC_USER
from bridge.xmpp.muc.refusals import Fault
from bridge.xmpp.muc.room import HostedRoom
from bridge.xmpp.muc.rooms import MEMBER, OUTCAST, Rooms, remembered
from bridge.xmpp.muc.stencil import BLANK, formats, quoted

logger = logging.getLogger(__name__)

FEATURES = (MAM, f"{MAM}#extended")
PER_MINUTE = 60
"""So many queries of a person about one room are answered, and twice that at once."""
LINE_MAX = 1000
"""So many queries may wait: people who come online ask about all of their rooms."""
IN_USE_MAX = 64
"""Of so many rooms the contents are remembered."""
PAGE_BYTES_MAX = 1 << 20

_END = b"</message>"
_OCCUPANT = re.compile(rb"<occupant-id xmlns='urn:xmpp:occupant-id:0' id='(\w+)'/>")

Reply = Callable[[Element, Node | Fault | None], None]
Serve = Callable[[HostedRoom], Awaitable[Node | Fault]]


class Archive:
    """Answers queries; *reply* answers the IQ that one came in."""

    def __init__(self, means: Means, rooms: Rooms, reply: Reply) -> None:
        self._means = means
        self._rooms = rooms
        self._reply = reply
        self._pace = Pace(PER_MINUTE)
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._in_use: OrderedDict[str, History] = OrderedDict()

    def query(
        self, room: HostedRoom | None, stanza: Element, sender: Jid, to: Jid
    ) -> Fault | None:
        """Send a page of what was said, then tell which page it was."""
        asked = Asked.of(stanza[0])
        if isinstance(asked, Fault):
            return asked
        return self._start(
            room, stanza, sender, to, lambda room: self._page(room, asked, sender)
        )

    def metadata(
        self, room: HostedRoom | None, stanza: Element, sender: Jid, to: Jid
    ) -> Fault | None:
        """Tell where the archive begins and ends (XEP-0313 §5)."""
        return self._start(room, stanza, sender, to, self._bounds)

    def form(
        self, room: HostedRoom | None, _: Element, sender: Jid, to: Jid
    ) -> Node | Fault:
        """Tell what can be asked for."""
        return form() if self._may_read(room, sender, to) else refusals.FORBIDDEN

    def _may_read(self, room: HostedRoom | None, sender: Jid, to: Jid) -> bool:
        """Tell whether somebody is in the room, or was let in before."""
        standing = self._rooms.standing(to.bare, sender.bare)
        if standing == OUTCAST or self._means.host.bars(
            Person(Network.XMPP, sender.bare)
        ):
            return False
        return standing == MEMBER or (room is not None and sender.bare in room.people)

    def _start(
        self,
        room: HostedRoom | None,
        stanza: Element,
        sender: Jid,
        to: Jid,
        serve: Serve,
    ) -> Fault | None:
        if not self._may_read(room, sender, to):
            return refusals.FORBIDDEN
        if not self._pace.allows((sender.bare, to.bare)):
            return refusals.TOO_FAST
        if self._waiting >= LINE_MAX:
            return refusals.TOO_BUSY
        self._waiting += 1
        answer = self._answer(stanza, sender, to, serve)
        self._means.tasks.create_task(answer, name="read an archive")
        return None

    async def _answer(
        self, stanza: Element, sender: Jid, to: Jid, serve: Serve
    ) -> None:
        found: Node | Fault
        try:
            room = await self._open(to.bare, sender)
            if isinstance(room, Refusal):
                found = refusals.of_refusal(room)
            else:
                async with self._turn:  # so that one page at most fills our memory
                    found = await serve(room)
        except Exception:
            # The end of the line: whatever broke, somebody waits for an answer.
            logger.exception("the archive of %s cannot be read", to.bare)
            found = refusals.of_refusal(Refusal.UNREACHABLE)
        finally:
            self._waiting -= 1
        self._reply(stanza, found)

    async def _open(self, address: str, sender: Jid) -> HostedRoom | Refusal:
        room = self._rooms.get(address)
        if room is not None and room.loaded:
            return room
        if self._means.host.portal(Room(Network.XMPP, address)) is None:
            return Refusal.NO_SUCH_ROOM
        guest = Person(Network.XMPP, sender.bare)
        return await self._rooms.open(address, guest, sender.local)

    async def _page(self, room: HostedRoom, asked: Asked, sender: Jid) -> Node | Fault:
        found = page(await self._contents(room), asked)
        if found is None:
            return refusals.NOT_FOUND
        said = await self._said(room, [entry.number for entry in found.entries])
        found, fits = _fitting(found, said, backwards=asked.backwards)
        written = self._results(room, asked, fits)
        if asked.flipped:
            written.reverse()
        if written:
            self._means.stream.write(b"".join(one.to(sender.full) for one in written))
            await self._means.stream.drained()
        return fin(found)

    async def _bounds(self, room: HostedRoom) -> Node:
        entries = (await self._contents(room)).entries()
        ends = {"start": entries[0], "end": entries[-1]} if entries else {}
        inside = [
            node(name, {"id": entry.name, "timestamp": stamp(entry.at_ms)})
            for name, entry in ends.items()
        ]
        return node("metadata", {"xmlns": MAM}, *inside)

    async def _contents(self, room: HostedRoom) -> Contents:
        """Look up what there is; read once, then kept up to date by the history."""
        history = room.history
        contents = history.contents
        if contents is None:
            contents = history.catalogue()
            try:
                contents.merge(await self._older(room))
            except BaseException:
                history.contents = None
                raise
        self._in_use[room.address] = history
        self._in_use.move_to_end(room.address)
        if len(self._in_use) > IN_USE_MAX:
            _, idle = self._in_use.popitem(last=False)
            idle.contents = None
        return contents

    async def _older(self, room: HostedRoom) -> list[Entry]:
        """List what the store keeps, from page to page: messages may be large."""
        older: list[Entry] = []
        before = NEWEST
        while len(older) < CONTENTS_MAX:
            parcels = await self._means.store.archive(
                Network.XMPP, str(room.portal.id), PAGE_MAX, before
            )
            older.extend(
                Entry(said.name, said.number, said.at_ms)
                for parcel in parcels
                if (said := remembered(parcel))
            )
            if len(parcels) < PAGE_MAX:
                break
            before = parcels[0].id
        return older

    async def _said(self, room: HostedRoom, numbers: Sequence[int]) -> list[Said]:
        """Read the messages of those *numbers* that are still there, in order."""
        known = {said.number: said for said in room.history.among(set(numbers))}
        elsewhere = [number for number in numbers if number not in known]
        if elsewhere:
            parcels = await self._means.store.kept(
                Network.XMPP, str(room.portal.id), elsewhere
            )
            known.update(
                (said.number, said) for p in parcels if (said := remembered(p))
            )
        return [known[number] for number in numbers if number in known]

    def _results(
        self, room: HostedRoom, asked: Asked, said: Sequence[Said]
    ) -> list[Addressed]:
        """Write *said* as results (XEP-0313 §4.2, §6.1.2)."""
        about = {"xmlns": MAM, "queryid": asked.queryid, "id": BLANK}
        delay = node("delay", {"xmlns": DELAY, "stamp": BLANK})
        forwarded = node("forwarded", {"xmlns": "urn:xmpp:forward:0"}, delay, BLANK)
        stanza = node(
            "message", {"from": room.address}, node("result", about, forwarded)
        )
        before, after = formats(stanza, self._means.domain)
        occupants = [_occupant(one.stanza) for one in said]
        people = {} if room.public else self._people(room, set(occupants))
        results: list[Addressed] = []
        for one, occupant in zip(said, occupants, strict=True):
            message = _message(one.stanza, people.get(occupant, b""))
            inside = quoted(one.name), stamp(one.at_ms).encode(), message
            results.append(Addressed(before % (), after % inside))
        return results

    def _people(self, room: HostedRoom, occupants: set[str]) -> dict[str, bytes]:
        """Name those who spoke where all may know (XEP-0313 §6.1.2)."""
        people = {
            seat.id: room.jid(seat)
            for seat in room.seats.values()
            if seat.id in occupants
        }
        if not people.keys() >= occupants:
            for bare in self._rooms.members(room.address, MEMBER):
                people.setdefault(self._rooms.occupant_id(room.address, bare), bare)
        return {
            occupant: content(
                (node("x", {"xmlns": MUC_USER}, node("item", {"jid": jid})),)
            )
            for occupant, jid in people.items()
        }


def _fitting(
    found: Page, said: Sequence[Said], *, backwards: bool
) -> tuple[Page, Sequence[Said]]:
    """Cut from a page what is too much for one answer; the next page has it."""
    size = fits = 0
    for one in reversed(said) if backwards else said:
        size += len(one.stanza.before) + len(one.stanza.after)
        if fits and size > PAGE_BYTES_MAX:
            break
        fits += 1
    if fits == len(said):
        return found, said
    cut = len(said) - fits if backwards else 0
    part = said[cut : cut + fits]
    numbers = {one.number for one in part}
    entries = [entry for entry in found.entries if entry.number in numbers]
    shown = found._replace(entries=entries, place=found.place + cut, complete=False)
    return shown, part


def _occupant(stanza: Addressed) -> str:
    """Read who said it: what the room itself wrote stands after all they wrote."""
    found = _OCCUPANT.match(stanza.after, stanza.after.rfind(b"<occupant-id "))
    return found[1].decode() if found else ""


def _message(stanza: Addressed, person: bytes) -> bytes:
    """Write a stanza as it stands in another: in its own namespace, to nobody."""
    start = stanza.before.removeprefix(b"<message").removesuffix(b" to='")
    inside = stanza.after.removeprefix(b"'").removesuffix(_END)
    return b"<message xmlns='jabber:client'" + start + inside + person + _END
