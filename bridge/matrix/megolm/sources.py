"""How far to believe that a message came from its sender (MSC4153)."""

import time

from bridge.matrix.client import HomeserverDownError
from bridge.matrix.megolm import persons
from bridge.matrix.megolm.devices import Devices
from bridge.matrix.megolm.inbound import SourceState
from bridge.matrix.megolm.persons import Device, Person
from bridge.matrix.megolm.ports import Fault, Strictness, Trust
from bridge.matrix.recent import Recent

ASK_AGAIN_S = 300.0


class Sources:
    """Weighs the devices that gave us sessions."""

    def __init__(self, devices: Devices, strictness: Strictness) -> None:
        self._devices = devices
        self._strictness = strictness
        self._asked: Recent[str, float] = Recent(10_000)

    async def weigh(self, source: SourceState) -> Trust | Fault:
        """Tell how well the device is known that the session came from."""
        person = await self._person(source)
        listed = person.device(source.curve)
        device = listed or _introduced(source, person) or source.device
        if device is None:
            return Fault.UNKNOWN_DEVICE
        if device.blocked or device.ed25519 != source.ed25519:
            return Fault.FOREIGN
        if any(d.id == device.id and d.curve != device.curve for d in person.devices):
            return Fault.FOREIGN  # ids are never used again: it takes one that is known
        trust = _trust(person, device)
        if trust is not Trust.SIGNED and self._strictness is Strictness.SIGNED:
            return Fault.UNSIGNED_DEVICE
        return trust if listed or trust is Trust.UNSIGNED else Trust.GONE

    async def _person(self, source: SourceState) -> Person:
        """Return the sender as known; ask if the device is not."""
        user = source.sender
        try:
            person = (await self._devices.of([user]))[user]
            if person.device(source.curve) is None and self._may_ask(source.curve):
                person = await self._devices.refresh(user)
        except HomeserverDownError:
            person = await self._devices.person(user)
            if person.device(source.curve) is None:
                raise
        return person

    def _may_ask(self, curve: str) -> bool:
        now = time.monotonic()
        asked = self._asked.get(curve)
        if asked is not None and now - asked < ASK_AGAIN_S:
            return False
        self._asked.put(curve, now)
        return True


def _introduced(source: SourceState, person: Person) -> Device | None:
    """Read how the device introduced itself, by the identity known now."""
    if source.introduction is None:
        return None
    return persons.device(source.introduction, source.sender, person.signer)


def _trust(person: Person, device: Device) -> Trust:
    if person.is_signed(device.signer):
        return Trust.SIGNED
    return Trust.UNSIGNED if person.pinned else Trust.LEGACY
