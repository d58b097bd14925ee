"""Makes puppets persons with a device: what they publish, and how they keep secrets.

    question  -> PEP, else service discovery -> answer
    presence  -> who wants to be notified of what
    event     -> what others have published

Every question is answered, though some must wait for the disk or for the homeserver.
"""

import asyncio
import logging
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from xml.etree.ElementTree import Element

from bridge.core.ports import StoreUnavailableError, Unit
from bridge.model.pictures import NO_PICTURE, Picture
from bridge.model.places import Network, Person
from bridge.xmpp import replies
from bridge.xmpp.adhoc import Adhoc
from bridge.xmpp.avatars import Avatars
from bridge.xmpp.cards import AWAY, NICK, VCARD, Cards, nick
from bridge.xmpp.codec.avatar import METADATA, metadata
from bridge.xmpp.codec.names import Jid, mxid_of, parse
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.endtoend import Passage, Sealed
from bridge.xmpp.gate import StanzaError, serialise
from bridge.xmpp.hopes import Hopes
from bridge.xmpp.means import OWN, RELAY, Means
from bridge.xmpp.omemo.lazy import LazyOmemo
from bridge.xmpp.omemo.means import NotNowError, OmemoMeans
from bridge.xmpp.omemo.names import LEGACY, LEGACY_DEVICES, OMEMO2, OMEMO2_DEVICES
from bridge.xmpp.pep import EVENT, Pep

logger = logging.getLogger(__name__)

AT_ONCE_MAX = 1_000
OF_ONE_MAX = 200
"""So many questions of one person are looked into at once: others have theirs, too."""
ASKED_MAX = 10_000
KNOWN_MAX = 10_000
ANSWER_S = 15.0
WISH = "so that messages to you can be encrypted: show me your devices"
SWITCHED_OFF = "OMEMO is switched off on this bridge"

_NOBODY = {
    LEGACY_DEVICES: node("list", {"xmlns": LEGACY}),
    OMEMO2_DEVICES: node("devices", {"xmlns": OMEMO2}),
}
"""The lists of who has no device."""

_THERE_OR_NOT = (None, "unavailable", "error")
"""The types of the presences that tell whether somebody is there."""

Plainly = Callable[[Element, str], Node]


class Persons:
    """All puppets, as their contacts' clients and servers see them.

    *plainly* answers a question about somebody called so, if PEP has no answer. *hopes*
    hear of it when more may be known of somebody's devices. *endtoend* is what seals;
    None if nothing is to be sealed.
    """

    def __init__(self, means: Means, plainly: Plainly, *, sealing: bool = True) -> None:
        self._means = means
        self._plainly = plainly
        self._busy = 0
        self._looking = 0
        self._asking: Counter[str] = Counter()
        self._asked: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._pep = Pep(means.domain, self._write, self._ask)
        self._cards = Cards(self._called)
        self._pep.add(self._cards)
        self.omemo = LazyOmemo(
            OmemoMeans(
                store=means.store,
                stream=means.stream,
                write=self._write,
                exists=self._exists,
                published=self._pep.changed,
                unreadable=self._ask_for_subscription,
                relay=f"{RELAY}@{means.domain}",
            )
        )
        self.endtoend = self.omemo if sealing else None
        if sealing:
            self._pep.add(self.omemo)
        self._avatars = Avatars(self._pictured)
        self._pep.add(self._avatars)  # the last: it may take long
        self._adhoc = Adhoc(self.endtoend)
        self.hopes = Hopes(means.host, self.endtoend)

    async def start(self) -> None:
        """Take note of what an earlier run could not seal."""
        await self.hopes.restore(self._means.store)

    async def recover(self) -> None:
        """Use no session again that a restored backup remembers."""
        await self.omemo.recover()

    async def farewell(self, account: str, peer: str) -> None:
        """Tell somebody's client that it had better not seal any more.

        Who speaks OMEMO 2 is told so, sealed; who does not sees that there is nobody
        any more to seal for.
        """
        passage = Passage(account=account, peer=peer, to=peer)
        unit = Unit()
        made = await self.omemo.opt_out(passage, SWITCHED_OFF, unit)
        if isinstance(made, Sealed):
            await self._means.store.commit(unit)
            about = {"type": "chat", "from": account, "to": peer}
            name = secrets.token_hex(12)
            self._write(node("message", {**about, "id": name}, *made.children))
        for name, nobody in _NOBODY.items():
            self._pep.tell(account, name, peer, nobody)

    async def run(self) -> None:
        """Look after sessions, keys and what waits for them, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.omemo.run(), name="sessions")
            tasks.create_task(self.hopes.run(), name="hopes")

    def down(self) -> None:
        """Take note that the stream is lost."""
        self._pep.forget()

    def asked(self, iq: Element, sender: Jid, to: Jid, name: str) -> None:
        """Answer a question about a puppet who is called *name*."""
        asker = sender.bare
        if self._busy >= AT_ONCE_MAX or self._asking[asker] >= OF_ONE_MAX:
            self._write(replies.error(iq, "wait", "resource-constraint"))
            return
        self._busy += 1
        self._asking[asker] += 1
        task = self._means.tasks.create_task(self._answer(iq, sender, to, name))
        task.add_done_callback(lambda done: self._answered(asker, done))

    def seen(self, stanza: Element, sender: Jid, to: Jid) -> None:
        """Take a presence to a puppet."""
        if stanza.get("type") == "subscribed":
            self.omemo.admitted(to.bare, sender.bare)
            self.hopes.heard(sender.bare)
        if stanza.get("type") in _THERE_OR_NOT:
            self._look(stanza, sender, to)

    def met(self, stanza: Element, sender: Jid) -> None:
        """Take a presence to a room that is not public: the relay is there, too.

        Its devices are told of at once to who wants to know. Profanity since 0.15 asks
        for keys only of devices of which it knew before OMEMO was started, and the JID
        for which people encrypt in a room is seldom a contact of theirs.
        """
        to = Jid(RELAY, self._means.domain)
        if self.endtoend is not None:
            self._look(stanza, sender, to, ready=True)

    def bears(self, account: str) -> Sequence[Node]:
        """Write what every presence of *account* bears."""
        return (self._pep.caps(), *self._avatars.hint(account))

    def repictured(self, account: str) -> None:
        """Take note that *account* may look different: who wants to know is told."""
        if self._busy < AT_ONCE_MAX:
            self._busy += 1
            look = self._look_at(account)
            self._means.tasks.create_task(look).add_done_callback(self._done)

    def introduce(self, account: str, name: str) -> Sequence[Node]:
        """Write what the puppet *account* is called, for those whose contact it is not.

        XEP-0172 §4.2. Contacts who watch the nickname are told if it is another one.
        """
        if not name:
            return ()
        if self._cards.learn(account, name) and self._busy < AT_ONCE_MAX:
            self._busy += 1
            changed = self._pep.changed(account, NICK)
            self._means.tasks.create_task(changed).add_done_callback(self._done)
        return (nick(name),)

    def heard(self, stanza: Element, sender: Jid) -> bool:
        """Take a message if it only tells what somebody has published.

        What of our own comes back as undelivered tells what we have published.
        """
        returned = stanza.get("type") == "error"
        if returned or stanza.find(f"{{{EVENT}}}event") is None:
            return False
        self.omemo.heard(stanza, sender.bare)
        self.hopes.heard(sender.bare)
        return True

    async def _answer(self, iq: Element, sender: Jid, to: Jid, name: str) -> None:
        answer: Node | None = None
        try:
            answer = await self._card(iq, to)
            answer = answer or await self._adhoc.answer(iq, sender, to)
            answer = answer or await self._pep.answer(iq, sender, to, name)
        except StoreUnavailableError:
            answer = replies.error(iq, "wait", "resource-constraint")
        except NotNowError as error:
            answer = replies.error(iq, "wait", str(error))
        except Exception:
            logger.exception("a question to %s cannot be answered", to.bare)
            answer = replies.error(iq, "wait", "internal-server-error")
        self._write(answer or self._plainly(iq, name))

    async def _card(self, iq: Element, to: Jid) -> Node | None:
        """Answer who asks for the card of a puppet (XEP-0054 §3.3)."""
        if iq.get("type") != "get" or iq.find(f"{{{VCARD}}}vCard") is None:
            return None
        card = await self._cards.card(to.bare)
        if card is None:
            return replies.error(iq, "cancel", "item-not-found")
        photo = await self._avatars.photo(to.bare)
        return replies.result(iq, card._replace(children=(*card.children, *photo)))

    async def _look_at(self, account: str) -> None:
        try:
            if await self._avatars.has_changed(account):
                await self._pep.changed(account, METADATA, metadata(NO_PICTURE))
        except NotNowError:
            logger.debug("nobody is told what %s looks like now", account)
        except Exception:
            # The end of the line: a picture must not stop the bridge.
            logger.exception("the picture of %s cannot be looked at", account)

    async def _pictured(self, mxid: str) -> Picture | None:
        return await self._means.host.pictured(Person(Network.MATRIX, mxid))

    async def _called(self, mxid: str) -> str | None:
        return await self._means.host.called(Person(Network.MATRIX, mxid))

    def _look(
        self, stanza: Element, sender: Jid, to: Jid, *, ready: bool = False
    ) -> None:
        # Who does not tell what their client can do takes no place of those who ask.
        if self._looking < AT_ONCE_MAX:
            self._looking += 1
            look = self._see(stanza, sender, to, ready=ready)
            self._means.tasks.create_task(look).add_done_callback(self._looked)

    async def _see(self, stanza: Element, sender: Jid, to: Jid, *, ready: bool) -> None:
        try:
            await self._pep.presence(stanza, sender, to, ready=ready)
        except StoreUnavailableError:
            logger.warning("%s is not told what is new", sender.bare)
        except Exception:
            logger.exception("a presence to %s cannot be read", to.bare)

    def _answered(self, asker: str, task: "asyncio.Task[None]") -> None:
        self._done(task)
        self._asking[asker] -= 1
        if not self._asking[asker]:
            del self._asking[asker]

    def _looked(self, _: "asyncio.Task[None]") -> None:
        self._looking -= 1

    def _done(self, _: "asyncio.Task[None]") -> None:
        self._busy -= 1

    async def _exists(self, account: str) -> bool:
        """Tell whether an address of ours is somebody's; raises ``NotNowError``."""
        if account in self._known:
            return True
        jid = parse(account)
        if jid is None or jid.domain != self._means.domain:
            return False
        mxid = mxid_of(jid.local)
        if jid.local not in OWN:
            person = Person(Network.MATRIX, mxid or "")
            name = "" if mxid is None else await self._means.host.called(person)
            if name is None:
                raise NotNowError(AWAY)
            if not name:
                return False
        self._known[account] = None
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return True

    def _ask_for_subscription(self, account: str, peer: str) -> None:
        """Ask somebody, once, to let a puppet see what only contacts may.

        Whom the relay has asked, nobody else bothers: it sees for all of ours.
        """
        pair = (account, peer)
        relay = (f"{RELAY}@{self._means.domain}", peer)
        if pair in self._asked or relay in self._asked:
            return
        self._asked[pair] = None
        if len(self._asked) > ASKED_MAX:
            self._asked.popitem(last=False)
        wish = {"type": "subscribe", "from": account, "to": peer}
        self._write(node("presence", wish, node("status", None, WISH)))

    async def _ask(self, to: str, sender: str, payload: Node) -> Element:
        return await self._means.stream.iq("get", to, sender, payload, ANSWER_S)

    def _write(self, stanza: Node) -> bool:
        try:
            return self._means.stream.write(serialise(stanza, self._means.domain))
        except StanzaError as error:
            logger.debug("an answer cannot be written: %s", error)
            return False
