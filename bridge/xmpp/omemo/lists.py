"""Brings what others list to what an account knows of them; within an operation.

listed, less what has no bundle, at most 50 -> the account's devices of a peer
"""

from collections.abc import Iterable, Sequence
from typing import Final

import xeddsa
from omemo import DeviceList

from bridge.xmpp.omemo import trust
from bridge.xmpp.omemo.account import Account
from bridge.xmpp.omemo.device import Wanted
from bridge.xmpp.omemo.names import DEVICES_MAX, LEGACY, NAMESPACES
from bridge.xmpp.omemo.remote import Remote, State
from bridge.xmpp.omemo.shelf import session_row
from bridge.xmpp.omemo.wire import MALFORMED

REMEMBERED_MAX: Final = 3 * DEVICES_MAX

_KEPT: Final = ("namespaces", "active", "label", "identity_key")


async def feed(account: Account, remote: Remote, peer: str) -> None:
    """Let *account* know the devices of *peer* as they are now listed."""
    for namespace, devices in _listed(account, remote, peer).items():
        known = frozenset(devices)
        if account.fed.get((namespace, peer)) == known:
            continue
        await _update(account, namespace, peer, devices)
        account.fed[namespace, peer] = known
        _forget_old(account, peer)
    _confirm(account, remote, peer)


async def take_unlisted(
    account: Account, namespace: str, peer: tuple[str, int], key: bytes
) -> None:
    """Know a device that has begun a session though it is on no list (trust at once).

    Nothing is lost by that: whoever could send this could also have listed it.
    """
    jid, device = peer
    active = _active(account, namespace, jid)
    await _update(account, namespace, jid, dict.fromkeys((*active, device)))
    await account.shelf.store_bytes(identity_place(jid, device), key)
    account.shelf.put(_unlisted(jid, device), value=True)


def spoke(account: Account, namespace: str, peer: str, device: int) -> None:
    """Take note of the version that a device writes, so that it can read the answer.

    Some list OMEMO 2, and can neither write nor read it.
    """
    account.shelf.put(_spoken(peer, device), namespace)


def is_known(account: Account, peer: str, device: int) -> bool:
    """Tell whether *account* has the key of a device."""
    return account.shelf.get(identity_place(peer, device)) is not None


def identity_of(account: Account, peer: str, device: int) -> bytes | None:
    """Return the key of a device; None if it is not known."""
    text: str | None = account.shelf.get(identity_place(peer, device))
    return None if text is None else trust.decoded(text)


def is_unlisted(account: Account, peer: str, device: int) -> bool:
    """Tell whether a device has been on no list so far."""
    return account.shelf.get(_unlisted(peer, device)) is not None


def unlisted(account: Account, peer: str) -> Sequence[tuple[str, int]]:
    """List the devices of *peer* that are in use though on no list, by namespace."""
    return [
        (namespace, device)
        for namespace in NAMESPACES
        for device in _active(account, namespace, peer)
        if is_unlisted(account, peer, device)
    ]


def identity_place(peer: str, device: int) -> str:
    """Name where python-omemo keeps the key of a device."""
    return f"/devices/{peer}/{device}/identity_key"


def _listed(account: Account, remote: Remote, peer: str) -> dict[str, DeviceList]:
    sessions = frozenset(account.sessions(peer))
    found: dict[str, DeviceList] = {}
    for namespace in NAMESPACES:
        listed = remote.listed(account.jid, namespace, peer)
        if listed is None or listed.state not in (State.KNOWN, State.MISSING):
            if remote.unlisted(account.jid, namespace, peer):
                active = _active(account, namespace, peer)
                met = _met(account, remote, namespace, peer)
                found[namespace] = dict.fromkeys((*active, *met))
            continue
        found[namespace] = {
            device: label
            for device, label in listed.devices.items()
            if (
                (namespace, device) in sessions
                or remote.lack(account.jid, (namespace, peer, device))
                is not State.MISSING
            )
            and not _prefers_legacy(account, remote, (namespace, peer, device))
        }
        if not found[namespace]:
            kept = [d for n, d in unlisted(account, peer) if n == namespace]
            met = _met(account, remote, namespace, peer)
            found[namespace] = dict.fromkeys((*kept, *met))
    return _capped(found, {device for _, device in sessions})


def _met(account: Account, remote: Remote, namespace: str, peer: str) -> Sequence[int]:
    """List devices that other accounts of ours have met, and note them as such."""
    met = remote.unlisted(account.jid, namespace, peer)
    for device in met:
        account.shelf.put(_unlisted(peer, device), value=True)
    return met


def _prefers_legacy(account: Account, remote: Remote, place: Wanted) -> bool:
    """Tell whether a device is better written to in the old version, which it has."""
    namespace, peer, device = place
    listed = remote.listed(account.jid, LEGACY, peer)
    if namespace == LEGACY or listed is None or device not in listed.devices:
        return False
    if account.shelf.get(_spoken(peer, device)) == LEGACY:
        return True
    # Its bundle cannot be had, for whatever reason: the old one may be at hand.
    begun = account.shelf.holds(session_row(*place))
    return not begun and remote.lack(account.jid, place) is not None


def _capped(
    found: dict[str, DeviceList], with_session: set[int]
) -> dict[str, DeviceList]:
    """Keep the devices that we talk with, and the newest of the others."""
    ids = dict.fromkeys(one for devices in found.values() for one in devices)
    if len(ids) <= DEVICES_MAX:
        return found
    ordered = sorted(ids, key=lambda one: one not in with_session)
    chosen = frozenset(ordered[:DEVICES_MAX])
    return {
        namespace: {one: label for one, label in devices.items() if one in chosen}
        for namespace, devices in found.items()
    }


async def _update(
    account: Account, namespace: str, peer: str, devices: DeviceList
) -> None:
    try:
        await account.device.update_device_list(namespace, peer, devices)
    except MALFORMED:
        # A label's signature that is none.
        bare: DeviceList = dict.fromkeys(devices)
        await account.device.update_device_list(namespace, peer, bare)


def _active(account: Account, namespace: str, peer: str) -> list[int]:
    return [
        device
        for device in _remembered(account, peer)
        if (account.shelf.get(f"/devices/{peer}/{device}/active") or {}).get(namespace)
    ]


def _remembered(account: Account, peer: str) -> list[int]:
    found: list[int] = account.shelf.get(f"/devices/{peer}/list") or []
    return found


def _forget_old(account: Account, peer: str) -> None:
    """Forget devices that are gone, if somebody lists ever new ones."""
    remembered = _remembered(account, peer)
    if len(remembered) <= REMEMBERED_MAX:
        return
    needed = {device for _, device in account.sessions(peer)}
    for namespace in NAMESPACES:
        needed.update(_active(account, namespace, peer))
    for device in set(remembered) - needed:
        for what in _KEPT:
            account.shelf.put(f"/devices/{peer}/{device}/{what}", None)
        account.shelf.put(_spoken(peer, device), None)
    kept = [device for device in remembered if device in needed]
    account.shelf.put(f"/devices/{peer}/list", kept)


def _confirm(account: Account, remote: Remote, peer: str) -> None:
    """Compare the keys of devices that were on no list with what they now publish."""
    for place in account.shelf.keys(f"peer {peer}"):
        if place.startswith(f"/unlisted/{peer}/"):
            device = int(place.rpartition("/")[2])
            _confirm_one(account, remote, peer, device)


def _confirm_one(account: Account, remote: Remote, peer: str, device: int) -> None:
    for namespace in NAMESPACES:
        listed = remote.listed(account.jid, namespace, peer)
        if listed is None or device not in listed.devices:
            continue
        wanted = (namespace, peer, device)
        try:
            bundle = remote.bundle(account.jid, wanted)
        except KeyError:
            account.desk.wanted.add(wanted)
            return
        if bundle is not None:
            replace_key(account, peer, device, bundle.identity_key)
            return


def replace_key(account: Account, peer: str, device: int, key: bytes) -> None:
    """Know a device by the key that it publishes; with another one it begins anew."""
    shelf = account.shelf
    place = identity_place(peer, device)
    known = identity_of(account, peer, device)
    if known is not None and known != key:
        curve = xeddsa.ed25519_pub_to_curve25519_pub
        level = trust.level(shelf, peer, known)
        if curve(known) == curve(key):
            if level is not None:
                trust.copy_level(shelf, peer, key, level)
        else:
            _drop_sessions(account, peer, device)
    shelf.put(place, trust.encoded(key))
    shelf.put(_unlisted(peer, device), None)


def _drop_sessions(account: Account, peer: str, device: int) -> None:
    for namespace in NAMESPACES:
        row = session_row(namespace, peer, device)
        _drop(account, account.shelf.keys(row))


def _drop(account: Account, places: Iterable[str]) -> None:
    for place in places:
        account.shelf.put(place, None)


def _spoken(peer: str, device: int) -> str:
    return f"/spoken/{peer}/{device}"


def _unlisted(peer: str, device: int) -> str:
    return f"/unlisted/{peer}/{device}"
