"""The venue for direct chats: somebody of XMPP talks with the puppet of somebody.

Out of a conversation only one message is on its way at a time: an answer to a ping,
which took the same way, tells that the message before it has come or has come back.
"""

import logging
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

from bridge.core.ports import State, Unit
from bridge.model.delivery import (
    Arrival,
    Delivered,
    Later,
    Outcome,
    Parcel,
    Refusal,
    Refused,
    Route,
    Taken,
    Unreadable,
    Wire,
)
from bridge.model.events import (
    AnyEvent,
    Command,
    Content,
    Message,
    Protection,
    Rank,
)
from bridge.model.frozen import dataclass
from bridge.model.places import Network, Person, Room
from bridge.xmpp import contacts, reactions, receipts, replies
from bridge.xmpp.bounces import Bounces
from bridge.xmpp.codec.fault import fault, refused
from bridge.xmpp.codec.message import (
    OWN_WORDS,
    about,
    decode,
    encode,
    hops,
    origin_ref,
)
from bridge.xmpp.codec.names import (
    Jid,
    chat_address,
    chat_parts,
    mxid_of,
    parse,
    puppet_jid,
)
from bridge.xmpp.codec.peek import BODY, sent_at, speaks
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.gate import StanzaError, serialise
from bridge.xmpp.means import BOT, COMMAND, OWN, RESOURCE, Means
from bridge.xmpp.muc import refusals
from bridge.xmpp.muc.stanza import TooDeepError, to_element, to_node, wrap
from bridge.xmpp.packing import (
    AS_THE_CHAT,
    CHAT,
    GUARDED,
    Device,
    Letter,
    Post,
    pack,
    unpack,
)
from bridge.xmpp.persons import Persons
from bridge.xmpp.receipts import Receipts
from bridge.xmpp.secrecy import Bare, Secrecy

logger = logging.getLogger(__name__)

ANSWER_S = 30.0
_MESSAGE = "{jabber:component:accept}message"
_NICK = "{http://jabber.org/protocol/nick}nick"
_WHISPER = "{http://jabber.org/protocol/muc#user}x"
_JOIN = "{http://jabber.org/protocol/muc}x"
_STORE = node("store", {"xmlns": "urn:xmpp:hints"})
_NAME_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Written(Message):
    """A message of a direct chat; *device* is where its sender can be answered."""

    device: bytes


class Chats:
    """Direct chats; see ``Venue`` for most of it.

    *ignored* counts the stanzas that nothing could be made of.
    """

    def __init__(self, means: Means, persons: Persons | None = None) -> None:
        self.ignored = 0
        self._means = means
        self._persons = persons
        self._bears = persons.bears if persons else lambda _: ()
        self._introduce = persons.introduce if persons else lambda _, __: ()
        self.secrecy = Secrecy(means, None)
        if persons is not None:
            self.secrecy = Secrecy(means, persons.endtoend, persons.hopes)
            self.secrecy.farewell = persons.farewell
        self._bounces = Bounces()
        self._reactions = reactions.Reactions()
        self._receipts = Receipts(means)

    @property
    def tag(self) -> bytes:
        """The first byte of all that this venue writes for itself."""
        return CHAT

    async def start(self) -> None:
        """Take up what is not confirmed; for the rest, a chat is in its address."""
        await self._receipts.start()

    async def up(self) -> None:
        """Do nothing: whoever writes is there."""

    def down(self) -> None:
        """Do nothing: what is on its way is asked for again."""

    def received(self, stanza: Element, sender: Jid, to: Jid) -> None:
        """Take a message or a presence to a puppet or to the bridge itself."""
        known = to.local in OWN or mxid_of(to.local) is not None
        self._receipts.came(stanza, sender)
        if stanza.tag != _MESSAGE:
            self._see(stanza, sender, to, known=known)
            return
        if self._persons is not None and self._persons.heard(stanza, sender):
            return
        kind = stanza.get("type", "normal")
        if kind == "error":
            why = fault(stanza)
            late = self._bounces.came(stanza.get("id", ""), sender.bare, why)
            if late is not None:
                self._means.host.regret(late, refused(why))
        elif kind not in ("chat", "normal"):
            self.ignored += 1
        elif speaks(stanza):
            self._take(stanza, sender, to, known=known)
        else:
            self._regret(stanza, chat_address(sender.bare, to.bare))

    def glance(self, _: Arrival) -> None:
        """Nothing: what somebody writes may ask for an answer."""

    async def read(self, taken: Taken, unit: Unit) -> AnyEvent | Unreadable | None:
        """Make an event of what somebody wrote."""
        letter = unpack(Letter, taken.arrival.raw)
        if letter is None:
            logger.error("arrival %d is in no format of ours", taken.seq)
            return None
        stanza = to_element(letter.stanza)
        came = await self.secrecy.open(letter, stanza, taken.arrival.key, unit)
        content: Content | Refusal | None
        if isinstance(came, Bare):
            content = self._decode(letter, came)
        else:
            content, came = came, Bare(stanza, sealed=False)
        if content is None:
            self._regret(came.stanza, taken.arrival.room.address)
            return None
        asked = receipts.asks(came.stanza)
        name = stanza.get("id", "")
        device = pack(CHAT, Device(letter.sender, letter.to, name, asked))
        if isinstance(content, Refusal):
            return Unreadable(content, device)
        return _event(letter, taken.arrival, came, content, device)

    def _regret(self, stanza: Element, chat: str) -> None:
        """Say, once in a chat, that reactions do not cross."""
        room, host = Room(Network.XMPP, chat), self._means.host
        if host.portal(room) and self._reactions.tells(stanza, chat):
            host.later(room, self.notice(room, reactions.WORDS))

    def _decode(self, letter: Letter, came: Bare) -> Content | Refusal | None:
        sender = parse(letter.sender)
        if came.sealed and sender is not None:
            self._receipts.came(came.stanza, sender)  # OMEMO 2 has them inside
        return decode(came.stanza)

    def receipt(self, event: Message) -> bytes:
        """Note who is to be told how *event* fared."""
        return event.device if isinstance(event, Written) else b""

    def prepare(self, event: Message, route: Route) -> Sequence[Wire] | Refusal:
        """Write *event* as a puppet writes it to their contact."""
        parts = chat_parts(route.room.address)
        if parts is None:
            return Refusal.NO_SUCH_PERSON
        sender = f"{puppet_jid(event.sender.id, self._means.domain)}/{RESOURCE}"
        # Whether it can be sealed, or need not be, is seen on the way out.
        guard = GUARDED if event.protection else AS_THE_CHAT
        called = self._introduce(parts[1], event.name)
        wires: list[Wire] = []
        for number, part in enumerate(encode(event.content), 1):
            name = event.ref.id if number == 1 else f"{event.ref.id}/{number}"
            try:
                part.extend(
                    (receipts.REQUEST, receipts.MARKABLE, *about(event), *called)
                )
                stanza = self._letter(parts[0], sender, name, part)
            except StanzaError:
                return Refusal.TOO_LARGE
            post = Post(parts[0], sender, stanza, guard=guard)
            wires.append(Wire(name, pack(CHAT, post)))
        return wires

    async def apply(
        self,
        event: State,  # noqa: ARG002 - the port's signature
        route: Route,  # noqa: ARG002
    ) -> Sequence[Wire]:
        """Show nothing: who is in the Matrix room is no affair of a chat."""
        return ()

    async def send(self, parcels: Sequence[Parcel]) -> Sequence[Outcome | Later]:
        """Send the first of *parcels*, and wait until it has come or come back."""
        parcel = parcels[0]
        post = unpack(Post, parcel.wire.data)
        if post is None:
            logger.error("parcel %d is in no format of ours", parcel.id)
            return [Refused(Refusal.MALFORMED)]
        outcome: Outcome | Later = Delivered()
        # Else an earlier run had handed it to the server and fell before the answer.
        if parcel.id not in self._means.written:
            sealed = await self.secrecy.seal(post, parcel)
            if not isinstance(sealed, Parcel):
                return [sealed]
            parcel = sealed
            outcome = await self._post(unpack(Post, parcel.wire.data) or post, parcel)
        if not isinstance(outcome, Later):
            self.secrecy.done(parcel)
        if isinstance(outcome, Delivered):
            self._bounces.arrived(parcel, post.to.partition("/")[0])
            self._receipts.sent(parcel)
        return [outcome]

    def settle(self, receipt: bytes, outcome: Outcome) -> Sequence[Wire]:
        """Tell a sender what became of what they wrote: of success, if they asked."""
        device = unpack(Device, receipt)
        if device is None:
            logger.error("a receipt is in no format of ours")
            return ()
        if isinstance(outcome, Delivered):
            if not device.asked:
                return ()
            confirmed = receipts.received(device.jid, device.puppet, device.id)
            return (self._slip(confirmed, device.jid, device.puppet),)
        came = {"from": device.jid, "to": device.puppet, "id": device.id}
        words = refusals.of_refusal(outcome.why, outcome.detail)
        answer = replies.error(wrap("message", came, ()), *words)
        return (self._slip(answer, device.jid, device.puppet),)

    def notice(self, room: Room, words: str) -> Sequence[Wire]:
        """Write words of the bridge's own to *room*."""
        parts = chat_parts(room.address)
        if parts is None:
            return ()
        remote, puppet = parts
        name = secrets.token_hex(12)
        body = (node("body", None, words), OWN_WORDS)
        sender = f"{puppet}/{RESOURCE}"
        stanza = self._letter(remote, sender, name, body)
        post = Post(remote, sender, stanza, guard=AS_THE_CHAT)
        return (Wire(name, pack(CHAT, post)),)

    def addressee(self, chat: Room) -> Person | Refusal | None:
        """Name the Matrix person of a direct chat, or None if it is a MUC."""
        parts = chat_parts(chat.address)
        if parts is None:
            return None
        mxid = mxid_of(parts[1].rpartition("@")[0])
        return Refusal.NO_SUCH_PERSON if mxid is None else Person(Network.MATRIX, mxid)

    def chat(self, person: Person, puppet: Person) -> Room:
        """Name the direct chat of a person of XMPP with one of Matrix."""
        own = puppet_jid(puppet.id, self._means.domain)
        jid = parse(person.id)
        bare = person.id if jid is None else jid.bare
        return Room(Network.XMPP, chat_address(bare, own))

    async def _post(self, post: Post, parcel: Parcel) -> Outcome | Later:
        stream = self._means.stream
        bare = post.to.partition("/")[0]
        with self._bounces.expect(parcel, bare) as bounce:
            if not stream.write(post.stanza, (parcel.id,)):
                return Later(1.0)
            # A server that answers nothing has at least taken what our own gave it.
            answered = post.sure and await stream.ping(bare, post.sender, ANSWER_S)
            if not answered and not await stream.barrier():
                return Later(1.0)
        if bounce.fault is None:
            return Delivered()
        return refused(bounce.fault)

    def _see(self, stanza: Element, sender: Jid, to: Jid, *, known: bool) -> None:
        if stanza.get("type") is None and stanza.find(_JOIN) is not None:
            self._write(contacts.no_room(stanza, to.domain))
            return
        bears = self._bears(to.bare)
        for answer in contacts.answer(stanza, sender, to, bears, exists=known):
            self._write(answer)
        if self._persons is not None and known:
            self._persons.seen(stanza, sender, to)

    def _take(self, stanza: Element, sender: Jid, to: Jid, *, known: bool) -> None:
        if not known:
            self._write(contacts.nobody(stanza))
            return
        if stanza.find(_WHISPER) is not None and sender.resource:
            # It came through a MUC that we are not in: no answer would find its way.
            self._write(refusals.refuse(stanza, refusals.NO_WHISPER))
            return
        at_ms = int((sent_at(stanza) or datetime.now(UTC)).timestamp() * 1000)
        try:
            letter = Letter(sender.full, to.bare, at_ms, to_node(stanza))
        except TooDeepError:
            malformed = refusals.of_refusal(Refusal.MALFORMED)
            self._write(refusals.refuse(stanza, malformed))
            return
        room = Room(Network.XMPP, chat_address(sender.bare, to.bare))
        key = self._key(stanza, sender.bare, to.bare)
        self._means.inbound.add(Arrival(room, key, pack(CHAT, letter)))

    def _key(self, stanza: Element, sender: str, to: str) -> str:
        """Tell a message from all others: clients repeat what they are not sure of."""
        name = stanza.get("id", "")
        if not name:
            return secrets.token_hex(16)
        said = stanza.findtext("{*}encrypted/{*}payload") or stanza.findtext(BODY) or ""
        return self._means.repeats.name(sender, to, name, said)

    def _letter(self, to: str, sender: str, name: str, part: Sequence[Node]) -> bytes:
        # XEP-0334 §4.4: to be kept for devices that are away, by any server.
        stanza = node(
            "message",
            {"type": "chat", "from": sender, "to": to, "id": name},
            *part,
            node("origin-id", {"xmlns": "urn:xmpp:sid:0", "id": name}),
            _STORE,
        )
        return serialise(stanza, self._means.domain)

    def _slip(self, answer: Node, to: str, sender: str) -> Wire:
        stanza = serialise(answer, self._means.domain)
        post = Post(to, sender, stanza, sure=False)
        return Wire(secrets.token_hex(12), pack(CHAT, post))

    def _write(self, answer: Node | None) -> None:
        if answer is not None:
            self._means.stream.write(serialise(answer, self._means.domain))


def _event(
    letter: Letter, arrival: Arrival, came: Bare, content: Content, device: bytes
) -> Written | Command:
    bare = letter.sender.partition("/")[0]
    sender = Person(Network.XMPP, bare)
    ref = origin_ref(sender, came.stanza.get("id") or arrival.key)
    at = datetime.fromtimestamp(letter.at_ms / 1000, UTC)
    called = _called(came.stanza, bare)
    protection = Protection.END_TO_END if came.sealed else Protection.TRANSPORT
    words = content.body.plain
    if letter.to.startswith(f"{BOT}@") or words.startswith(COMMAND):
        return Command(
            ref=ref,
            room=arrival.room,
            sender=sender,
            sent_at=at,
            name=called,
            protection=protection,
            words=words.removeprefix(COMMAND),
            rank=Rank.GUEST,
            private=True,
        )
    return Written(
        ref=ref,
        room=arrival.room,
        sender=sender,
        sent_at=at,
        name=called,
        protection=protection,
        content=content,
        hops=hops(came.stanza),
        device=device,
    )


def _called(stanza: Element, bare: str) -> str:
    """Tell what somebody calls themselves (XEP-0172)."""
    name = " ".join((stanza.findtext(_NICK) or "").split())[:_NAME_MAX]
    return name or bare.partition("@")[0]
