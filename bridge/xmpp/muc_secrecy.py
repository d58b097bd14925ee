"""Keeps what is said in MUCs elsewhere as secret as their people do.

    somebody wrote sealed -> opened once, by whoever of ours it is sealed for
                          -> opened by all others of ours, later, for nothing but
                             that their sessions stay young
    a puppet speaks       -> sealed with its own device for all members

Puppets are members there, like everybody, or they could not come in.
"""

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, cast
from xml.etree.ElementTree import Element

import msgspec

from bridge.core.ports import StoreUnavailableError, Unit
from bridge.model.delivery import Later, Outcome, Parcel, Refusal, Refused
from bridge.model.places import Network, Room
from bridge.model.records import Cursor
from bridge.xmpp.checking import Company
from bridge.xmpp.codec.encryption import encryption
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.endtoend import (
    Empty,
    EndToEnd,
    Failed,
    NotForUs,
    Opened,
    Passage,
    Plain,
    Sealed,
)
from bridge.xmpp.gate import StanzaError, serialise
from bridge.xmpp.hopes import Hopes
from bridge.xmpp.means import Means
from bridge.xmpp.muc.stanza import parsed, wrap
from bridge.xmpp.packing import (
    AS_IT_IS,
    AS_THE_CHAT,
    GUARDED,
    MUC,
    Heard,
    Speech,
    pack,
)
from bridge.xmpp.recipients import Lacking, seal_for_all
from bridge.xmpp.relaying import relayed
from bridge.xmpp.sealed import AGAIN_S, Finals, Strange, Told, passage
from bridge.xmpp.stay import Stay

logger = logging.getLogger(__name__)

PUPPETS_MAX: Final = 64
"""Everybody who writes encrypts for each of them."""
FOLLOWED_MAX: Final = 1000
MODE: Final = "muc-elsewhere-sealed"

CROWDED: Final = (
    f"{PUPPETS_MAX} people of Matrix speak in the encrypted room on XMPP, and each"
    " takes a device more for which all others encrypt. So the bridge itself says there"
    " what anybody else says here, and puts their name before it."
)
UNFIT: Final = (
    "the room on XMPP is not one in which people can encrypt: it would have to be for"
    " members only, and to show who they are"
)
NOT_TOLD: Final = "the room on XMPP does not tell the bridge who its members are"

CLEAR_NOW: Final = (
    "The last message from XMPP came without encryption, so what is said here goes"
    " there without, too, unless this room is encrypted."
)
NOBODY: Final = "nobody is in the room on XMPP who could read it"

Item = tuple[Parcel, Speech]


class Seen(NamedTuple):
    """A sealed message that some of ours have not opened yet."""

    stanza: Element
    passage: Passage
    accounts: tuple[str, ...]


class MucSecrecy:
    """Opens and seals for all of ours; without *endtoend* nothing can be either.

    *opened*, *sealed* and *failed* count messages.
    """

    def __init__(
        self, means: Means, endtoend: EndToEnd | None, hopes: Hopes | None = None
    ) -> None:
        self.opened = self.sealed = self.failed = 0
        self.hopes = hopes or Hopes(means.host, endtoend)
        self._means = means
        self._endtoend = endtoend
        self._modes: set[str] = set()
        self._told: set[str] = set()
        self._final = Finals[Speech]()
        self._crowded = Told()
        self._strange = Strange(means.host, omemo=endtoend is not None)
        self._behind: deque[Seen] = deque(maxlen=FOLLOWED_MAX)

    @property
    def works(self) -> bool:
        """Whether anything can be sealed at all."""
        return self._endtoend is not None

    def restore(self, cursors: Iterable[Cursor]) -> None:
        """Take note of the rooms in which the last words had come sealed."""
        self._modes = {one.key for one in cursors if one.kind == MODE and one.value}

    def guard(self, muc: str, *, protected: bool) -> int:
        """Tell how what is said to *muc* may leave."""
        if protected:
            return GUARDED
        return AS_THE_CHAT if muc in self._modes else AS_IT_IS

    def is_plain(self, heard: Heard, stanza: Element) -> bool:
        """Tell whether *stanza* came in the clear, which is nothing new in its room."""
        return encryption(stanza) is None and heard.muc not in self._modes

    async def open(
        self, heard: Heard, stanza: Element, key: str, unit: Unit, stay: Stay | None
    ) -> Element | Refused | None:
        """Open *stanza* if it is sealed, for whoever of ours in *stay* it is sealed.

        It comes back as it is if it is not; None if it says nothing to anybody.
        """
        if self._strange.met(heard.muc, heard.nick, stanza):
            return stanza  # it is refused in words that name what can be read
        if encryption(stanza) is None:
            self._heard(heard.muc, unit, sealed=False)
            return stanza
        if self._endtoend is None or not heard.jid:
            return stanza
        way = passage(self._means.bot, heard.jid, heard.muc, heard.at_ms)
        ours = self._ours(stay)
        found, by = await self._first(stanza, way, ours, (unit, key))
        self._follow(stanza, way, tuple(one for one in ours if one != by))
        if isinstance(found, Plain):
            self.opened += 1
            self.hopes.seen(heard.jid)
            self._heard(heard.muc, unit, sealed=True)
            return wrap("message", dict(stanza.attrib), found.content)
        if isinstance(found, Empty) and found.words:
            words = f"{heard.nick}: {found.words}"
            self._means.host.warn(Room(Network.XMPP, heard.muc), words)
        if isinstance(found, Failed | NotForUs) and not _is_silent(found):
            self.failed += 1
            words = f"A message of {heard.nick} could not be read: {found.words}"
            self._means.host.warn(Room(Network.XMPP, heard.muc), words)
            return Refused(Refusal.UNDECIPHERABLE, found.words)
        return None

    def company(self, stay: Stay | None) -> Company:
        """Name who meets in a room; see ``Checking``."""
        people = () if stay is None else stay.members.others()
        return Company(self._means.bot, people, self._ours(stay))

    async def follow(self) -> None:
        """Let all others of ours open what was opened, or they lose touch.

        A session from which a thousand messages were not taken is dead.
        """
        endtoend = self._endtoend
        while self._behind and endtoend is not None:
            stanza, passage, accounts = self._behind.popleft()
            unit = Unit()
            try:
                for account in accounts:
                    mine = replace(passage, account=account)
                    await endtoend.decrypt(stanza, mine, unit)
                await self._means.store.commit(unit)
            except StoreUnavailableError:
                logger.warning("%s: some sessions could not be kept", passage.to)
            except Exception:
                # The end of the line: what was said has been read by somebody.
                logger.exception("%s: some sessions cannot be kept", passage.to)

    async def seal(
        self, stay: Stay, items: Sequence[Item]
    ) -> tuple[Sequence[Item], Refused | Later | None]:
        """Seal those of *items* that are guarded; return them up to the first trouble.

        What is sealed is on disk then. Asked again, it returns the same bytes.
        """
        unit, made = Unit(), list[Item]()
        fresh: dict[int, Speech] = {}
        coming: set[str] = set()
        trouble: Refused | Later | None = None
        for parcel, speech in items:
            found: Speech | Refused | Later = speech
            if speech.guard != AS_IT_IS:
                known = self._final.get(parcel)
                found = known or await self._seal(stay, speech, unit, coming)
            if not isinstance(found, Speech):
                trouble = found
                break
            made.append((parcel, found))
            if found is not speech and self._final.get(parcel) is None:
                fresh[parcel.id] = found
                wire = replace(parcel.wire, data=pack(MUC, found))
                unit.final.append(replace(parcel, wire=wire))
        if fresh:
            await self._means.store.commit(unit)
            self._final.keep(fresh)
        return made, trouble

    def done(self, items: Sequence[Item], outcomes: Sequence[Outcome | Later]) -> None:
        """Forget those of *items* whose fate is known."""
        self._final.done([parcel for parcel, _ in items], outcomes)

    async def _first(
        self,
        stanza: Element,
        passage: Passage,
        accounts: Sequence[str],
        step: tuple[Unit, str],
    ) -> tuple[Opened, str]:
        """Open *stanza* by the first of *accounts* that it is sealed for."""
        endtoend = cast("EndToEnd", self._endtoend)
        found: Opened = NotForUs(empty=False)
        for account in accounts:
            mine = replace(passage, account=account)
            found = await endtoend.decrypt(stanza, mine, step[0], step[1])
            if not isinstance(found, NotForUs):
                return found, account
        return found, ""

    async def _seal(
        self, stay: Stay, speech: Speech, unit: Unit, coming: set[str]
    ) -> Speech | Refused | Later:
        if not speech.mxid:
            return speech
        found: Speech | Refused | Later | None = self._objection(stay)
        if found is None:
            if self._is_full(stay, speech.mxid, coming):
                try:
                    speech = relayed(speech, self._means.listener)
                except StanzaError:
                    return Refused(Refusal.TOO_LARGE)
            found = await self._sealed(stay, speech, unit)
        exposing = isinstance(found, Refused) and found.why is Refusal.WOULD_EXPOSE
        return speech if exposing and self._may_be_bare(stay, speech) else found

    async def _sealed(
        self, stay: Stay, speech: Speech, unit: Unit
    ) -> Speech | Refused | Later:
        stanza = parsed(speech.stanza)
        made = await self._encrypted(stay, stanza, unit) or Lacking(NOBODY)
        if isinstance(made, Sealed):
            return self._finished(stanza, made, speech)
        if made.passing:
            return Later(AGAIN_S)
        if made.jids and not self._may_be_bare(stay, speech):
            account = _account(stanza)
            self.hopes.refused(stay.address, account, made.jids, one=made.away)
        return Refused(Refusal.WOULD_EXPOSE, made.words)

    def _may_be_bare(self, stay: Stay, speech: Speech) -> bool:
        portal = self._means.host.portal(stay.room)
        exposed = portal is not None and portal.exposed
        return exposed or speech.guard != GUARDED

    def _is_full(self, stay: Stay, mxid: str, coming: set[str]) -> bool:
        """Tell whether no puppet of *mxid*, beside those that are *coming*, fits in."""
        within = {seat.mxid for seat in stay.puppets if seat.within} | coming
        if mxid in within or len(within) < PUPPETS_MAX:
            coming.add(mxid)
            return False
        if self._crowded.first(stay.address):
            self._means.host.warn(stay.room, CROWDED)
        return True

    def _objection(self, stay: Stay) -> Refused | None:
        """Say why nothing can be sealed for the room at all."""
        if self._endtoend is None or not stay.hearing.about.secret:
            return Refused(Refusal.WOULD_EXPOSE, UNFIT)
        if not stay.members.known:
            return Refused(Refusal.WOULD_EXPOSE, NOT_TOLD)
        return None

    async def _encrypted(
        self, stay: Stay, stanza: Node, unit: Unit
    ) -> Sealed | Lacking | None:
        way = Passage(account=_account(stanza), peer="", to=stay.address)
        present = {seen.jid for seen in stay.occupancy}
        people = stay.members.others(), present
        content = tuple(c for c in stanza.children if isinstance(c, Node))
        endtoend = cast("EndToEnd", self._endtoend)
        return await seal_for_all(endtoend, content, way, people, unit)

    def _finished(self, stanza: Node, made: Sealed, speech: Speech) -> Speech | Refused:
        outside = stanza._replace(children=made.children)
        try:
            data = serialise(outside, self._means.domain)
        except StanzaError:
            return Refused(Refusal.TOO_LARGE)
        self.sealed += 1
        return msgspec.structs.replace(speech, stanza=data, guard=AS_IT_IS)

    def _ours(self, stay: Stay | None) -> list[str]:
        seats = () if stay is None else tuple(stay.puppets)
        return [self._means.bot, *(seat.jid for seat in seats if seat.within)]

    def _follow(
        self, stanza: Element, passage: Passage, accounts: tuple[str, ...]
    ) -> None:
        if accounts:
            self._behind.append(Seen(stanza, passage, accounts))

    def _heard(self, muc: str, unit: Unit, *, sealed: bool) -> None:
        """Take note of how people write now."""
        if (muc in self._modes) is sealed:
            return
        unit.put.append(Cursor(MODE, muc, "yes" if sealed else ""))
        if sealed:
            self._modes.add(muc)
            return
        self._modes.discard(muc)
        if muc not in self._told:
            self._told.add(muc)
            self._means.host.warn(Room(Network.XMPP, muc), CLEAR_NOW)


def _account(stanza: Node) -> str:
    return stanza.attributes["from"].partition("/")[0]


def _is_silent(found: Failed | NotForUs) -> bool:
    if isinstance(found, Failed):
        return found.repeated
    return found.empty or not found.tell
