"""Shows people the devices of a chat as clients do, and lets them decide on theirs.

Fingerprints are those of OMEMO: what a client shows for a contact is what we show here.
"""

from collections.abc import Sequence

from bridge.core.ports import Store
from bridge.model.places import Room
from bridge.model.records import Kind, Portal
from bridge.xmpp.codec.names import chat_parts
from bridge.xmpp.endtoend import Device, EndToEnd, Trust
from bridge.xmpp.means import BOT
from bridge.xmpp.secrecy import Secrecy

SHOWN_MAX = 20
LABEL_MAX = 50

NO_CHAT = "That is for direct chats with somebody of XMPP."
NO_OMEMO = "OMEMO is switched off on this bridge."
SEALED = "encrypted with OMEMO, as far as the bridge"
ANSWERED = (
    "what you write is encrypted with OMEMO, as far as the bridge; their last message"
    " was not, or there was none"
)
BARE = "not encrypted, as they have no device that the bridge can encrypt for"
PLAIN = "not encrypted"
COMPARE = "Compare each with what the other client shows: end-to-bridge, not beyond."


class Checking:
    """The devices of direct chats; see ``XmppDevices``."""

    def __init__(
        self, store: Store, secrecy: Secrecy, endtoend: EndToEnd | None
    ) -> None:
        self._store = store
        self._secrecy = secrecy
        self._endtoend = endtoend

    async def state(self, portal: Portal) -> str:
        """Tell how *portal* is guarded on XMPP at present; see ``XmppDevices``."""
        parts = chat_parts(portal.xmpp)
        if parts is None:
            return ""
        peer, account = parts
        if self._endtoend is None:
            return PLAIN
        if await self._secrecy.is_sealed(portal.xmpp):
            return SEALED
        if not portal.encrypted:
            return PLAIN
        capable = await self._endtoend.capable(account, peer)
        return ANSWERED if capable else BARE

    async def theirs(self, portal: Portal) -> str:
        """List the devices of whom *portal* is a chat with; see ``XmppDevices``."""
        parts = chat_parts(portal.xmpp)
        if parts is None:
            return NO_CHAT
        if self._endtoend is None:
            return NO_OMEMO
        peer, account = parts
        found = await self._endtoend.devices(account, peer)
        lines = [_shown(one) for one in found[:SHOWN_MAX]]
        if not lines:
            lines = ["none that the bridge can see"]
        own = await self._own(account)
        return "\n".join((f"Devices of {peer}:", *lines, *own, COMPARE))

    async def decide(self, portal: Portal, fingerprint: str, *, trusted: bool) -> str:
        """Trust or distrust a device; see ``XmppDevices``."""
        parts = chat_parts(portal.xmpp)
        if parts is None:
            return NO_CHAT
        if self._endtoend is None:
            return NO_OMEMO
        peer, account = parts
        level = Trust.VERIFIED if trusted else Trust.DISTRUSTED
        if not await self._endtoend.decide(account, peer, fingerprint, level):
            return f"{peer} has no device with that fingerprint; see: !xmpp omemo"
        self._secrecy.hopes.decided(portal.xmpp)
        if trusted:
            return (
                "That device is verified. Devices of theirs that are new from now on"
                " have to be trusted before they can read what you write."
            )
        return "That device is distrusted: it is neither written to nor believed."

    async def ours(self, room: Room) -> str:
        """List our devices that the person of *room* can check; see ``XmppDevices``."""
        parts = chat_parts(room.address)
        if parts is None or self._endtoend is None:
            return ""
        peer, account = parts
        accounts: Sequence[str] = (account,)
        if account.startswith(f"{BOT}@"):
            accounts = await self._met(peer)
        lines = [line for one in accounts for line in await self._own(one)]
        return "\n".join((*lines, COMPARE)) if lines else ""

    async def _own(self, account: str) -> list[str]:
        assert self._endtoend is not None
        found = await self._endtoend.devices(account, account)
        return [f"{account}, as XMPP sees it: {one.fingerprint}" for one in found]

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
