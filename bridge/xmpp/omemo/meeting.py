"""Begins sessions with many devices, a few at a time, before a message is sealed.

A session takes 10 ms to begin, and python-omemo begins all at once: the first words in
a room of thirty would stop the whole bridge for half a second.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from omemo import DeviceInformation, TrustLevel

from bridge.core.ports import Unit
from bridge.xmpp.omemo import lists, trust, wire
from bridge.xmpp.omemo.account import Account
from bridge.xmpp.omemo.names import NAMESPACES
from bridge.xmpp.omemo.remote import Remote
from bridge.xmpp.omemo.shelf import session_row

AT_ONCE_MAX: Final = 5
ROUNDS_MAX: Final = 500


class Meeting:
    """Lets an account meet the devices of its recipients."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    async def meet(
        self, account: Account, peers: frozenset[str], order: Sequence[str], unit: Unit
    ) -> None:
        """Begin sessions with all devices of *peers* but the last few.

        Their first message is never sent: the next one begins the session as well.
        """
        for _ in range(ROUNDS_MAX):
            if self._strangers(account, peers) <= AT_ONCE_MAX:
                return
            async with account.operation(unit):
                begun = await self._begin_some(account, peers, order)
                wanted = frozenset(account.desk.wanted)
            if wanted:
                await self._remote.fetch(account.jid, wanted)
            elif begun < AT_ONCE_MAX:
                return
            await asyncio.sleep(0)

    def _strangers(self, account: Account, peers: Iterable[str]) -> int:
        """Count the devices that there is no session with, though there could be."""
        count = 0
        for peer in peers:
            met = {device for _, device in account.sessions(peer)}
            listed: set[int] = set()
            for namespace in NAMESPACES:
                known = self._remote.listed(account.jid, namespace, peer)
                listed.update(
                    device
                    for device in (() if known is None else known.devices)
                    if self._remote.lack(account.jid, (namespace, peer, device)) is None
                )
            count += len(listed - met)
        return count

    async def _begin_some(
        self, account: Account, peers: Iterable[str], order: Sequence[str]
    ) -> int:
        begun = 0
        for peer in sorted(peers):
            await lists.feed(account, self._remote, peer)
            for device in await account.device.get_device_information(peer):
                if begun == AT_ONCE_MAX:
                    return begun
                if _is_trusted(account, device):
                    begun += await self._begin(account, device, order)
        return begun

    async def _begin(
        self, account: Account, device: DeviceInformation, order: Sequence[str]
    ) -> bool:
        active = dict(device.active)
        namespace = next((one for one in order if active.get(one)), None)
        if namespace is None:
            return False
        place = (namespace, device.bare_jid, device.device_id)
        if account.shelf.holds(session_row(*place)):
            return False
        try:
            bundle = self._remote.bundle(account.jid, place)
        except KeyError:
            account.desk.wanted.add(place)
            return False
        if bundle is None:
            return False
        version = account.versions[namespace]
        _, key = await version.encrypt_empty()
        try:
            session, _ = await version.build_session_active(
                device.bare_jid, device.device_id, bundle, key
            )
        except wire.MALFORMED:
            self._remote.reject(place)
            return False
        await version.store_session(session)
        return True


def _is_trusted(account: Account, device: DeviceInformation) -> bool:
    level = trust.decide_first(account.shelf, device.bare_jid, device.identity_key)
    return trust.core_level(level.name, sealing=True) is TrustLevel.TRUSTED
