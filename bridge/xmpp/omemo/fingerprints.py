"""Shows devices as clients do, and lets people decide on them."""

from collections.abc import Sequence

from bridge.core.ports import Unit
from bridge.xmpp.endtoend import Device, Trust
from bridge.xmpp.omemo import lists, notices, trust
from bridge.xmpp.omemo.account import Account
from bridge.xmpp.omemo.device import Wanted
from bridge.xmpp.omemo.opening import standing
from bridge.xmpp.omemo.remote import Remote


async def devices(
    account: Account, remote: Remote, peer: str, unit: Unit
) -> Sequence[Device]:
    """List the devices of *peer* that *account* knows, the active ones first."""
    found, wanted = await _look(account, remote, peer, unit)
    if wanted:
        await remote.fetch(account.jid, wanted)
        found, _ = await _look(account, remote, peer, unit)
    return sorted(found, key=lambda one: (not one.active, one.id))


def decide(account: Account, peer: str, fingerprint: str, to: Trust) -> bool:
    """Within an operation: trust whoever has *fingerprint* so far from now on."""
    asked = trust.digits(fingerprint)
    for place in account.shelf.keys(f"peer {peer}"):
        if not place.endswith("/identity_key"):
            continue
        key = trust.decoded(account.shelf.get(place))
        if trust.digits(trust.fingerprint(key)) == asked:
            trust.set_level(account.shelf, peer, key, to)
            if to is Trust.VERIFIED:
                notices.verified(account.shelf, peer, key)
            return True
    return False


async def _look(
    account: Account, remote: Remote, peer: str, unit: Unit
) -> tuple[list[Device], frozenset[Wanted]]:
    async with account.operation(unit):
        if peer != account.jid:
            await lists.feed(account, remote, peer)
        found = await account.device.get_device_information(peer)
        shown = [
            Device(
                one.device_id,
                trust.fingerprint(one.identity_key),
                standing(account, one),
                peer == account.jid or any(active for _, active in one.active),
                one.label or "",
            )
            for one in found
        ]
        return shown, frozenset(account.desk.wanted)
