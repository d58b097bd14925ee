"""Who wants to be notified of what our puppets publish, as their presence says.

presence -> caps -> (asked once per hash, and verified) -> features -> "+notify"
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final
from xml.etree.ElementTree import Element

from bridge.xmpp.codec import caps
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.iq import IqError
from bridge.xmpp.muc.stanza import to_element
from bridge.xmpp.replies import DISCO_INFO

logger = logging.getLogger(__name__)

HASHES_MAX: Final = 2000
WATCHERS_MAX: Final = 100_000
VERSION_CHARS_MAX: Final = 200

_CAPS: Final = "{http://jabber.org/protocol/caps}c"
_QUERY: Final = f"{{{DISCO_INFO}}}query"
_NOTIFY: Final = "+notify"
_SHA1: Final = "sha-1"

Ask = Callable[[str, str, Node], Awaitable[Element]]
Watching = frozenset[str]


class Interests:
    """What is known of others' caps, and who is there with which."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._known: OrderedDict[tuple[str, str], Watching] = OrderedDict()
        self._asking: dict[tuple[str, ...], asyncio.Future[None]] = {}
        self._there: OrderedDict[tuple[str, str], Watching] = OrderedDict()

    def learn(self, query: Node) -> str:
        """Return the hash of our own features."""
        version = caps.verification(to_element(query), _SHA1)
        assert version is not None
        return version

    async def presence(self, stanza: Element, sender: str, to: str) -> Watching:
        """Return the nodes of *to* that *sender* wants to hear of from now on."""
        if stanza.get("type") is not None:
            if stanza.get("type") in ("unavailable", "error"):
                self._there.pop((to, sender), None)
            return frozenset()
        found = stanza.find(_CAPS)
        if found is None:
            return frozenset()
        wanted = await self._watched(found, sender, to)
        before = self._there.pop((to, sender), frozenset())
        if wanted:
            self._there[to, sender] = wanted
            if len(self._there) > WATCHERS_MAX:
                self._there.popitem(last=False)
        return wanted - before

    def watching(self, account: str, name: str) -> list[str]:
        """List who is there and wants to hear of a node of *account*."""
        return [
            jid
            for (to, jid), wanted in self._there.items()
            if to == account and name in wanted
        ]

    def forget(self) -> None:
        """Forget who is there; what hashes mean stays true."""
        self._there.clear()

    async def _watched(self, found: Element, sender: str, to: str) -> Watching:
        algorithm, version = found.get("hash", ""), found.get("ver", "")
        key = (algorithm, version)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        if not algorithm or len(version) > VERSION_CHARS_MAX:
            return frozenset()
        # Whoever was asked first may be silent, though others with that hash are not.
        for name in (key, (*key, sender)):
            flying = self._asking.get(name)
            if flying is None:
                return await self._learnt(name, found, sender, to)
            await asyncio.wait([flying])
            if key in self._known:
                return self._known[key]
        return frozenset()

    async def _learnt(
        self, name: tuple[str, ...], found: Element, sender: str, to: str
    ) -> Watching:
        """Ask *sender*, while others wait for the question *name*."""
        mine = self._asking[name] = asyncio.get_running_loop().create_future()
        try:
            wanted = await self._resolve(found, sender, to)
        finally:
            del self._asking[name]
            mine.set_result(None)
        if wanted is None:
            return frozenset()
        self._known[name[0], name[1]] = wanted
        if len(self._known) > HASHES_MAX:
            self._known.popitem(last=False)
        return wanted

    async def _resolve(self, found: Element, sender: str, to: str) -> Watching | None:
        """Ask what a hash means; None if the answer has another hash.

        Whoever could poison what we know of a hash could silence everybody with it.
        """
        version = found.get("ver", "")
        asked = {"xmlns": DISCO_INFO, "node": f"{found.get('node', '')}#{version}"}
        try:
            answer = await self._ask(sender, to, node("query", asked))
        except (IqError, TimeoutError, OSError) as error:
            logger.debug("%s does not tell its features: %s", sender, error)
            return None
        query = answer.find(_QUERY)
        if query is None or caps.verification(query, found.get("hash", "")) != version:
            return None
        return frozenset(
            one.removesuffix(_NOTIFY)
            for one in caps.features(query)
            if one.endswith(_NOTIFY)
        )
