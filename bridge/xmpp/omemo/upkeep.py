"""Keeps sessions and keys in health, in the background.

    due -> an operation -> committed -> empty messages written

Rules: an empty message leaves only after its ratchet is on disk; none is made while a
message of the same account is opened and not yet carried, as its unit would be
overtaken; one that is lost does no harm.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from omemo import Bundle, Message

from bridge.core.ports import Store, StoreUnavailableError, Unit
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.omemo import envelope, lists, wire
from bridge.xmpp.omemo.account import Account
from bridge.xmpp.omemo.accounts import Accounts
from bridge.xmpp.omemo.device import Wanted
from bridge.xmpp.omemo.names import DEVICES_NODES
from bridge.xmpp.omemo.remote import Remote

logger = logging.getLogger(__name__)

BEAT_S: Final = 1.0
RENEWAL_S: Final = 3600.0
VISIT_S: Final = 0.05
REPAIR_S: Final = 3600.0
REPAIRS_MAX: Final = 10_000

_QUEUE: Final = "queue"

Patient = tuple[str, str, str, int]
"""A session: account, namespace, peer, device."""


class Upkeep:
    """What is to be done soon; see the module."""

    def __init__(
        self,
        accounts: Accounts,
        remote: Remote,
        store: Store,
        write: Callable[[Node], bool],
        published: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self._accounts = accounts
        self._remote = remote
        self._store = store
        self._write = write
        self._published = published
        self._due: dict[str, None] = {}
        self._patients: dict[Patient, None] = {}
        self._unlisted: dict[Wanted, None] = {}
        self._stale: dict[str, None] = {}
        self._repaired: OrderedDict[Patient, float] = OrderedDict()
        self._visits = False
        self._wake = asyncio.Event()

    def look_at(self, account: Account) -> None:
        """See soon whether sessions of *account* wait for an empty message."""
        if account.shelf.holds(_QUEUE):
            self._due[account.jid] = None
            self._wake.set()

    def repair(self, account: Account, namespace: str, peer: str, device: int) -> None:
        """Build a session anew, unless that was tried within the hour."""
        patient = (account.jid, namespace, peer, device)
        now = time.monotonic()
        last = self._repaired.get(patient)
        if last is not None and now - last < REPAIR_S:
            return
        self._repaired[patient] = now
        if len(self._repaired) > REPAIRS_MAX:
            self._repaired.popitem(last=False)
        self._patients[patient] = None
        self._wake.set()

    def inquire(self, namespace: str, peer: str, device: int) -> None:
        """Ask soon for the keys of a device on no list that has written to the relay.

        The others will need them, and may have to be let see them first.
        """
        self._unlisted[namespace, peer, device] = None
        self._wake.set()

    def republish(self, account: str) -> None:
        """Tell those who want to know what devices *account* has."""
        self._stale[account] = None
        self._wake.set()

    def visit(self) -> None:
        """See soon that all accounts have sessions that can be used."""
        self._visits = True
        self._wake.set()

    async def run(self) -> None:
        """Do what is due, for ever."""
        renewed_at = time.monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEWAL_S):
                    await self._wake.wait()
            await asyncio.sleep(BEAT_S)
            self._wake.clear()
            try:
                await self.beat()
                if self._visits:
                    await self._visit()
                if time.monotonic() - renewed_at > RENEWAL_S:
                    renewed_at = time.monotonic()
                    await self._renew_all()
            except StoreUnavailableError:
                logger.warning("sessions cannot be kept in health: no writing")
            except Exception:
                # The end of the line: one odd session must not stop the upkeep.
                logger.exception("the upkeep of sessions failed")

    async def beat(self) -> None:
        """Do what is due now."""
        for jid in list(self._due):
            del self._due[jid]
            await self._send_queued(jid)
        for jid in list(self._stale):
            del self._stale[jid]
            if await self._accounts.has_device(jid):
                for name in DEVICES_NODES.values():
                    await self._published(jid, name)
        # The last, and all at once: their servers may be slow, or answer nothing.
        patients = list(self._patients)
        unlisted, self._unlisted = self._unlisted, {}
        await asyncio.gather(
            self._remote.fetch(self._remote.relay, unlisted),
            *(self._examine(patient) for patient in patients),
        )
        for patient in patients:
            del self._patients[patient]
            await self._repair(patient)

    async def renew(self, account: Account) -> None:
        """Renew the signed pre keys of *account* if they are too old."""
        unit = Unit()
        with account.held():
            async with account.operation(unit):
                due = await account.renew()
            if due:
                await self._store.commit(unit)
        if due:
            logger.info("the signed pre keys of %s were renewed", account.jid)

    async def _visit(self) -> None:
        """Load each account once, with the rest of the bridge in between."""
        for jid in await self._accounts.everybody():
            await self._accounts.find(jid)
            await self.beat()
            await asyncio.sleep(VISIT_S)
        self._visits = False

    async def _renew_all(self) -> None:
        for account in self._accounts.loaded():
            await self.renew(account)
        await self._remote.used.prune()

    async def _send_queued(self, jid: str) -> None:
        account = await self._accounts.find(jid)
        if account is None:
            return
        if account.waits:
            self._due[jid] = None
            self._wake.set()
            return
        unit = Unit()
        async with account.operation(unit):
            await account.device.after_history_sync()
            account.device.before_history_sync()
            posts = list(account.desk.posts)
        await self._store.commit(unit)
        for message, peer in posts:
            self._post(account, message, peer)

    async def _examine(self, patient: Patient) -> None:
        """Have at hand what is needed to repair a session, or know that it is not."""
        jid, namespace, peer, device = patient
        await self._remote.learn(jid, (peer,))
        await self._remote.fetch(jid, [(namespace, peer, device)])

    async def _repair(self, patient: Patient) -> None:
        jid = patient[0]
        account = await self._accounts.find(jid)
        if account is None:
            return
        try:
            with account.held():
                healed = await self._treat(account, patient)
        except StoreUnavailableError:
            self._repaired.pop(patient, None)
            raise
        if not healed:
            # Whatever is in the way now: the next message asks for it again.
            self._repaired.pop(patient, None)

    async def _treat(self, account: Account, patient: Patient) -> bool:
        """Build a session anew; tell whether the other side hears of it."""
        jid, namespace, peer, device = patient
        try:
            bundle = self._remote.bundle(jid, (namespace, peer, device))
        except KeyError:
            bundle = None
        if bundle is None:
            logger.info("the session of %s with %s has no remedy", jid, peer)
            return False
        unit = Unit()
        async with account.operation(unit):
            await lists.feed(account, self._remote, peer)
            message = await _rebuild(account, peer, device, bundle)
        if message is None:
            return False
        await self._store.commit(unit)
        logger.info("the session of %s with %s is built anew", jid, peer)
        return self._post(account, message, peer)

    def _post(self, account: Account, message: Message, peer: str) -> bool:
        sealed = envelope.empty(wire.written(message))
        about = {"type": "chat", "from": account.jid, "to": peer}
        name = secrets.token_hex(8)
        return self._write(node("message", {**about, "id": name}, *sealed))


async def _rebuild(
    account: Account, peer: str, device: int, bundle: Bundle
) -> Message | None:
    """Replace a session, and write the message that tells of it."""
    await account.device.get_device_information(peer)
    known = lists.identity_of(account, peer, device)
    if known is None:
        return None
    if known != bundle.identity_key:
        lists.replace_key(account, peer, device, bundle.identity_key)
    version = account.versions[bundle.namespace]
    content, key = await version.encrypt_empty()
    try:
        session, sealed = await version.build_session_active(peer, device, bundle, key)
    except wire.MALFORMED:
        return None
    await version.store_session(session)
    return Message(
        bundle.namespace,
        account.jid,
        account.id,
        content,
        frozenset({(sealed, session.key_exchange)}),
    )
