"""OMEMO that is loaded when somebody first needs it: its libraries take 25 MB.

    asked for a device list, or to open or seal -> loaded beside the loop -> Omemo

Rules: what was not asked for is neither loaded nor made; nobody waits for it who only
chats in the clear.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element

from bridge.core.ports import Unit
from bridge.model.records import Secret
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.endtoend import Device, Opened, Passage, Sealed, Trust, Unsealable
from bridge.xmpp.omemo.means import OmemoMeans
from bridge.xmpp.omemo.names import NAMESPACES, PUBLISHED_ROW, namespace_of, owner

if TYPE_CHECKING:
    from bridge.xmpp.omemo.service import Omemo

logger = logging.getLogger(__name__)

_SERVICE: Final = "bridge.xmpp.omemo.service"


class LazyOmemo:
    """Stands for an ``Omemo`` until that is loaded; see there and ``EndToEnd``."""

    name = "OMEMO"
    slow = False

    def __init__(self, means: OmemoMeans) -> None:
        self._means = means
        self._omemo: Omemo | None = None
        self._turn = asyncio.Lock()
        self._loaded = asyncio.Event()

    @property
    def namespaces(self) -> frozenset[str]:
        """Which elements of a message it can open."""
        return frozenset(NAMESPACES)

    async def run(self) -> None:
        """Confirm and repair sessions, and renew keys, for ever."""
        await self._loaded.wait()
        await (await self._service()).run()

    async def recover(self) -> None:
        """Begin anew, under the same identities; see ``Recovering``."""
        await (await self._service()).recover()

    async def decrypt(
        self, stanza: Element, passage: Passage, unit: Unit, key: str = ""
    ) -> Opened:
        """Open *stanza*; see ``EndToEnd``."""
        return await (await self._service()).decrypt(stanza, passage, unit, key)

    async def encrypt(
        self,
        content: Sequence[Node],
        passage: Passage,
        recipients: Sequence[str],
        unit: Unit,
    ) -> Sealed | Unsealable:
        """Seal *content*; see ``EndToEnd``."""
        service = await self._service()
        return await service.encrypt(content, passage, recipients, unit)

    async def opt_out(
        self, passage: Passage, reason: str, unit: Unit
    ) -> Sealed | Unsealable:
        """Seal the word that the account wants no OMEMO; see ``Omemo``."""
        return await (await self._service()).opt_out(passage, reason, unit)

    async def capable(self, account: str, peer: str) -> bool | None:
        """Tell whether *peer* can be written to; see ``EndToEnd``."""
        return await (await self._service()).capable(account, peer)

    def doubt(self, peer: str) -> None:
        """Ask for the devices of *peer* again; see ``EndToEnd``."""
        if self._omemo is not None:
            self._omemo.doubt(peer)

    async def devices(self, account: str, peer: str) -> Sequence[Device]:
        """List devices; see ``EndToEnd``."""
        if not await self._has_device(account):
            return ()
        return await (await self._service()).devices(account, peer)

    async def decide(
        self, account: str, peer: str, fingerprint: str, trust: Trust
    ) -> bool:
        """Trust or distrust a device; see ``EndToEnd``."""
        service = await self._service()
        return await service.decide(account, peer, fingerprint, trust)

    def heard(self, stanza: Element, peer: str) -> bool:
        """Take a PEP event of *peer*; see ``Omemo``.

        Before it is loaded there is nothing that such an event could make untrue.
        """
        return self._omemo is not None and self._omemo.heard(stanza, peer)

    def admitted(self, account: str, peer: str) -> None:
        """Take note that *account* is now a contact of *peer*."""
        if self._omemo is not None:
            self._omemo.admitted(account, peer)

    async def nodes(self, account: str) -> Sequence[str]:
        """List what *account* publishes; makes nothing."""
        if not await self._has_device(account):
            return ()
        return await (await self._service()).nodes(account)

    async def items(
        self, account: str, node: str, asker: str
    ) -> Sequence[tuple[str, Node]] | None:
        """Return what *account* publishes at *node*; see ``Omemo``."""
        if namespace_of(node) is None:
            return None
        return await (await self._service()).items(account, node, asker)

    async def _has_device(self, account: str) -> bool:
        row = await self._means.store.find(Secret, owner(account), PUBLISHED_ROW)
        return row is not None

    async def _service(self) -> "Omemo":
        """Return the service, loaded in a thread the first time: it takes 0.6 s."""
        if self._omemo is not None:
            return self._omemo
        async with self._turn:
            if self._omemo is None:
                if _SERVICE not in sys.modules:
                    begun = time.monotonic()
                    await asyncio.to_thread(_load)
                    took_ms = (time.monotonic() - begun) * 1000
                    logger.debug("OMEMO was loaded in %.0f ms", took_ms)
                self._omemo = _load()(self._means)
                self._loaded.set()
        return self._omemo


def _load() -> "type[Omemo]":
    from bridge.xmpp.omemo.service import Omemo  # noqa: PLC0415 - the point of it all

    return Omemo
