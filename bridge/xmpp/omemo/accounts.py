"""All our accounts that have a device: found on disk when needed, made when asked for.

Rules: an account that nobody asks for costs nothing; no two have the same number, as
legacy clients address a device by its number alone; nothing is offered to anybody
before its keys are on disk.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from bridge.core.ports import Store, StoreUnavailableError, Unit
from bridge.model.records import Secret
from bridge.xmpp.omemo import renewal
from bridge.xmpp.omemo.account import Account
from bridge.xmpp.omemo.device import Bundles
from bridge.xmpp.omemo.means import NotNowError
from bridge.xmpp.omemo.names import owner

logger = logging.getLogger(__name__)

LOADED_MAX: Final = 500
MADE_AT_ONCE: Final = 30
MADE_PER_S: Final = 0.5
"""A device takes 30 ms to make and 40 kB to keep."""

NO_ROOM: Final = "resource-constraint"

_DOMAINS_MAX: Final = 1000
_NUMBERS: Final = "omemo numbers"
_EPOCH: Final = "omemo epoch"
_OWN: Final = "own"


class Watch(Protocol):
    """Whoever looks after the accounts."""

    def look_at(self, account: Account) -> None:
        """Take note of an account that was loaded."""

    def republish(self, account: str) -> None:
        """Take note of an account that publishes something new."""

    def repair(self, account: Account, namespace: str, peer: str, device: int) -> None:
        """Take note of a session that is to be built anew."""


class Accounts:
    """The accounts, the most recently used ones in memory.

    *exists* tells whether a bare address is a person's who may have a device, or raises
    ``NotNowError``. *watch* is told of those that are loaded or made.
    """

    watch: Watch | None = None

    def __init__(
        self,
        store: Store,
        bundles: Bundles,
        exists: Callable[[str], Awaitable[bool]],
        label: str,
    ) -> None:
        self._store = store
        self._bundles = bundles
        self._exists = exists
        self._label = label
        self._loaded: OrderedDict[str, Account] = OrderedDict()
        self._turn = asyncio.Lock()
        self._epoch: int | None = None
        self._credit: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def begin_anew(self) -> None:
        """Use no key or session again that was used before; identities stay."""
        epoch = await self._now() + 1
        row = Secret(_EPOCH, _EPOCH, str(epoch).encode())
        await self._store.commit(Unit(put=[row]))
        self._epoch = epoch
        self._loaded.clear()

    async def everybody(self) -> list[str]:
        """List all accounts that have a device."""
        return [one.value.decode() for one in await self._store.secrets(_NUMBERS)]

    def loaded(self) -> list[Account]:
        """List the accounts in memory."""
        return list(self._loaded.values())

    def forget_all(self) -> None:
        """Let go of all accounts."""
        self._loaded.clear()

    async def find(self, jid: str) -> Account | None:
        """Return an account; None if it has no device."""
        account = self._at_hand(jid)
        if account is not None:
            return account
        async with self._turn:
            return self._at_hand(jid) or await self._load(jid)

    async def obtain(self, jid: str, asker: str = "") -> Account | None:
        """Return an account, made if need be; None if there is nobody of that name.

        *asker* is whose domain the making counts for; empty for ourselves. Raises
        ``NotNowError``.
        """
        account = await self.find(jid)
        if account is not None or not await self._exists(jid):
            return account
        async with self._turn:
            known = self._at_hand(jid) or await self._load(jid)
            if known is not None:
                return known
            if asker and not self._affords(asker.rpartition("@")[2]):
                logger.warning("too many devices are asked for by %s", asker)
                raise NotNowError(NO_ROOM)
            return await self._make(jid)

    async def has_device(self, jid: str) -> bool:
        """Tell whether an account has a device, without loading it."""
        if jid in self._loaded:
            return True
        return await self._store.find(Secret, owner(jid), _OWN) is not None

    def _at_hand(self, jid: str) -> Account | None:
        account = self._loaded.get(jid)
        if account is not None:
            self._loaded.move_to_end(jid)
        return account

    async def _load(self, jid: str) -> Account | None:
        rows = {one.name: one.value for one in await self._store.secrets(owner(jid))}
        if _OWN not in rows:
            return None
        epoch = await self._now()
        if epoch != renewal.epoch_of(rows):
            return await self._renewed(jid, rows, epoch)
        account = await Account.open(jid, rows, self._bundles, self._label)
        self._put(account)
        if self.watch is not None:
            self.watch.look_at(account)
        return account

    async def _renewed(
        self, jid: str, rows: Mapping[str, bytes], epoch: int
    ) -> Account:
        """Load an account that has begun nothing yet in this epoch.

        Raises ``StoreUnavailableError``: an identity that could not be renewed must not
        look as if there were none, or another would be made in its place.
        """
        kept, sessions = renewal.without_keys(rows)
        account = await Account.open(jid, kept, self._bundles, self._label)
        written = await renewal.begin(account, epoch)
        gone = rows.keys() - kept.keys() - {one.name for one in written}
        dropped = [Secret(owner(jid), name) for name in gone]
        await self._store.commit(Unit(put=[*written], drop=[*dropped]))
        logger.info("%s has new keys", jid)
        self._put(account)
        if self.watch is not None:
            self.watch.republish(jid)
            for session in sessions:
                self.watch.repair(account, *session)
        return account

    async def _now(self) -> int:
        if self._epoch is None:
            known = await self._store.find(Secret, _EPOCH, _EPOCH)
            self._epoch = 0 if known is None else int(known.value)
        return self._epoch

    async def _make(self, jid: str) -> Account:
        while True:
            account = await Account.open(jid, {}, self._bundles, self._label)
            number = str(account.id)
            if await self._store.find(Secret, _NUMBERS, number) is None:
                break
        account.shelf.put(renewal.PLACE, await self._now())
        rows = account.shelf.records(account.shelf.touched())
        taken = Secret(_NUMBERS, number, jid.encode())
        try:
            await self._store.commit(Unit(put=[*rows, taken]))
        except StoreUnavailableError as error:
            raise NotNowError(NO_ROOM) from error
        logger.info("%s has device %s now", jid, number)
        self._put(account)
        if self.watch is not None:
            self.watch.republish(jid)
        return account

    def _put(self, account: Account) -> None:
        self._loaded[account.jid] = account
        surplus = len(self._loaded) - LOADED_MAX
        if surplus <= 0:
            return
        idle = [jid for jid, one in self._loaded.items() if one.is_idle]
        for jid in idle[:surplus]:
            del self._loaded[jid]

    def _affords(self, domain: str) -> bool:
        """Tell whether people of *domain* may have one more device made."""
        now = time.monotonic()
        credit, then = self._credit.pop(domain, (float(MADE_AT_ONCE), now))
        credit = min(MADE_AT_ONCE, credit + (now - then) * MADE_PER_S)
        affords = credit >= 1
        self._credit[domain] = (credit - affords, now)
        if len(self._credit) > _DOMAINS_MAX:
            self._credit.popitem(last=False)
        return affords
