"""Seals messages for all devices of their recipients.

    lists -> (bundles that are missing -> fetch -> again) -> ciphertext -> Sealed

Each device gets OMEMO 2 if it can have it, else the legacy version, in one message.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from omemo import BundleNotFound, EncryptionError, Message, NoEligibleDevices

from bridge.core.ports import Unit
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.endtoend import Passage, Sealed, Trust, Unsealable
from bridge.xmpp.gate import StanzaError
from bridge.xmpp.omemo import envelope, lists, sce, trust, wire
from bridge.xmpp.omemo.account import Account
from bridge.xmpp.omemo.accounts import Accounts
from bridge.xmpp.omemo.device import Wanted
from bridge.xmpp.omemo.means import NotNowError
from bridge.xmpp.omemo.meeting import Meeting
from bridge.xmpp.omemo.names import LEGACY, NAMESPACES, OMEMO2
from bridge.xmpp.omemo.remote import Remote, State

logger = logging.getLogger(__name__)

ROUNDS_MAX: Final = 4

NO_DEVICE: Final = "they have no device that uses OMEMO"
UNREADABLE: Final = (
    "only their contacts can read their list of devices; the bridge asks to be one"
)
TROUBLE: Final = "their server does not tell what devices they have"
UNTRUSTED: Final = "none of their devices is trusted"
KEYLESS: Final = "the keys of their devices cannot be had"
OPTED_OUT: Final = "they do not want encrypted messages any more"
WORDLESS: Final = "their client reads nothing but words when they are encrypted"
TOO_LARGE: Final = "the message is too large to be encrypted"
NOBODY: Final = "the bridge cannot make keys for you now"


class _AgainError(Exception):
    """The operation is to be done again once bundles are at hand."""

    def __init__(self, wanted: Iterable[Wanted]) -> None:
        super().__init__()
        self.wanted = frozenset(wanted)


class _RefusedError(Exception):
    """The operation can come to nothing."""

    def __init__(self, answer: Unsealable) -> None:
        super().__init__()
        self.answer = answer


@dataclass(frozen=True, slots=True)
class _Letter:
    """What is to be sealed; *words* are what legacy clients get."""

    content: Sequence[Node]
    words: str | None
    plain: dict[str, bytes]
    recipients: frozenset[str]

    @property
    def order(self) -> list[str]:
        """The versions that can carry it, the one that we prefer first."""
        return [OMEMO2] if self.words is None else list(NAMESPACES)


class Sealing:
    """The way out of all accounts."""

    def __init__(self, accounts: Accounts, remote: Remote) -> None:
        self._accounts = accounts
        self._remote = remote
        self._meeting = Meeting(remote)

    async def encrypt(
        self,
        content: Sequence[Node],
        passage: Passage,
        recipients: Sequence[str],
        unit: Unit,
    ) -> Sealed | Unsealable:
        """Seal *content*; see ``EndToEnd``."""
        try:
            account = await self._accounts.obtain(passage.account)
        except NotNowError:
            account = None
        if account is None:
            return Unsealable(NOBODY, (passage.account,), passing=True)
        words = envelope.words(content)
        try:
            inside = sce.build(content, passage)
        except StanzaError:
            return Unsealable(TOO_LARGE)
        plain = {OMEMO2: inside, LEGACY: (words or "").encode()}
        letter = _Letter(content, words, plain, frozenset(recipients))
        with account.held():
            await self._learn(account.jid, letter.recipients)
            await self._meeting.meet(account, letter.recipients, letter.order, unit)
            return await self._seal(account, letter, unit)

    async def capable(
        self, account: Account | None, jid: str, peer: str
    ) -> bool | None:
        """Tell whether *peer* has a device; see ``EndToEnd``."""
        if account is not None and account.sessions(peer):
            return True
        await self._learn(jid, (peer,))
        if any(self._remote.unlisted(jid, one, peer) for one in NAMESPACES):
            return True
        known = [self._remote.listed(jid, one, peer) for one in NAMESPACES]
        states = {State.TROUBLE if one is None else one.state for one in known}
        if State.KNOWN in states:
            return True
        if states == {State.MISSING} and not self._remote.hides(jid, peer):
            return False
        return None

    async def _learn(self, jid: str, peers: Collection[str]) -> None:
        """Have at hand what is listed, and for who lists nothing what the relay met.

        It is the one whom people in rooms write to.
        """
        await self._remote.learn(jid, peers)
        for peer in peers:
            if self._remote.relay in ("", jid) or self._knows(jid, peer):
                continue
            relay = await self._accounts.find(self._remote.relay)
            for namespace, device in lists.unlisted(relay, peer) if relay else ():
                self._remote.met(namespace, peer, device)

    def _knows(self, jid: str, peer: str) -> bool:
        known = (self._remote.listed(jid, one, peer) for one in NAMESPACES)
        return any(listed is not None and listed.devices for listed in known)

    async def _seal(
        self, account: Account, letter: _Letter, unit: Unit
    ) -> Sealed | Unsealable:
        for _ in range(ROUNDS_MAX):
            try:
                async with account.operation(unit):
                    return await self._once(account, letter)
            except _AgainError as again:
                await self._remote.fetch(account.jid, again.wanted)
            except _RefusedError as refused:
                return refused.answer
        return Unsealable(KEYLESS, tuple(letter.recipients), passing=True)

    async def _once(self, account: Account, letter: _Letter) -> Sealed:
        for peer in letter.recipients:
            if account.shelf.get(opt_out_place(peer)) is not None:
                raise _RefusedError(Unsealable(OPTED_OUT, (peer,)))
            await lists.feed(account, self._remote, peer)
        account.desk.sealing = True
        try:
            messages, errors = await account.device.encrypt(
                letter.recipients, letter.plain, letter.order
            )
        except NoEligibleDevices as none:
            self._want(account, ())
            if letter.words is None:
                return _in_the_clear(letter, none.bare_jids)
            raise _RefusedError(self._why(account, none.bare_jids)) from None
        self._want(account, errors)
        left_out = tuple((one.bare_jid, one.device_id) for one in errors)
        return _finished(letter, [one for one in messages if one.keys], left_out)

    def _want(self, account: Account, errors: Iterable[EncryptionError]) -> None:
        """Begin anew if there is hope for more devices."""
        for error in errors:
            if not isinstance(error.exception, BundleNotFound):
                wanted = (error.namespace, error.bare_jid, error.device_id)
                if wanted not in account.desk.wanted:
                    # Its bundle is no good, and will not be better a second later.
                    self._remote.reject(wanted)
                    raise _AgainError(())
        if account.desk.wanted:
            raise _AgainError(account.desk.wanted)

    def _why(self, account: Account, peers: Iterable[str]) -> Unsealable:
        """Tell why nobody of *peers* can be written to."""
        jids = tuple(sorted(peers))
        known = [
            listed
            for peer in jids
            for namespace in NAMESPACES
            if (listed := self._remote.listed(account.jid, namespace, peer))
        ]
        states = {listed.state for listed in known}
        if State.KNOWN in states:
            levels = {
                level for peer in jids for level in trust.levels(account.shelf, peer)
            }
            untrusted = levels and levels <= {Trust.WAITING, Trust.DISTRUSTED}
            return Unsealable(UNTRUSTED if untrusted else KEYLESS, jids)
        hidden = any(self._remote.hides(account.jid, peer) for peer in jids)
        if hidden or State.UNREADABLE in states:
            return Unsealable(UNREADABLE, jids)
        if State.TROUBLE in states:
            return Unsealable(TROUBLE, jids, passing=True)
        return Unsealable(NO_DEVICE, jids)


def opt_out_place(peer: str) -> str:
    """Name where it is kept that *peer* wants no encryption."""
    return f"/optout/{peer}/said"


def opt_out(reason: str) -> Node:
    """Write that we want no encryption any more; XEP-0384 §5.7."""
    why = (node("reason", None, reason),) if reason else ()
    return node("opt-out", {"xmlns": OMEMO2}, *why)


def _finished(
    letter: _Letter,
    messages: Sequence[Message],
    left_out: tuple[tuple[str, int], ...],
) -> Sealed:
    encrypted = [wire.written(message) for message in messages]
    has_legacy = any(message.namespace == LEGACY for message in messages)
    around = envelope.beside(letter.content) if has_legacy else ()
    return Sealed(envelope.sealed(encrypted, around), left_out)


def _in_the_clear(letter: _Letter, peers: Iterable[str]) -> Sealed:
    """Send what has no words as legacy clients do: it is not sealed at all."""
    around = envelope.beside(letter.content)
    if not around:
        raise _RefusedError(Unsealable(WORDLESS, tuple(sorted(peers))))
    return Sealed(around)
