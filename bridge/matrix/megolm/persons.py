"""A Matrix user as the keys tell: devices, and the identity that signs them."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from bridge.matrix.megolm.ports import Strictness
from bridge.matrix.megolm.signing import MEGOLM, OLM, Json, is_signed

DEVICES_MAX = 200
"""More than anybody has; each costs an Olm session per ghost that speaks to them."""


class Device(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A device whose keys it signed itself; *signer* is the key that signed it.

    *blocked* is one that came back under other keys; *absent* one that we cannot or
    must not write to (no Olm, or dehydrated: MSC3814).
    """

    user: str
    id: str
    curve: str
    ed25519: str
    signer: str = ""
    blocked: bool = False
    absent: bool = False

    @property
    def address(self) -> str:
        """Name it among all devices."""
        return f"{self.user} {self.id} {self.curve}"


class Person(msgspec.Struct, omit_defaults=True):
    """What is known of a user.

    *pinned* is the master key first seen, or confirmed since; *master* what the
    homeserver says now, and *signer* the self-signing key that it signed. *outdated*
    tells that the homeserver announced something new.
    """

    user: str
    devices: list[Device] = []
    pinned: str = ""
    master: str = ""
    signer: str = ""
    outdated: bool = True

    @property
    def changed(self) -> bool:
        """Tell whether the identity is not the pinned one; gone is changed, too."""
        return bool(self.pinned) and self.pinned != self.master

    def is_signed(self, signer: str) -> bool:
        """Tell whether *signer* speaks for the pinned identity."""
        return (
            bool(self.pinned and signer)
            and not self.changed
            and (signer == self.signer)
        )

    def device(self, curve: str) -> Device | None:
        """Find the device of that identity key."""
        return next((one for one in self.devices if one.curve == curve), None)

    def trusted(self, strictness: Strictness) -> list[Device]:
        """Return the devices that get our keys."""
        usable = (d for d in self.devices if not d.blocked and not d.absent)
        if self.pinned or strictness is Strictness.SIGNED:
            return [d for d in usable if self.is_signed(d.signer)]
        return list(usable)


class _Keys(msgspec.Struct):
    user_id: str
    device_id: str
    algorithms: list[str]
    keys: dict[str, str]
    dehydrated: Any = None


class _Identity(msgspec.Struct):
    user_id: str
    usage: list[str]
    keys: dict[str, str]


def device(raw: object, user: str, signer: str) -> Device | None:
    """Read the device keys of *user*; None if they are not signed by themselves.

    *signer* is the self-signing key of the user, empty if there is none.
    """
    try:
        keys = msgspec.convert(raw, _Keys)
    except (msgspec.ValidationError, RecursionError):
        return None
    ed25519 = keys.keys.get(f"ed25519:{keys.device_id}", "")
    curve = keys.keys.get(f"curve25519:{keys.device_id}", "")
    assert isinstance(raw, Mapping)
    if keys.user_id != user or not curve or not _by_itself(raw, keys, ed25519):
        return None
    by = signer if signer and is_signed(raw, user, f"ed25519:{signer}", signer) else ""
    absent = bool(keys.dehydrated) or not {OLM, MEGOLM} <= set(keys.algorithms)
    return Device(user, keys.device_id, curve, ed25519, by, absent=absent)


def _by_itself(raw: Json, keys: _Keys, ed25519: str) -> bool:
    return is_signed(raw, keys.user_id, f"ed25519:{keys.device_id}", ed25519)


def read(known: Person, answer: Json) -> Person:
    """Return *known* as it is by an *answer* to ``/keys/query``."""
    user = known.user
    master = _public(_part(answer, "master_keys", user), user, "master")
    signer = _signer(_part(answer, "self_signing_keys", user), user, master)
    raw = _part(answer, "device_keys", user)
    found = [
        one
        for name, keys in sorted(raw.items() if isinstance(raw, dict) else ())
        if (one := device(keys, user, signer)) is not None and one.id == name
    ]
    return Person(
        user,
        _guarded(known.devices, found)[:DEVICES_MAX],
        pinned=known.pinned or master,
        master=master,
        signer=signer,
        outdated=False,
    )


def _guarded(known: Iterable[Device], found: Iterable[Device]) -> list[Device]:
    """Block devices that come back under other keys: ids are never used again."""
    before = {one.id: one for one in known}
    return [
        one
        if (old := before.get(one.id)) is None
        or (old.ed25519, old.curve, old.blocked) == (one.ed25519, one.curve, False)
        else msgspec.structs.replace(old, blocked=True)
        for one in found
    ]


def _part(answer: Json, name: str, user: str) -> object:
    part = answer.get(name)
    return part.get(user) if isinstance(part, dict) else None


def _public(raw: object, user: str, usage: str) -> str:
    """Return the public key of an identity's part; empty if it is none."""
    try:
        part = msgspec.convert(raw, _Identity)
    except (msgspec.ValidationError, RecursionError):
        return ""
    if part.user_id != user or usage not in part.usage or len(part.keys) != 1:
        return ""
    name, public = next(iter(part.keys.items()))
    return public if name == f"ed25519:{public}" else ""


def _signer(raw: object, user: str, master: str) -> str:
    public = _public(raw, user, "self_signing")
    if not public or not master or not isinstance(raw, Mapping):
        return ""
    return public if is_signed(raw, user, f"ed25519:{master}", master) else ""
