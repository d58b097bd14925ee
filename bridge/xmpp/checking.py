"""Shows people the devices of a chat or a room as clients do, and lets them decide.

Fingerprints are those of OMEMO: what a client shows for a contact is what we show here.
Everybody of Matrix decides for what they write themselves: their puppet seals it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from bridge.core.ports import Store
from bridge.model.places import Person, Room
from bridge.model.records import Kind, Portal
from bridge.xmpp.codec.names import chat_parts, puppet_jid
from bridge.xmpp.endtoend import Device, EndToEnd, Trust
from bridge.xmpp.means import BOT
from bridge.xmpp.secrecy import Secrecy

SHOWN_MAX = 20
LINES_MAX = 60
LABEL_MAX = 50

NO_OMEMO = "OMEMO is switched off on this bridge."
SEALED = "encrypted with OMEMO, as far as the bridge"
ANSWERED = (
    "what you write is encrypted with OMEMO, as far as the bridge; their last message"
    " was not, or there was none"
)
BARE = "not encrypted, as they have no device that the bridge can encrypt for"
PLAIN = "not encrypted"
COMPARE = "Compare each with what the other client shows: end-to-bridge, not beyond."


NO_DEVICE = (
    "You have no device on XMPP yet: it is made when you first write to somebody there"
    " who encrypts."
)
VERIFIED = (
    "That device is verified. Devices of theirs that are new from now on have to be"
    " trusted before they can read what you write."
)
DISTRUSTED = "That device is distrusted: it is neither written to nor believed."


class Company(NamedTuple):
    """Who meets in a portal: *people* of XMPP, and *ours*, who seal for them.

    *reader* is whose device opens what the people of XMPP write.
    """

    reader: str
    people: Sequence[str]
    ours: Sequence[str]


class Checking:
    """The devices of chats and rooms; see ``XmppDevices``.

    *company* tells who meets in the room of a portal.
    """

    def __init__(
        self,
        store: Store,
        secrecy: Secrecy,
        endtoend: EndToEnd | None,
        domain: str,
        company: Callable[[Portal], Company],
    ) -> None:
        self._store = store
        self._secrecy = secrecy
        self._endtoend = endtoend
        self._domain = domain
        self._company = company

    async def state(self, portal: Portal) -> str:
        """Tell how *portal* is guarded on XMPP at present; see ``XmppDevices``."""
        parts = chat_parts(portal.xmpp)
        if parts is None:
            return ""
        peer, account = parts
        if self._endtoend is None:
            return PLAIN
        if await self._secrecy.is_sealed(portal.xmpp):
            found = await self._endtoend.devices(account, peer)
            return f"{SEALED}; {_summary(found)}"
        if not portal.encrypted:
            return PLAIN
        capable = await self._endtoend.capable(account, peer)
        return ANSWERED if capable else BARE

    async def theirs(self, portal: Portal, whose: Person) -> str:
        """List the devices of the people of XMPP; see ``XmppDevices``."""
        if self._endtoend is None:
            return NO_OMEMO
        account, company = self._meeting(portal, whose)
        seen = account
        if not await self._endtoend.devices(account, account):
            seen = company.reader
        lines: list[str] = []
        for peer in company.people[:SHOWN_MAX]:
            found = await self._endtoend.devices(seen, peer)
            shown = [_shown(one) for one in found[:SHOWN_MAX]]
            summary = f" ({_summary(found)})" if found else ""
            lines += [
                f"Devices of {peer}{summary}:",
                *(shown or ["none that the bridge can see"]),
            ]
        if len(lines) > LINES_MAX or len(company.people) > SHOWN_MAX:
            lines = [*lines[:LINES_MAX], "and more"]
        if not lines:
            lines = ["Nobody of XMPP is here."]
        return "\n".join((*lines, *await self._own((account,)), COMPARE))

    async def decide(
        self, portal: Portal, whose: Person, fingerprint: str, *, trusted: bool
    ) -> str:
        """Trust or distrust a device; see ``XmppDevices``."""
        if self._endtoend is None:
            return NO_OMEMO
        account, company = self._meeting(portal, whose)
        if not await self._endtoend.devices(account, account):
            return NO_DEVICE
        level = Trust.VERIFIED if trusted else Trust.DISTRUSTED
        for peer in company.people:
            if await self._endtoend.decide(account, peer, fingerprint, level):
                self._secrecy.hopes.decided(portal.xmpp)
                return VERIFIED if trusted else DISTRUSTED
        nobody = company.people[0] if len(company.people) == 1 else "nobody here"
        has = "has no" if len(company.people) == 1 else "has a"
        return f"{nobody} {has} device with that fingerprint; see: !xmpp omemo"

    async def ours(self, room: Room, portal: Portal | None) -> str:
        """List our devices that people of XMPP in *room* can check."""
        if self._endtoend is None:
            return ""
        parts = chat_parts(room.address)
        accounts: Sequence[str] = ()
        if parts is not None:
            bot = parts[1].startswith(f"{BOT}@")
            accounts = await self._met(parts[0]) if bot else (parts[1],)
        elif portal is not None:
            company = self._company(portal)
            accounts = (company.reader, *company.ours)
        lines = await self._own(accounts)
        return "\n".join((*lines, COMPARE)) if lines else ""

    def _meeting(self, portal: Portal, whose: Person) -> tuple[str, Company]:
        """Name the account that *whose* decides for, and who is there."""
        parts = chat_parts(portal.xmpp)
        if parts is not None:
            return parts[1], Company(parts[1], (parts[0],), (parts[1],))
        return puppet_jid(whose.id, self._domain), self._company(portal)

    async def _own(self, accounts: Sequence[str]) -> list[str]:
        assert self._endtoend is not None
        lines: list[str] = []
        for account in dict.fromkeys(accounts):
            found = await self._endtoend.devices(account, account)
            lines += [f"{account}, as XMPP sees it: {one.fingerprint}" for one in found]
            if len(lines) >= SHOWN_MAX:
                break
        return lines

    async def _met(self, peer: str) -> list[str]:
        portals = await self._store.load(Portal)
        chats = [chat_parts(one.xmpp) for one in portals if one.kind is Kind.DIRECT]
        met = [parts[1] for parts in chats if parts is not None and parts[0] == peer]
        return met[:SHOWN_MAX]


def _shown(device: Device) -> str:
    label = "".join(c for c in device.label if c.isprintable())[:LABEL_MAX]
    named = f" ({label})" if label else ""
    used = "" if device.active else ", not in use"
    return f"{device.fingerprint}: {device.trust.value}{used}{named}"


def _summary(devices: Sequence[Device]) -> str:
    active = [one for one in devices if one.active]
    verified = sum(1 for one in active if one.trust is Trust.VERIFIED)
    return f"{verified} of {len(active)} verified"
