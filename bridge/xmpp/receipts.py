"""Watches over what people who usually confirm have not confirmed (XEP-0184).

A receipt that does not come proves nothing: many clients send none, or none to
strangers. But whoever has confirmed before, is there again, and still does not
confirm may have lost the message: some servers clear what they kept for a device
when it comes back (XEP-0386), trusting an archive that never had it. They get it once
more, under the same id, and if that does not help, its sender is told.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from xml.etree.ElementTree import Element

import msgspec

from bridge.model.delivery import Parcel, Refusal, Refused, Wire
from bridge.model.places import Network, PortalId
from bridge.model.records import Cursor, Secret
from bridge.xmpp.codec.names import Jid
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.gate import serialise
from bridge.xmpp.means import Means
from bridge.xmpp.muc.stanza import STREAM, parsed
from bridge.xmpp.packing import Post, unpack

logger = logging.getLogger(__name__)

RECEIPTS = "urn:xmpp:receipts"
MARKERS = "urn:xmpp:chat-markers:0"
REQUEST = node("request", {"xmlns": RECEIPTS})
MARKABLE = node("markable", {"xmlns": MARKERS})

QUIET_S = 60.0
"""How long somebody who is there again may take to confirm."""
KEEP_AFTER_S = 10.0
"""What is not confirmed by then is kept on disk."""
FORGET_S = 7 * 86_400
OF_ONE_MAX = 100
CONFIRMING_MAX = 50_000
EARLY_MAX = 1000
SENT_MAX = 10_000

OWNER = "unconfirmed"
_CONFIRMS = "confirms"
_MESSAGE = f"{{{STREAM}}}message"
_RECEIVED = (f"{{{RECEIPTS}}}received", f"{{{MARKERS}}}received")
_DISPLAYED = f"{{{MARKERS}}}displayed"


Place = tuple[str, str]
"""Whom a message is for, and its id."""
Places = OrderedDict[Place, bool]
"""Whether a receipt for it shows that they confirm; to have read it does not."""


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What is not confirmed, as it lies on disk."""

    id: int
    lane: str
    key: str
    post: bytes
    receipt: bytes
    seq: int
    portal: int
    at_s: float
    again: bool


@dataclass(slots=True)
class Open:
    """A message that is not confirmed; *back_at* is when its addressee was back.

    That is by a clock which nobody sets: what is not due must not come again.
    """

    parcel: Parcel
    at_s: float
    again: bool = False
    back_at: float = 0.0
    kept: bool = False


class Receipts:
    """What was sent to people who usually confirm, until they do.

    *resent* counts what was sent once more, *unconfirmed* what was given up.
    """

    def __init__(self, means: Means) -> None:
        self.resent = 0
        self.unconfirmed = 0
        self._means = means
        self._confirming: dict[str, None] = {}
        self._open: dict[str, dict[str, Open]] = {}
        self._early: Places = OrderedDict()
        self._sent: Places = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Take up what an earlier run left."""
        for cursor in await self._means.store.load(Cursor):
            if cursor.kind == _CONFIRMS:
                self._confirming[cursor.key] = None
        for secret in await self._means.store.secrets(OWNER):
            kept = msgspec.msgpack.decode(secret.value, type=Kept)
            self._watch(_parcel(kept), kept.at_s, again=kept.again, kept=True)

    def sent(self, parcel: Parcel) -> None:
        """Take note that *parcel* has arrived at its addressee's server."""
        post = unpack(Post, parcel.wire.data)
        if post is None or not parcel.receipt:
            return  # nobody waits to hear of it
        bare = post.to.partition("/")[0]
        place = bare, parcel.wire.key
        confirms = self._early.pop(place, None)
        if confirms is not None:
            if confirms:
                self._learn(bare)
        elif bare in self._confirming:
            self._watch(parcel, _now())
            self._look_in(KEEP_AFTER_S)
        else:
            _put(self._sent, place, SENT_MAX, confirms=True)

    def came(self, stanza: Element, sender: Jid) -> None:
        """Look at what somebody sends: it may confirm, and it shows that they live."""
        bare = sender.bare
        message = stanza.tag == _MESSAGE
        if message and stanza.get("type") == "error":
            return
        confirmed, displayed = _confirmed(stanza) if message else ("", "")
        if confirmed:
            self._confirm(bare, confirmed)
        elif displayed:
            self._read(bare, displayed)
        elif bare in self._open and (message or not stanza.get("type")):
            for one in self._open[bare].values():
                one.back_at = one.back_at or monotonic()
            self._look_in(QUIET_S)

    def _confirm(self, bare: str, key: str) -> None:
        """Take note that *key* has come; of what nobody sent, it makes no difference.

        Else strangers could fill the list of those who usually confirm.
        """
        if self._sent.pop((bare, key), False):
            self._learn(bare)
        elif not self._drop(bare, key):
            _put(self._early, (bare, key), EARLY_MAX, confirms=True)

    def _read(self, bare: str, key: str) -> None:
        """Take note that a message is read, and all before it in that chat.

        XEP-0333 §4.1. Of what comes and is not read, such a client says nothing: so
        this makes nobody somebody who usually confirms.
        """
        mine = self._open.get(bare, {})
        last = mine.get(key)
        if last is None:
            _put(self._early, (bare, key), EARLY_MAX, confirms=False)
            return
        for name, one in list(mine.items()):
            if one.parcel.lane == last.parcel.lane:
                self._drop(bare, name)
            if name == key:
                return

    def _learn(self, bare: str) -> None:
        if bare not in self._confirming and len(self._confirming) < CONFIRMING_MAX:
            self._confirming[bare] = None
            self._means.put(Cursor(_CONFIRMS, bare, ""))

    def _watch(
        self, parcel: Parcel, at_s: float, *, again: bool = False, kept: bool = False
    ) -> None:
        post = unpack(Post, parcel.wire.data)
        if post is None:
            return
        bare = post.to.partition("/")[0]
        mine = self._open.setdefault(bare, {})
        mine[parcel.wire.key] = Open(parcel, at_s, again=again, kept=kept)
        if len(mine) > OF_ONE_MAX:
            self._drop(bare, next(iter(mine)))

    def _drop(self, bare: str, key: str) -> bool:
        """Watch over *key* no more; tell whether it was watched."""
        mine = self._open.get(bare, {})
        one = mine.pop(key, None)
        if one is not None and one.kept:
            self._means.drop(Secret(OWNER, key))
        if not mine:
            self._open.pop(bare, None)
        return one is not None

    def _look_in(self, after_s: float) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(after_s, self._look)

    def _look(self) -> None:
        """Do what is due; come again while anything may become so."""
        self._timer = None
        now = _now()
        for bare, one in list(self._all()):
            if now - one.at_s > FORGET_S:
                self._drop(bare, one.parcel.wire.key)
            elif one.back_at and monotonic() - one.back_at >= QUIET_S:
                self._overdue(bare, one)
            elif not one.kept and now - one.at_s >= KEEP_AFTER_S:
                self._keep(one)
        if any(one.back_at or not one.kept for _, one in self._all()):
            self._look_in(KEEP_AFTER_S)

    def _all(self) -> Iterator[tuple[str, Open]]:
        for bare, mine in self._open.items():
            for one in mine.values():
                yield bare, one

    def _overdue(self, bare: str, one: Open) -> None:
        parcel = one.parcel
        if not one.again:
            post = unpack(Post, parcel.wire.data)
            if post is not None and self._means.stream.write(self._dated(post, one)):
                logger.info("%s: sent again, as it was not confirmed", parcel.wire.key)
                self.resent += 1
                one.again, one.back_at = True, monotonic()
                self._keep(one)
            return
        logger.warning("%s: not confirmed, though sent twice", parcel.wire.key)
        self.unconfirmed += 1
        self._drop(bare, parcel.wire.key)
        self._means.host.regret(parcel, Refused(Refusal.UNCONFIRMED))

    def _keep(self, one: Open) -> None:
        one.kept = True
        parcel = one.parcel
        kept = Kept(
            parcel.id,
            parcel.lane,
            parcel.wire.key,
            parcel.wire.data,
            parcel.receipt,
            parcel.seq,
            parcel.portal,
            one.at_s,
            one.again,
        )
        value = msgspec.msgpack.encode(kept)
        self._means.put(Secret(OWNER, parcel.wire.key, value))

    def _dated(self, post: Post, one: Open) -> bytes:
        """Say in the stanza when it was first sent (XEP-0203)."""
        stamp = datetime.fromtimestamp(one.at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        delay = node("delay", {"xmlns": "urn:xmpp:delay", "stamp": stamp})
        stanza = parsed(post.stanza)
        stanza = stanza._replace(children=(*stanza.children, delay))
        return serialise(stanza, self._means.domain)


def _put(places: Places, place: Place, most: int, *, confirms: bool) -> None:
    """Note what is known of a message, but of no more than *most*."""
    places[place] = confirms
    if len(places) > most:
        places.popitem(last=False)


def received(device: str, puppet: str, name: str) -> Node:
    """Confirm to *device* that its message *name* has come (XEP-0184 §5.3)."""
    return node(
        "message",
        {"type": "chat", "from": puppet, "to": device},
        node("received", {"xmlns": RECEIPTS, "id": name}),
        node("store", {"xmlns": "urn:xmpp:hints"}),
    )


def asks(stanza: Element) -> bool:
    """Tell whether the sender of *stanza* wants to have it confirmed."""
    asked = stanza.find(f"{{{RECEIPTS}}}request") is not None
    return asked and bool(stanza.get("id"))


def _confirmed(stanza: Element) -> tuple[str, str]:
    """Tell what *stanza* says to have been received, and what to have been read."""
    for child in stanza:
        if child.tag in _RECEIVED:
            return child.get("id", ""), ""
        if child.tag == _DISPLAYED:
            return "", child.get("id", "")
    return "", ""


def _parcel(kept: Kept) -> Parcel:
    return Parcel(
        kept.id,
        Network.XMPP,
        kept.lane,
        Wire(kept.key, kept.post),
        kept.receipt,
        seq=kept.seq,
        portal=PortalId(kept.portal),
    )


def _now() -> float:
    return datetime.now(UTC).timestamp()
