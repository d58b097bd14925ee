"""Mends Olm sessions that do not fit any more (spec: Recovering from undecryptable)."""

import logging
import time
from collections.abc import Callable
from http import HTTPStatus

from bridge.core.ports import Unit
from bridge.matrix.client import MatrixError
from bridge.matrix.megolm import letters
from bridge.matrix.megolm.devices import Devices
from bridge.matrix.megolm.olm import seal
from bridge.matrix.megolm.own import Own
from bridge.matrix.megolm.persons import Device
from bridge.matrix.megolm.ports import KeyServer
from bridge.matrix.megolm.vault import Vault
from bridge.matrix.recent import Recent

logger = logging.getLogger(__name__)

EVERY_S = 3600.0
"""How often at most a session is mended: two that fight over one would not end."""


class Healing:
    """Opens new sessions with devices whose messages could not be read."""

    def __init__(
        self,
        server: KeyServer,
        vault: Vault,
        devices: Devices,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._vault = vault
        self._devices = devices
        self._now = now
        self._healed: Recent[tuple[str, str], float] = Recent(10_000)

    async def mend(self, own: Own) -> None:
        """Open a session with each device that *own* could not read, and say so.

        What the homeserver cannot do now remains to be done.
        """
        while own.broken:
            curve, sender = next(iter(own.broken.items()))
            mended = self._healed.get((own.user, curve))
            if mended is None or self._now() - mended >= EVERY_S:
                try:
                    await self._look(own, curve, sender)
                except MatrixError as error:
                    if error.status == HTTPStatus.TOO_MANY_REQUESTS:
                        raise
                    logger.warning("the session with %s stays: %s", sender, error)
                self._healed.put((own.user, curve), self._now())
            own.broken.pop(curve, None)

    async def _look(self, own: Own, curve: str, sender: str) -> None:
        person = (await self._devices.of([sender]))[sender]
        device = person.device(curve)
        if device is not None and not device.blocked:
            await self._mend(own, device)

    async def _mend(self, own: Own, device: Device) -> None:
        async with own.lock:
            await own.meet(self._vault)
            if await letters.open_sessions(self._server, own, [device]):
                return
            unit = Unit()
            letter = seal(own, unit, device, "m.dummy", {})
            batches = letters.batches(own, letters.ENCRYPTED, [(device, letter)])
            await self._vault.commit(unit)
        for batch in batches:
            await self._server.send_to_device(batch)
        logger.info("the Olm session of %s with %s is new", own.user, device.user)
