"""Opens what is sealed for one of our devices.

    stanza -> our part of it -> who is it from -> open -> what is inside -> Opened

Rules: whatever is wrong with a message, nothing has changed afterwards, and the
session is repaired at most once an hour.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element

from doubleratchet import DuplicateMessageException
from omemo import (
    DeviceInformation,
    KeyExchangeFailed,
    PublicDataInconsistency,
    SenderDistrusted,
)

from bridge.core.ports import Unit
from bridge.xmpp.endtoend import (
    Empty,
    Failed,
    NotForUs,
    Opened,
    Passage,
    Plain,
    Trust,
)
from bridge.xmpp.omemo import envelope, lists, sce, trust, wire
from bridge.xmpp.omemo.account import Account
from bridge.xmpp.omemo.accounts import Accounts
from bridge.xmpp.omemo.names import LEGACY, OMEMO2
from bridge.xmpp.omemo.notices import take_notice
from bridge.xmpp.omemo.remote import Remote
from bridge.xmpp.omemo.sealing import opt_out_place
from bridge.xmpp.omemo.upkeep import Upkeep
from bridge.xmpp.omemo.wire import MALFORMED, Misfit, Sealed, find, identity_key

logger = logging.getLogger(__name__)

TOLD_S: Final = 3600.0
TOLD_MAX: Final = 5000

MALFORMED_WORDS: Final = "the encrypted message is malformed"
DISTRUSTED: Final = "the message is from a device that is distrusted"
UNKNOWN_DEVICE: Final = (
    "the bridge cannot find the device that the message is from; please send it again"
)
BROKEN: Final = (
    "the message cannot be decrypted; the session is being repaired, so please send"
    " it again"
)
DUPLICATE: Final = "the message was decrypted before"


class _FailedError(Exception):
    """The operation is to be undone."""

    def __init__(self, answer: Failed) -> None:
        super().__init__()
        self.answer = answer


class Opening:
    """The way in to all accounts."""

    def __init__(self, accounts: Accounts, remote: Remote, upkeep: Upkeep) -> None:
        self._accounts = accounts
        self._remote = remote
        self._upkeep = upkeep
        self._told: OrderedDict[tuple[str, str], float] = OrderedDict()

    async def decrypt(
        self, stanza: Element, passage: Passage, unit: Unit, key: str
    ) -> Opened:
        """Open *stanza*; see ``EndToEnd``."""
        account = await self._accounts.find(passage.account)
        if account is None:
            return self._not_for_us(passage, empty=not _has_payload(stanza))
        with account.held():
            return await self._decrypt(account, stanza, passage, (unit, key))

    async def _decrypt(
        self,
        account: Account,
        stanza: Element,
        passage: Passage,
        step: tuple[Unit, str],
    ) -> Opened:
        unit, key = step
        known = account.recall(key, unit)
        if known is not None:
            return known
        sealed = find(stanza, account.jid, account.id)
        if sealed is None:
            return Failed(MALFORMED_WORDS)
        if isinstance(sealed, Misfit):
            if sealed.malformed:
                return Failed(MALFORMED_WORDS)
            return self._not_for_us(passage, empty=sealed.empty)
        await self._get_to_know(account, passage.peer, sealed.device)
        return await self._open(account, (sealed, stanza), passage, step)

    async def _open(
        self,
        account: Account,
        came: tuple[Sealed, Element],
        passage: Passage,
        step: tuple[Unit, str],
    ) -> Opened:
        unit, key = step
        try:
            async with account.operation(unit):
                found = await self._once(account, came, passage)
                account.remember(key, found)
        except _FailedError as failed:
            return failed.answer
        except SenderDistrusted:
            return Failed(DISTRUSTED)
        except MALFORMED as error:
            return self._trouble(account, came[0], passage, error)
        self._upkeep.look_at(account)
        return found

    async def _once(
        self, account: Account, came: tuple[Sealed, Element], passage: Passage
    ) -> Plain | Empty:
        sealed, stanza = came
        peer = passage.peer
        known = await self._identify(account, peer, sealed)
        message = wire.message(sealed, peer, account.jid, account.id, known)
        opened, device, _ = await account.device.decrypt(message)
        # As long as nobody decided, by who was verified before.
        trust.decide_first(account.shelf, passage.peer, device.identity_key)
        if lists.is_unlisted(account, peer, sealed.device):
            self._remote.met(sealed.namespace, peer, sealed.device)
            if account.jid == self._remote.relay:
                self._upkeep.inquire(sealed.namespace, peer, sealed.device)
        if opened is None:
            return Empty()
        return self._read(account, (sealed, stanza, device), opened, passage)

    def _read(
        self,
        account: Account,
        came: tuple[Sealed, Element, DeviceInformation],
        opened: bytes,
        passage: Passage,
    ) -> Plain | Empty:
        sealed, stanza, device = came
        at = None
        if sealed.namespace == LEGACY:
            nodes = envelope.legacy(opened, stanza)
            if nodes is None:
                raise _FailedError(Failed(MALFORMED_WORDS))
        else:
            content = sce.parse(opened, passage)
            if isinstance(content, str):
                raise _FailedError(Failed(content))
            nodes, at = content.nodes, content.at
            noticed = take_notice(account.shelf, passage.peer, device, nodes)
            if noticed is not None:
                return noticed
        account.shelf.put(opt_out_place(passage.peer), None)
        lists.spoke(account, sealed.namespace, passage.peer, sealed.device)
        level = standing(account, device)
        return Plain(nodes, passage.peer, sealed.device, level, sealed.namespace, at)

    async def _get_to_know(self, account: Account, peer: str, device: int) -> None:
        """Have what *peer* publishes at hand if we never met the device."""
        if lists.is_known(account, peer, device):
            return
        await self._remote.learn(account.jid, (peer,))
        await self._remote.fetch(account.jid, self._wanted(account, peer, device))

    def _wanted(
        self, account: Account, peer: str, device: int
    ) -> Iterator[tuple[str, str, int]]:
        for namespace in (OMEMO2, LEGACY):
            listed = self._remote.listed(account.jid, namespace, peer)
            if listed is not None and device in listed.devices:
                yield namespace, peer, device

    async def _identify(self, account: Account, peer: str, sealed: Sealed) -> bytes:
        """Return the key of the sender's device."""
        await lists.feed(account, self._remote, peer)
        known = lists.identity_of(account, peer, sealed.device)
        if known is not None:
            return known
        # Downloads what is at hand.
        await account.device.get_device_information(peer)
        known = lists.identity_of(account, peer, sealed.device)
        if known is not None:
            return known
        key = identity_key(sealed)
        if key is None:
            raise _FailedError(Failed(UNKNOWN_DEVICE, passing=True))
        await lists.take_unlisted(account, sealed.namespace, (peer, sealed.device), key)
        return key

    def _trouble(
        self, account: Account, sealed: Sealed, passage: Passage, error: Exception
    ) -> Opened:
        cause = error.__cause__
        if isinstance(cause, DuplicateMessageException):
            return Empty() if sealed.empty else Failed(DUPLICATE, repeated=True)
        logger.info(
            "%s cannot open what device %d of %s has sealed: %s",
            account.jid,
            sealed.device,
            passage.peer,
            type(cause or error).__name__,
        )
        if isinstance(error, KeyExchangeFailed | PublicDataInconsistency):
            # What we know of it is out of date, or what it knows of us.
            self._remote.doubt(passage.peer)
        self._upkeep.repair(account, sealed.namespace, passage.peer, sealed.device)
        # Of an empty one nobody misses anything.
        return Empty() if sealed.empty else Failed(BROKEN)

    def _not_for_us(self, passage: Passage, *, empty: bool) -> NotForUs:
        if empty:
            return NotForUs(empty=True, tell=False)
        now = time.monotonic()
        told = self._told.get((passage.account, passage.peer))
        if told is not None and now - told < TOLD_S:
            return NotForUs(empty=False, tell=False)
        self._told[passage.account, passage.peer] = now
        if len(self._told) > TOLD_MAX:
            self._told.popitem(last=False)
        self._upkeep.republish(passage.account)
        return NotForUs(empty=False)


def standing(account: Account, device: DeviceInformation) -> Trust:
    """Tell how far a device is believed."""
    peer = device.bare_jid
    level = trust.level(account.shelf, peer, device.identity_key) or Trust.BLIND
    if level is Trust.BLIND and lists.is_unlisted(account, peer, device.device_id):
        return Trust.UNLISTED
    return level


def _has_payload(stanza: Element) -> bool:
    return any(
        stanza.find(f"{{{one}}}encrypted/{{{one}}}payload") is not None
        for one in (OMEMO2, LEGACY)
    )
