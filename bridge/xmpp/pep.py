"""Personal eventing (XEP-0163) for our puppets: what they publish, the bridge serves.

    Pep(domain, write, ask); pep.add(source); then, in the adapter's order of questions:
    iq get/set to a puppet that exists -> await pep.answer(iq, sender, to, name)
                                          or, if that is None, disco
    presence to a puppet               -> await pep.presence(stanza, sender, to)
    our own available presence         -> must bear the child pep.caps()

Rules: everybody may read, nobody may write; what is not there is ``item-not-found`` and
nothing else, at once, as clients make of it what they do next; what only nobody can
tell now never is.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol
from xml.etree.ElementTree import Element

from bridge.xmpp import replies
from bridge.xmpp.codec.names import Jid, parse
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.interests import Interests
from bridge.xmpp.omemo.means import NotNowError
from bridge.xmpp.omemo.names import CURRENT, LEGACY_DEVICES, OMEMO2_DEVICES
from bridge.xmpp.replies import DISCO_INFO, DISCO_ITEMS

PUBSUB: Final = "http://jabber.org/protocol/pubsub"
EVENT: Final = f"{PUBSUB}#event"
ERRORS: Final = f"{PUBSUB}#errors"
CAPS: Final = "http://jabber.org/protocol/caps"
NODE: Final = "https://matrix.org/xmpp-bridge"
SUBSCRIPTIONS_MAX: Final = 20_000
ITEMS_MAX: Final = 50

_ACCOUNT: Final = (
    DISCO_INFO,
    DISCO_ITEMS,
    PUBSUB,
    f"{PUBSUB}#access-open",
    f"{PUBSUB}#auto-subscribe",
    f"{PUBSUB}#filtered-notifications",
    f"{PUBSUB}#item-ids",
    f"{PUBSUB}#last-published",
    f"{PUBSUB}#persistent-items",
    f"{PUBSUB}#retrieve-items",
    f"{PUBSUB}#subscribe",
    "urn:xmpp:ping",
    "vcard-temp",
    "http://jabber.org/protocol/commands",
)
_WATCHED: Final = (LEGACY_DEVICES, OMEMO2_DEVICES)
_DEVICE: Final = tuple(
    sorted(
        (
            DISCO_INFO,
            DISCO_ITEMS,
            CAPS,
            "urn:xmpp:ping",
            "urn:xmpp:eme:0",
            *(f"{one}+notify" for one in _WATCHED),
        )
    )
)
_IDENTITY: Final = replies.Identity("client", "bot", "Matrix bridge")


class Source(Protocol):
    """What can be read of a puppet under some nodes; OMEMO is one, avatars another."""

    @property
    def slow(self) -> bool:
        """Whether what there is takes so long to find that nobody waits for a list."""

    async def nodes(self, account: str) -> Sequence[str]:
        """List the nodes that *account* has; makes none."""

    async def items(
        self, account: str, node: str, asker: str
    ) -> Sequence[tuple[str, Node]] | None:
        """Return the items of a node by id, newest last; None if there is no node."""


class Pep:
    """Answers for the nodes of all puppets, and tells those who want to know.

    *ask* sends a question (to, sender, payload) and returns the result.
    """

    def __init__(
        self,
        domain: str,
        write: Callable[[Node], bool],
        ask: Callable[[str, str, Node], Awaitable[Element]],
    ) -> None:
        self._domain = domain
        self._write = write
        self._sources: list[Source] = []
        self._interests = Interests(ask)
        self._subscribers: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._persona = replies.info(_IDENTITY, _DEVICE)
        self._version = self._interests.learn(self._persona)

    def add(self, source: Source) -> None:
        """Serve what *source* has, after the sources that were added before."""
        self._sources.append(source)

    async def answer(
        self, iq: Element, sender: Jid, to: Jid, name: str = ""
    ) -> Node | None:
        """Answer a question to a puppet that exists, who is called *name*.

        None if it is neither pubsub nor service discovery: the caller's own disco
        answers it.
        """
        query = iq[0] if len(iq) else None
        if query is None:
            return None
        get = iq.get("type") == "get"
        if query.tag == f"{{{PUBSUB}}}pubsub" and not to.resource:
            if get:
                return await self._retrieve(iq, query, sender, to)
            return await self._subscribe(iq, query, sender, to)
        if get and query.tag == f"{{{DISCO_INFO}}}query":
            return await self._info(iq, query, to, name)
        if get and query.tag == f"{{{DISCO_ITEMS}}}query" and not to.resource:
            return await self._list(iq, query, to)
        return None

    def features(self) -> tuple[str, ...]:
        """List what the device of every puppet can do."""
        return _DEVICE

    def caps(self) -> Node:
        """Write the child that names those features in a presence; XEP-0115."""
        return node(
            "c",
            {"xmlns": CAPS, "hash": "sha-1", "node": NODE, "ver": self._version},
        )

    async def presence(
        self, stanza: Element, sender: Jid, to: Jid, *, ready: bool = False
    ) -> None:
        """Take a presence to a puppet: whoever wants to be notified gets the last item.

        Call it after ``contacts.answer``; the caps are looked up once per hash. If it
        is to be *ready*, what is wanted is made where it can be.
        """
        if sender.domain == self._domain:
            return
        wanted = await self._interests.presence(stanza, sender.full, to.bare)
        if not wanted:
            return
        for source in self._sources:
            # What is not known now keeps nobody from hearing of devices.
            with suppress(NotNowError):
                ask = ready or source.slow
                has = wanted if ask else await source.nodes(to.bare)
                for name in wanted.intersection(has):
                    items = await source.items(to.bare, name, sender.bare)
                    self._notify(to.bare, name, (sender.full,), items)

    async def changed(self, account: str, node: str, gone: Node | None = None) -> None:
        """Tell everybody who wants to know what *account* now has at *node*.

        If it has nothing there any more, *gone* says so.
        """
        items = await self._items(account, node, "")
        if items is None and gone is not None:
            items = ((CURRENT, gone),)
        watching = self._interests.watching(account, node)
        asked = [one[2] for one in self._subscribers if one[:2] == (account, node)]
        self._notify(account, node, dict.fromkeys((*watching, *asked)), items)

    def tell(self, account: str, node: str, peer: str, payload: Node) -> None:
        """Tell *peer* alone that *account* now has *payload* at *node*."""
        self._notify(account, node, (peer,), ((CURRENT, payload),))

    def forget(self) -> None:
        """Forget who is there, as the stream was lost."""
        self._interests.forget()

    async def _retrieve(
        self, iq: Element, pubsub: Element, sender: Jid, to: Jid
    ) -> Node:
        """Return items; XEP-0060 §6.5."""
        wanted = pubsub.find(f"{{{PUBSUB}}}items")
        if wanted is None:
            return replies.error(iq, "auth", "forbidden")
        name = wanted.get("node", "")
        found = await self._items(to.bare, name, sender.bare)
        if found is None:
            return replies.error(iq, "cancel", "item-not-found")
        ids = [one.get("id", "") for one in wanted.iterfind(f"{{{PUBSUB}}}item")]
        if ids:
            found = [one for one in found if one[0] in ids]
        most = wanted.get("max_items", "")
        if most.isascii() and most.isdigit():
            found = found[-max(1, int(most[:6])) :]
        items = [_item(item_id, payload) for item_id, payload in found[-ITEMS_MAX:]]
        inside = node("items", {"node": name}, *items)
        return replies.result(iq, node("pubsub", {"xmlns": PUBSUB}, inside))

    async def _subscribe(
        self, iq: Element, pubsub: Element, sender: Jid, to: Jid
    ) -> Node:
        """Subscribe or unsubscribe whoever asks; XEP-0060 §6.1, §6.2."""
        asked = pubsub[0] if len(pubsub) else None
        verb = "" if asked is None else asked.tag.removeprefix(f"{{{PUBSUB}}}")
        if asked is None or verb not in ("subscribe", "unsubscribe"):
            return replies.error(iq, "auth", "forbidden")
        jid, name = parse(asked.get("jid", "")), asked.get("node", "")
        if jid is None or jid.bare != sender.bare:
            why = replies.error(iq, "modify", "bad-request")
            return _with_reason(why, node("invalid-jid", {"xmlns": ERRORS}))
        place = (to.bare, name, jid.full)
        if verb == "unsubscribe":
            self._subscribers.pop(place, None)
            return replies.result(iq)
        if await self._items(to.bare, name, sender.bare) is None:
            return replies.error(iq, "cancel", "item-not-found")
        self._subscribers[place] = None
        if len(self._subscribers) > SUBSCRIPTIONS_MAX:
            self._subscribers.popitem(last=False)
        about = {"node": name, "jid": jid.full, "subscription": "subscribed"}
        said = node("subscription", about)
        return replies.result(iq, node("pubsub", {"xmlns": PUBSUB}, said))

    async def _info(self, iq: Element, query: Element, to: Jid, name: str) -> Node:
        asked = query.get("node", "")
        if to.resource:
            if asked not in ("", f"{NODE}#{self._version}"):
                return replies.error(iq, "cancel", "item-not-found")
            attributes = {**self._persona.attributes, **_node(asked)}
            return replies.result(iq, self._persona._replace(attributes=attributes))
        if not asked:
            about = replies.info(replies.Identity("account", "registered", name), ())
            pep = node("identity", {"category": "pubsub", "type": "pep"})
            features = (node("feature", {"var": one}) for one in _ACCOUNT)
            children = (*about.children, pep, *features)
            return replies.result(iq, about._replace(children=children))
        if asked not in await self._nodes(to.bare):
            return replies.error(iq, "cancel", "item-not-found")
        leaf = replies.Identity("pubsub", "leaf")
        return replies.result(iq, replies.info(leaf, (PUBSUB,), name=asked))

    async def _list(self, iq: Element, query: Element, to: Jid) -> Node:
        if query.get("node"):
            return replies.error(iq, "cancel", "item-not-found")
        names = await self._nodes(to.bare)
        found = (node("item", {"jid": to.bare, "node": name}) for name in names)
        return replies.result(iq, node("query", {"xmlns": DISCO_ITEMS}, *found))

    async def _nodes(self, account: str) -> list[str]:
        return [
            name for source in self._sources for name in await source.nodes(account)
        ]

    async def _items(
        self, account: str, name: str, asker: str
    ) -> Sequence[tuple[str, Node]] | None:
        for source in self._sources:
            items = await source.items(account, name, asker)
            if items is not None:
                return items
        return None

    def _notify(
        self,
        account: str,
        name: str,
        to: Sequence[str] | dict[str, None],
        items: Sequence[tuple[str, Node]] | None,
    ) -> None:
        """Send the last item; XEP-0163 §4.3."""
        if not items:
            return
        inside = node("items", {"node": name}, _item(*items[-1]))
        event = node("event", {"xmlns": EVENT}, inside)
        for jid in to:
            attributes = {"type": "headline", "from": account, "to": jid}
            self._write(node("message", attributes, event))


def _item(item_id: str, payload: Node) -> Node:
    return node("item", {"id": item_id}, payload)


def _node(asked: str) -> dict[str, str]:
    return {"node": asked} if asked else {}


def _with_reason(answer: Node, reason: Node) -> Node:
    error = answer.children[-1]
    assert isinstance(error, Node)
    more = error._replace(children=(*error.children, reason))
    return answer._replace(children=(*answer.children[:-1], more))
