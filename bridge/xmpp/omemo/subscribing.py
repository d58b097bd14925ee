"""Subscribes to the device lists of others, so that a change is noticed at once.

    a list was read -> subscribed to as who could read it (XEP-0060 §6.1) -> events

Contacts are told anyway; most people who write to somebody of Matrix are none. Where
that is refused, a list is soon read again.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from bridge.xmpp.codec.xml import node
from bridge.xmpp.iq import IqError
from bridge.xmpp.omemo.names import DEVICES_NODES
from bridge.xmpp.omemo.remote import Ask
from bridge.xmpp.turns import ANSWER_S

logger = logging.getLogger(__name__)

AGAIN_S: Final = 86_400.0
"""How long a subscription is believed in: a server may have forgotten it."""
SUBSCRIBED_MAX: Final = 10_000
AT_ONCE_MAX: Final = 8

_PUBSUB: Final = "http://jabber.org/protocol/pubsub"


class Listing(NamedTuple):
    """A list of devices: whose it is, and of which version."""

    namespace: str
    peer: str


class Subscribing:
    """What is subscribed to, and what is to be.

    *tell* asks for something to be done; *refused* is called with who publishes a list
    whose changes will not be told.
    """

    def __init__(self, tell: Ask, refused: Callable[[str, str], None]) -> None:
        self._tell = tell
        self._refused = refused
        self._since: OrderedDict[Listing, float] = OrderedDict()
        self._mute: set[Listing] = set()
        self._due: OrderedDict[Listing, str] = OrderedDict()
        self._wake = asyncio.Event()

    def want(self, account: str, namespace: str, peer: str) -> None:
        """Subscribe soon, as *account*, to a list that it has just read."""
        listing = Listing(namespace, peer)
        now = time.monotonic()
        if now - self._since.get(listing, -AGAIN_S) < AGAIN_S:
            if listing in self._mute:
                self._refused(*listing)
            return
        self._since.pop(listing, None)
        self._since[listing] = now
        self._mute.discard(listing)
        if len(self._since) > SUBSCRIBED_MAX:
            self._mute.discard(self._since.popitem(last=False)[0])
        self._due[listing] = account
        if len(self._due) > SUBSCRIBED_MAX:
            late, _ = self._due.popitem(last=False)
            self._give_up(late)
        self._wake.set()

    async def run(self) -> None:
        """Subscribe to what is wanted, a few at a time, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.beat()

    async def beat(self) -> None:
        """Subscribe to what is wanted now."""
        while self._due:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(AT_ONCE_MAX, len(self._due))):
                    listing, account = self._due.popitem(last=False)
                    tasks.create_task(self._subscribe(account, listing))

    async def _subscribe(self, account: str, listing: Listing) -> None:
        name = DEVICES_NODES[listing.namespace]
        asked = node("subscribe", {"node": name, "jid": account})
        payload = node("pubsub", {"xmlns": _PUBSUB}, asked)
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._tell(listing.peer, account, payload)
        except (IqError, TimeoutError, OSError) as error:
            logger.debug("%s tells no changes of %s: %s", listing.peer, name, error)
            self._give_up(listing)

    def _give_up(self, listing: Listing) -> None:
        """Have a list read again soon, this time and until it is subscribed to."""
        if listing in self._since:
            self._mute.add(listing)
        self._refused(*listing)
