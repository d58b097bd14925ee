"""OMEMO for all accounts of ours: what chats, rooms and PEP need of it.

    omemo = Omemo(OmemoMeans(...))
    tasks.create_task(omemo.run())
    await omemo.close()

``EndToEnd`` has most of the interface. Empty messages (a session confirmed, moved on
or repaired) need no care: a job of ours makes them, commits and writes them.
"""

import asyncio
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from bridge.core.ports import Unit
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.endtoend import Device, Opened, Passage, Sealed, Trust, Unsealable
from bridge.xmpp.omemo import fingerprints
from bridge.xmpp.omemo.accounts import Accounts
from bridge.xmpp.omemo.means import OmemoMeans
from bridge.xmpp.omemo.names import NAMESPACES
from bridge.xmpp.omemo.opening import Opening
from bridge.xmpp.omemo.published import Published
from bridge.xmpp.omemo.remote import Remote
from bridge.xmpp.omemo.sealing import Sealing, opt_out
from bridge.xmpp.omemo.subscribing import Subscribing
from bridge.xmpp.omemo.upkeep import Upkeep
from bridge.xmpp.omemo.used import Used
from bridge.xmpp.turns import ANSWER_S


class Omemo:
    """See ``EndToEnd``; all addresses are bare, all accounts are ours."""

    name = "OMEMO"

    def __init__(self, means: OmemoMeans) -> None:
        self._means = means
        used = Used(means.store)
        self._remote = Remote(self._ask, means.unreadable, used, means.relay)
        self._accounts = Accounts(means.store, self._remote, means.exists, means.label)
        self._subscribing = Subscribing(self._tell, self._remote.unwatched)
        self._remote.watch = self._subscribing.want
        self._upkeep = Upkeep(
            self._accounts, self._remote, means.store, means.write, means.published
        )
        self._accounts.watch = self._upkeep
        self._opening = Opening(self._accounts, self._remote, self._upkeep)
        self._sealing = Sealing(self._accounts, self._remote)
        self._published = Published(self._accounts, means.store, self._upkeep)

    @property
    def namespaces(self) -> frozenset[str]:
        """Which elements of a message it can open."""
        return frozenset(NAMESPACES)

    async def run(self) -> None:
        """Confirm and repair sessions, renew keys, and hear of others', for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._upkeep.run(), name="upkeep")
            tasks.create_task(self._subscribing.run(), name="subscribing")

    async def settle(self) -> None:
        """Do now what *run* would do soon."""
        await self._upkeep.beat()
        await self._subscribing.beat()

    async def recover(self) -> None:
        """Begin anew, under the same identities; see ``Recovering``."""
        await self._accounts.begin_anew()
        self._upkeep.visit()

    async def close(self) -> None:
        """Forget all accounts; what was staged and committed is on disk."""
        self._accounts.forget_all()

    async def decrypt(
        self, stanza: Element, passage: Passage, unit: Unit, key: str = ""
    ) -> Opened:
        """Open *stanza*; see ``EndToEnd``."""
        return await self._opening.decrypt(stanza, passage, unit, key)

    async def encrypt(
        self,
        content: Sequence[Node],
        passage: Passage,
        recipients: Sequence[str],
        unit: Unit,
    ) -> Sealed | Unsealable:
        """Seal *content*; see ``EndToEnd``."""
        return await self._sealing.encrypt(content, passage, recipients, unit)

    async def opt_out(
        self, passage: Passage, reason: str, unit: Unit
    ) -> Sealed | Unsealable:
        """Seal the word that *account* wants no OMEMO of *peer*; XEP-0384 §5.7."""
        content = (opt_out(reason),)
        return await self._sealing.encrypt(content, passage, (passage.peer,), unit)

    async def capable(self, account: str, peer: str) -> bool | None:
        """Tell whether *peer* can be written to; see ``EndToEnd``."""
        known = await self._accounts.find(account)
        return await self._sealing.capable(known, account, peer)

    def doubt(self, peer: str) -> None:
        """Ask for the devices of *peer* again; see ``EndToEnd``."""
        self._remote.doubt(peer)

    async def devices(self, account: str, peer: str) -> Sequence[Device]:
        """List devices; see ``EndToEnd``."""
        known = await self._accounts.find(account)
        if known is None:
            return ()
        unit = Unit()
        with known.held():
            if peer != account:
                await self._remote.learn(account, (peer,))
            found = await fingerprints.devices(known, self._remote, peer, unit)
        await self._means.store.commit(unit)
        return found

    async def decide(
        self, account: str, peer: str, fingerprint: str, trust: Trust
    ) -> bool:
        """Trust or distrust a device; see ``EndToEnd``."""
        known = await self._accounts.find(account)
        if known is None:
            return False
        unit = Unit()
        async with known.operation(unit):
            found = fingerprints.decide(known, peer, fingerprint, trust)
        await self._means.store.commit(unit)
        return found

    def heard(self, stanza: Element, peer: str) -> bool:
        """Take a PEP event of *peer*; False if it is about something else.

        Call it for every message with an ``event`` of pubsub before all else.
        """
        return self._remote.heard(stanza, peer)

    def admitted(self, account: str, peer: str) -> None:
        """Take note that *account* is now a contact of *peer*."""
        self._remote.admitted(account, peer)

    async def nodes(self, account: str) -> Sequence[str]:
        """List what *account* publishes; makes its device if it has none yet."""
        return await self._published.nodes(account)

    async def items(
        self, account: str, node: str, asker: str
    ) -> Sequence[tuple[str, Node]] | None:
        """Return what *account* publishes at *node*, by item id; None if nothing.

        *asker*, a bare address, counts towards how many devices may be made for the
        people of one domain.
        """
        return await self._published.items(account, node, asker)

    async def _ask(self, to: str, sender: str, payload: Node) -> Element:
        return await self._means.stream.iq("get", to, sender, payload, ANSWER_S)

    async def _tell(self, to: str, sender: str, payload: Node) -> Element:
        return await self._means.stream.iq("set", to, sender, payload, ANSWER_S)
