"""The device lists and bundles of others: asked for once, kept until they change.

Rules: nobody waits longer than 15 s, and nobody for the server of somebody else; who
asks for what is being asked for shares the answer; what is known to be missing is not
asked for again within the hour, unless the list changes. A list that some account of
ours can read serves all of them, and so does a device on no list that one of them has
heard from.
"""

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from enum import Enum
from typing import Final, Generic, NamedTuple, TypeVar
from xml.etree.ElementTree import Element

from omemo import Bundle, DeviceList

from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.iq import IqError
from bridge.xmpp.omemo import wire
from bridge.xmpp.omemo.device import Wanted
from bridge.xmpp.omemo.names import (
    CURRENT,
    DEVICES_MAX,
    DEVICES_NODES,
    NAMESPACES,
    bundle_item,
    namespace_of,
)
from bridge.xmpp.omemo.used import Used
from bridge.xmpp.turns import Turns

logger = logging.getLogger(__name__)

LIST_KEPT_S: Final = 6 * 3600.0
UNWATCHED_KEPT_S: Final = 900.0
MISSING_KEPT_S: Final = 3600.0
MET_KEPT_S: Final = 30 * 86_400.0
BUNDLE_KEPT_S: Final = 600.0
TROUBLE_KEPT_S: Final = 60.0
KNOWN_MAX: Final = 5000

_PUBSUB: Final = "http://jabber.org/protocol/pubsub"
_EVENT: Final = "{http://jabber.org/protocol/pubsub#event}"
_UNREADABLE: Final = frozenset(("forbidden", "not-authorized"))
_SILENT: Final = frozenset(("remote-server-not-found", "remote-server-timeout"))

K = TypeVar("K")
V = TypeVar("V")

Ask = Callable[[str, str, Node], Awaitable[Element]]
"""Asks (to, sender, payload); raises ``IqError``, ``TimeoutError`` or ``OSError``."""


class State(Enum):
    """What came of asking."""

    KNOWN = "known"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    TROUBLE = "trouble"
    SILENT = "silent"
    """Trouble that all of ours would have, as their server is away."""


class Listed(NamedTuple):
    """The devices of somebody, in one namespace."""

    state: State
    devices: DeviceList


class _Kept(Generic[K, V]):
    """What is known for a while, the most recent first to stay."""

    def __init__(self) -> None:
        self._known: OrderedDict[K, tuple[V, float]] = OrderedDict()

    def get(self, key: K) -> V | None:
        known = self._known.get(key)
        if known is None or known[1] < time.monotonic():
            return None
        return known[0]

    def put(self, key: K, value: V, kept_s: float) -> None:
        self._known.pop(key, None)
        self._known[key] = value, time.monotonic() + kept_s
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    def drop(self, keys: Iterable[K]) -> None:
        for key in list(keys):
            self._known.pop(key, None)

    def __iter__(self) -> Iterator[K]:
        return iter(tuple(self._known))


class Remote:
    """What others publish; *unreadable* is called with (account, peer).

    *used* is what ours have used of their pre keys. *watch* is called with (account,
    namespace, peer) when an account has read a list: so may it be told of changes. What
    an account may not read, *relay* may: it is the contact of those who let all of ours
    see what they publish.
    """

    def __init__(
        self,
        ask: Ask,
        unreadable: Callable[[str, str], None],
        used: Used,
        relay: str = "",
    ) -> None:
        self.relay = relay
        self.used = used
        self._ask = ask
        self._unreadable = unreadable
        self.watch: Callable[[str, str, str], None] = lambda *_: None
        self._lists: _Kept[tuple[str, str], DeviceList] = _Kept()
        self._met: _Kept[tuple[str, str], tuple[int, ...]] = _Kept()
        self._refused: _Kept[tuple[str, str, str], State] = _Kept()
        self._bundles: _Kept[Wanted, Bundle] = _Kept()
        self._missing: _Kept[tuple[str, Wanted], State] = _Kept()
        self._asking: dict[tuple[str, str, str], asyncio.Future[None]] = {}
        self._turns = Turns()

    def listed(self, account: str, namespace: str, peer: str) -> Listed | None:
        """Return what is known of the devices of *peer*; None if nothing is."""
        devices = self._lists.get((namespace, peer))
        if devices is not None:
            return Listed(State.KNOWN if devices else State.MISSING, devices)
        place = (namespace, peer)
        state = self._refused.get((account, *place)) or self._refused.get(("", *place))
        return None if state is None else Listed(state, {})

    def met(self, namespace: str, peer: str, device: int) -> None:
        """Take note of a device that has written to one of ours, and is on no list."""
        known = self._met.get((namespace, peer)) or ()
        if device not in known:
            newest = (*known, device)[-DEVICES_MAX:]
            self._met.put((namespace, peer), newest, MET_KEPT_S)

    def unlisted(self, account: str, namespace: str, peer: str) -> Sequence[int]:
        """List the devices that ours have met and *account* may write to.

        There are none if *peer* lists any: then only those count.
        """
        if self._lists.get((namespace, peer)):
            return ()
        return [
            device
            for device in self._met.get((namespace, peer)) or ()
            if self.lack(account, (namespace, peer, device)) is None
        ]

    def hides(self, account: str, peer: str) -> bool:
        """Tell whether a device that ours have met shows its keys to contacts alone."""
        return any(
            self.lack(account, (namespace, peer, device)) is State.UNREADABLE
            for namespace in NAMESPACES
            for device in self._met.get((namespace, peer)) or ()
        )

    def bundle(self, account: str, wanted: Wanted) -> Bundle | None:
        """Return a bundle; see ``Bundles``."""
        found = self._bundles.get(wanted)
        at_hand = found is not None and self.used.knows(wanted)
        if not at_hand and self.lack(account, wanted) is None:
            raise KeyError(wanted)
        return found

    def lack(self, account: str, wanted: Wanted) -> State | None:
        """Tell why *account* cannot have a bundle; None if it can, or may."""
        return self._missing.get(("", wanted)) or self._missing.get((account, wanted))

    def reject(self, wanted: Wanted) -> None:
        """Take note that a bundle is no good."""
        self._bundles.drop((wanted,))
        self._missing.put(("", wanted), State.MISSING, MISSING_KEPT_S)

    async def learn(self, account: str, peers: Iterable[str]) -> None:
        """Have the lists of *peers* at hand, in both namespaces."""
        await _together(
            self._learn_list(account, namespace, peer)
            for peer in peers
            for namespace in NAMESPACES
            if self.listed(account, namespace, peer) is None
        )

    async def fetch(self, account: str, wanted: Iterable[Wanted]) -> None:
        """Have bundles at hand, or know that they are not to be had."""
        places = list(wanted)
        await self.used.learn(places)
        await _together(self._fetch(account, one) for one in places)

    def heard(self, stanza: Element, peer: str) -> bool:
        """Take an event of *peer*; False if it is not about their devices."""
        event = stanza.find(f"{_EVENT}event")
        told = next((one for one in event or () if one.get("node")), None)
        name = "" if told is None else told.get("node", "")
        namespace = namespace_of(name)
        if told is None or namespace is None:
            return False
        if name != DEVICES_NODES[namespace]:
            return True
        item = told.find(f"{_EVENT}item")
        devices = None if item is None else wire.device_list(item, namespace)
        if devices is None:
            # It tells that there is something new, but not what; XEP-0060 §7.1.2.2.
            self._forget_list(namespace, peer)
        else:
            self._take_list(namespace, peer, devices, LIST_KEPT_S)
        return True

    def admitted(self, account: str, peer: str) -> None:
        """Ask again for what *account* was refused: *peer* now has it for a contact."""
        helped = {account}
        if account == self.relay:
            helped.update(key[0] for key in (*self._refused, *self._missing))
            helped.discard("")
        refused = [key for key in self._refused if key[0] in ("", *helped)]
        self._refused.drop(key for key in refused if key[2] == peer)
        missing = [key for key in self._missing if key[0] in helped]
        self._missing.drop(key for key in missing if key[1][1] == peer)

    def unwatched(self, namespace: str, peer: str) -> None:
        """Keep a list for a short while only: nobody tells of its changes."""
        devices = self._lists.get((namespace, peer))
        if devices:
            self._lists.put((namespace, peer), devices, UNWATCHED_KEPT_S)

    def doubt(self, peer: str) -> None:
        """Ask for all that *peer* publishes again when it is next needed."""
        self._lists.drop((namespace, peer) for namespace in NAMESPACES)
        self._forget_bundles(peer)

    async def _learn_list(self, account: str, namespace: str, peer: str) -> None:
        place = (account, namespace, peer)
        while self.listed(*place) is None:
            async with self._single((namespace, peer, "")) as first:
                if first:
                    await self._ask_list(place)

    async def _ask_list(self, place: tuple[str, str, str]) -> None:
        account, namespace, peer = place
        item, reader = await self._item(account, peer, DEVICES_NODES[namespace], "")
        if isinstance(item, State):
            self._take_refusal(place, item)
            return
        devices = None if item is None else wire.device_list(item, namespace)
        kept_s = LIST_KEPT_S if devices else TROUBLE_KEPT_S
        self._take_list(namespace, peer, devices or {}, kept_s)
        self.watch(reader, namespace, peer)

    def _take_refusal(self, place: tuple[str, str, str], state: State) -> None:
        account, namespace, peer = place
        if state is State.MISSING:
            self._take_list(namespace, peer, {}, TROUBLE_KEPT_S)
            return
        kept_s = MISSING_KEPT_S if state is State.UNREADABLE else TROUBLE_KEPT_S
        whose, state = _of_whom(account, state)
        self._refused.put((whose, namespace, peer), state, kept_s)
        if state is State.UNREADABLE:
            self._unreadable(account, peer)

    def _take_list(
        self, namespace: str, peer: str, devices: DeviceList, kept_s: float
    ) -> None:
        self._forget_list(namespace, peer)
        self._lists.put((namespace, peer), devices, kept_s)
        self._missing.drop(key for key in self._missing if key[1][1] == peer)

    def _forget_list(self, namespace: str, peer: str) -> None:
        self._lists.drop(((namespace, peer),))
        self._refused.drop(key for key in self._refused if key[1:] == (namespace, peer))

    def _forget_bundles(self, peer: str) -> None:
        self._bundles.drop(key for key in self._bundles if key[1] == peer)
        self._missing.drop(key for key in self._missing if key[1][1] == peer)

    async def _fetch(self, account: str, wanted: Wanted) -> None:
        namespace, peer, device = wanted
        while self._is_unknown(account, wanted):
            async with self._single((namespace, peer, str(device))) as first:
                if first:
                    await self._ask_bundle(account, wanted)

    def _is_unknown(self, account: str, wanted: Wanted) -> bool:
        known = self._bundles.get(wanted) is not None
        return not known and self.lack(account, wanted) is None

    async def _ask_bundle(self, account: str, wanted: Wanted) -> None:
        namespace, peer, device = wanted
        name, item_id = bundle_item(namespace, device)
        only = "" if item_id == CURRENT else item_id
        item, _ = await self._item(account, peer, name, only)
        if isinstance(item, State) and item is not State.MISSING:
            whose, state = _of_whom(account, item)
            self._missing.put((whose, wanted), state, TROUBLE_KEPT_S)
            if state is State.UNREADABLE:
                self._unreadable(self._whom_to_let_see(account, wanted), peer)
            return
        if isinstance(item, Element):
            found = wire.bundle(item, namespace, peer, device)
            if found is not None:
                self._bundles.put(wanted, found, BUNDLE_KEPT_S)
                return
        self._missing.put(("", wanted), State.MISSING, MISSING_KEPT_S)

    def _whom_to_let_see(self, account: str, wanted: Wanted) -> str:
        """Name who asks to be a contact: the relay, if it has met the device."""
        namespace, peer, device = wanted
        met = device in (self._met.get((namespace, peer)) or ())
        return self.relay if met and self.relay else account

    async def _item(
        self, account: str, peer: str, name: str, item_id: str
    ) -> tuple[Element | State | None, str]:
        """Ask for the last item of a node, or for the one of that id; by whom, too."""
        found = await self._item_as(account, peer, name, item_id)
        if found is State.UNREADABLE and self.relay not in ("", account):
            return await self._item_as(self.relay, peer, name, item_id), self.relay
        return found, account

    async def _item_as(
        self, account: str, peer: str, name: str, item_id: str
    ) -> Element | State | None:
        if item_id:
            asked = node("items", {"node": name}, node("item", {"id": item_id}))
        else:
            asked = node("items", {"node": name, "max_items": "1"})
        payload = node("pubsub", {"xmlns": _PUBSUB}, asked)
        try:
            async with self._turns.question(peer):
                answer = await self._ask(peer, account, payload)
        except IqError as error:
            if error.condition == "item-not-found":
                return State.MISSING
            if error.condition in _UNREADABLE:
                return State.UNREADABLE
            logger.debug("%s does not tell %s: %s", peer, name, error.condition)
            return State.SILENT if error.condition in _SILENT else State.TROUBLE
        except TimeoutError:
            return State.SILENT
        except OSError:
            return State.TROUBLE
        items = answer.findall(
            f"{{{_PUBSUB}}}pubsub/{{{_PUBSUB}}}items/{{{_PUBSUB}}}item"
        )
        if item_id:
            items = [one for one in items if one.get("id") == item_id]
        return items[-1] if items else None

    @contextlib.asynccontextmanager
    async def _single(self, what: tuple[str, str, str]) -> AsyncIterator[bool]:
        """Ask for something once: yields False after waiting for who asks already."""
        flying = self._asking.get(what)
        if flying is not None:
            await asyncio.wait([flying])
            yield False
            return
        mine = self._asking[what] = asyncio.get_running_loop().create_future()
        try:
            yield True
        finally:
            del self._asking[what]
            mine.set_result(None)


def _of_whom(account: str, state: State) -> tuple[str, State]:
    """Tell for whom something cannot be had; for all of ours if that is empty."""
    return ("", State.TROUBLE) if state is State.SILENT else (account, state)


async def _together(jobs: Iterable[Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for job in jobs:
            tasks.create_task(_run(job))


async def _run(job: Awaitable[None]) -> None:
    await job
