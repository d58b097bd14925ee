"""Keeps direct chats as secret as their people do.

    came sealed   -> open -> as if it had come in the clear, but guarded
    to be written -> seal -> sealed, or in the clear, or not at all

A chat is sealed as its person of XMPP has last written. What came guarded from Matrix
never leaves in the clear unless the portal permits it.
"""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import NamedTuple, cast
from xml.etree.ElementTree import Element

import msgspec

from bridge.core.ports import Unit
from bridge.model.delivery import Later, Parcel, Refusal, Refused
from bridge.model.places import Network, Room
from bridge.model.records import Cursor
from bridge.xmpp.codec.encryption import Encryption, encryption
from bridge.xmpp.codec.names import chat_address
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.endtoend import (
    Empty,
    EndToEnd,
    Failed,
    NotForUs,
    Passage,
    Plain,
    Sealed,
    Trust,
    Unsealable,
)
from bridge.xmpp.gate import StanzaError, serialise
from bridge.xmpp.hopes import Hopes
from bridge.xmpp.means import Means
from bridge.xmpp.muc.stanza import parsed, wrap
from bridge.xmpp.packing import AS_IT_IS, CHAT, GUARDED, Letter, Post, pack
from bridge.xmpp.sealed import AGAIN_S, Finals, Strange, Told, passage

logger = logging.getLogger(__name__)

MODES_MAX = 10_000

CLEAR_NOW = (
    "The last message came without encryption, so answers go without, too, unless this"
    " room is encrypted."
)
NEW_DEVICE = (
    "The next message is from a device that is new since you have verified another one"
    " of theirs. It cannot read what you write until you trust it; see: !xmpp omemo"
)
_MODE = "sealed"
_PARTED = "opted out"


class Bare(NamedTuple):
    """What came, in the clear; *sealed* says that it came sealed."""

    stanza: Element
    sealed: bool


class Secrecy:
    """Opens and seals for all puppets; without *endtoend* everything is in the clear.

    *opened*, *sealed* and *failed* count messages. Without, *farewell* is awaited with
    (account, peer) for everybody who seals, once.
    """

    def __init__(
        self, means: Means, endtoend: EndToEnd | None, hopes: Hopes | None = None
    ) -> None:
        self.opened = self.sealed = self.failed = 0
        self.hopes = hopes or Hopes(means.host, endtoend)
        self.farewell: Callable[[str, str], Awaitable[None]] | None = None
        self._means = means
        self._endtoend = endtoend
        self._modes: OrderedDict[str, bool] = OrderedDict()
        self._final = Finals[Parcel]()
        self._waiting = Told()
        self._strange = Strange(means.host, omemo=endtoend is not None)

    async def open(
        self, letter: Letter, stanza: Element, key: str, unit: Unit
    ) -> Bare | Refusal | None:
        """Open *stanza* if it is sealed; None if nothing in it is for people.

        *key* names the arrival.
        """
        peer = letter.sender.partition("/")[0]
        chat = chat_address(peer, letter.to)
        if self._strange.met(chat, peer, stanza):
            if encryption(stanza) is Encryption.OMEMO:
                await self._part(letter.to, peer, unit)
            return Bare(stanza, sealed=False)
        if encryption(stanza) is None:
            self.hopes.seen(peer)
            await self._heard(chat, unit, sealed=False)
            return Bare(stanza, sealed=False)
        return await self._opened(letter, stanza, key, unit)

    async def _opened(
        self, letter: Letter, stanza: Element, key: str, unit: Unit
    ) -> Bare | Refusal | None:
        endtoend = cast("EndToEnd", self._endtoend)
        peer = letter.sender.partition("/")[0]
        chat = chat_address(peer, letter.to)
        way = passage(letter.to, peer, letter.to, letter.at_ms)
        found = await endtoend.decrypt(stanza, way, unit, key)
        match found:
            case Plain(content):
                self.opened += 1
                self.hopes.seen(peer)
                await self._heard(chat, unit, sealed=True)
                self._look_at(found, chat)
                attributes = dict(stanza.attrib)
                return Bare(wrap("message", attributes, content), sealed=True)
            case Empty(words):
                self._warn(chat, words)
                return None
            case NotForUs() if found.empty or not found.tell:
                return None
            case Failed() if found.repeated:
                return None
        self.failed += 1
        self._warn(chat, f"An encrypted message could not be read: {found.words}")
        return Refusal.UNDECIPHERABLE

    async def seal(self, post: Post, parcel: Parcel) -> Parcel | Refused | Later:
        """Return what is to be written for *parcel*: sealed, and on disk, if need be.

        Asked again for the same parcel, it returns the same bytes.
        """
        if post.guard == AS_IT_IS or self._endtoend is None:
            return self._unsealed(post, parcel)
        known = self._final.get(parcel)
        if known is not None:
            return known
        peer, account = (one.partition("/")[0] for one in (post.to, post.sender))
        chat = chat_address(peer, account)
        guarded = post.guard == GUARDED
        if not guarded and not await self.is_sealed(chat):
            return parcel
        unit = Unit()
        stanza = parsed(post.stanza)
        content = cast("tuple[Node, ...]", stanza.children)
        way = Passage(account=account, peer=peer, to=peer)
        made = await self._endtoend.encrypt(content, way, (peer,), unit)
        if isinstance(made, Unsealable):
            return self._unsealable(made, parcel, way)
        final = self._finish(stanza, made, post, parcel)
        if isinstance(final, Parcel):
            unit.final.append(final)
            await self._means.store.commit(unit)
            self._final.keep({final.id: final})
        return final

    def done(self, parcel: Parcel) -> None:
        """Forget *parcel*, whose fate is known."""
        self._final.done((parcel,), (None,))

    def _unsealed(self, post: Post, parcel: Parcel) -> Parcel | Refused:
        """Let pass what needs no sealing, or what nobody can seal but may go."""
        if post.guard == GUARDED and not self._exposed(
            chat_address(post.to.partition("/")[0], post.sender.partition("/")[0])
        ):
            return Refused(Refusal.WOULD_EXPOSE)
        return parcel

    def _unsealable(
        self, made: Unsealable, parcel: Parcel, way: Passage
    ) -> Parcel | Refused | Later:
        if made.passing:
            return Later(AGAIN_S)
        chat = chat_address(way.peer, way.account)
        # The bridge's own words tell nothing of what was said.
        if self._exposed(chat) or not parcel.receipt:
            return parcel
        logger.info("%s: cannot be sealed: %s", parcel.wire.key, made.words)
        self.hopes.refused(chat, way.account, (way.peer,))
        return Refused(Refusal.WOULD_EXPOSE, made.words)

    def _finish(
        self, stanza: Node, made: Sealed, post: Post, parcel: Parcel
    ) -> Parcel | Refused:
        outside = stanza._replace(children=made.children)
        try:
            data = serialise(outside, self._means.domain)
        except StanzaError:
            return Refused(Refusal.TOO_LARGE)
        self.sealed += 1
        final = msgspec.structs.replace(post, stanza=data, guard=AS_IT_IS)
        return replace(parcel, wire=replace(parcel.wire, data=pack(CHAT, final)))

    def _exposed(self, chat: str) -> bool:
        portal = self._means.host.portal(Room(Network.XMPP, chat))
        return portal is not None and portal.exposed

    def _warn(self, chat: str, words: str) -> None:
        if words:
            self._means.host.warn(Room(Network.XMPP, chat), words)

    def _look_at(self, found: Plain, chat: str) -> None:
        """Tell, once, of a device that reads no answer until somebody trusts it."""
        place = (chat, found.device)
        if found.trust is Trust.WAITING and self._waiting.first(place):
            self._warn(chat, NEW_DEVICE)

    async def _part(self, account: str, peer: str, unit: Unit) -> None:
        """Say, once, that nothing is to be sealed; XEP-0384 §5.7."""
        chat = chat_address(peer, account)
        known = await self._means.store.find(Cursor, _PARTED, chat)
        if known is None and self.farewell is not None:
            unit.put.append(Cursor(_PARTED, chat, ""))
            await self.farewell(account, peer)

    async def _heard(self, chat: str, unit: Unit, *, sealed: bool) -> None:
        """Take note of how the person of XMPP writes now."""
        before = await self.is_sealed(chat)
        if before == sealed:
            return
        self._modes[chat] = sealed
        unit.put.append(Cursor(_MODE, chat, "yes" if sealed else ""))
        if before:
            self._warn(chat, CLEAR_NOW)

    async def is_sealed(self, chat: str) -> bool:
        """Tell whether the person of XMPP has last written sealed in *chat*."""
        known = self._modes.get(chat)
        if known is None:
            cursor = await self._means.store.find(Cursor, _MODE, chat)
            known = self._modes[chat] = cursor is not None and bool(cursor.value)
            if len(self._modes) > MODES_MAX:
                self._modes.popitem(last=False)
        return known
