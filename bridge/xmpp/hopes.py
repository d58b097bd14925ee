"""Knows what could not be sealed for want of somebody's device, and tries it again.

    refused -> (their list changes, they write sealed, are seen, or 5 min pass)
            -> everybody of them, or one, can be sealed for -> sent again

Rules: what would only be refused once more is not tried; what nobody can know any
more, as an earlier run had refused it, is tried once.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Collection
from contextlib import suppress
from typing import Final, NamedTuple, TypeVar

from bridge.core.ports import Host, Store
from bridge.model.delivery import Refusal
from bridge.model.places import Network, Room
from bridge.xmpp.codec.names import chat_parts
from bridge.xmpp.endtoend import EndToEnd

logger = logging.getLogger(__name__)

LOOK_S: Final = 300.0
SOON_S: Final = 61.0
"""After that a list that was missing a moment before the news is asked for again."""
TRIES: Final = 2
HOPE_S: Final = 2.0
"""What was just refused is to be on disk by then."""
T = TypeVar("T")

LACKS_MAX: Final = 10_000
PAGE: Final = 100


class Lack(NamedTuple):
    """Who cannot be sealed for by *account*; *stays* if trying again was in vain.

    *one* of them who can be is enough.
    """

    account: str
    jids: frozenset[str]
    stays: bool = False
    one: bool = False


class Hopes:
    """The chats and rooms, by address, in which something could not be sealed."""

    def __init__(self, host: Host, endtoend: EndToEnd | None = None) -> None:
        self._host = host
        self._endtoend = endtoend
        self._lacks: OrderedDict[str, Lack] = OrderedDict()
        self._tried: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._due: dict[str, int] = {}
        self._wake = asyncio.Event()

    async def restore(self, store: Store) -> None:
        """Take note of what an earlier run had refused."""
        after = 0
        while page := await store.letters("", after, PAGE):
            after = page[-1].id
            for letter in page:
                exposing = letter.why == Refusal.WOULD_EXPOSE.name
                if exposing and letter.network is Network.XMPP:
                    peer, account = chat_parts(letter.room) or ("", "")
                    self.refused(letter.room, account, {peer} - {""})

    def refused(
        self, address: str, account: str, jids: Collection[str], *, one: bool = False
    ) -> None:
        """Take note that something for *address* waits until *jids* have a device.

        Or *one* of them.
        """
        lacking = frozenset(jids)
        stays = self._tried.get(address) == lacking
        _put(self._lacks, address, Lack(account, lacking, stays, one))

    def seen(self, peer: str) -> None:
        """Look soon whether *peer*, who did something, can be sealed for by now."""
        if self._endtoend and any(peer in lack.jids for lack in self._lacks.values()):
            self._endtoend.doubt(peer)
            self.heard(peer)

    def heard(self, peer: str) -> None:
        """Look soon whether *peer*, of whom more is known now, can be sealed for."""
        for address, lack in self._lacks.items():
            if peer in lack.jids:
                self._due[address] = TRIES
                self._wake.set()

    def decided(self, address: str) -> None:
        """Try again soon whatever waits for *address*: somebody decided on devices."""
        lack = self._lacks.get(address)
        if lack is not None:
            self._lacks[address] = lack._replace(jids=frozenset())
            self._due[address] = 0
            self._wake.set()

    async def run(self) -> None:
        """Look when there is news, and now and then, for ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SOON_S if self._due else LOOK_S):
                    await self._wake.wait()
            await asyncio.sleep(HOPE_S)
            self._wake.clear()
            try:
                await self.look(everywhere=not self._due)
            except Exception:
                # The end of the line: what waits is still on disk.
                logger.exception("what could not be sealed is not tried again")

    async def look(self, *, everywhere: bool) -> None:
        """Try again what can be sealed now; *everywhere*, or where there is news."""
        due, self._due = self._due, {}
        if everywhere:
            due = {a: 0 for a, lack in self._lacks.items() if not lack.stays}
        for address, tries in due.items():
            lack = self._lacks.get(address)
            if lack is None:
                continue
            if not await self._may_go(lack):
                if tries:
                    self._due[address] = tries - 1
            else:
                self._lacks.pop(address, None)
                _put(self._tried, address, lack.jids)
                self._host.retry(Room(Network.XMPP, address))

    async def _may_go(self, lack: Lack) -> bool:
        if self._endtoend is None or not lack.jids:
            return not lack.jids
        capable, account = self._endtoend.capable, lack.account
        # At once: the servers of those who are away may be silent.
        found = await asyncio.gather(*(capable(account, jid) for jid in lack.jids))
        return any(found) if lack.one else all(found)


def _put(kept: OrderedDict[str, T], key: str, value: T) -> None:
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > LACKS_MAX:
        kept.popitem(last=False)
