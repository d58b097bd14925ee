"""Megolm sessions of ours: the key is with all who may read before a word is said.

    devices -> sessions claimed -> letters on disk -> sent -> the message

Who may read is decided anew for every message: whoever left, or lost a device, makes
the session end; whoever came gets the key as it stands now.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from http import HTTPStatus

from bridge.core.ports import Unit
from bridge.matrix.client import MatrixError
from bridge.matrix.megolm import letters
from bridge.matrix.megolm.devices import UNWATCHED_S, Devices
from bridge.matrix.megolm.olm import seal
from bridge.matrix.megolm.outgoing import TOLD, Outgoing, owner
from bridge.matrix.megolm.own import Own
from bridge.matrix.megolm.persons import Device, Person
from bridge.matrix.megolm.ports import (
    Batch,
    Encrypted,
    Json,
    KeyServer,
    SealedRoom,
    Stopped,
    Strictness,
)
from bridge.matrix.megolm.promises import Promise, Promises
from bridge.matrix.megolm.signing import MEGOLM
from bridge.matrix.megolm.vault import Vault, Warm
from bridge.matrix.recent import Recent

logger = logging.getLogger(__name__)

SESSIONS_MAX = 2000
LACKING_S = 900.0
"""How long a device that had no key for us is not asked for one again."""

_HOPELESS = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


class Outbound:
    """How our users speak in encrypted rooms."""

    def __init__(
        self,
        server: KeyServer,
        vault: Vault,
        devices: Devices,
        ours: Callable[[str], bool],
        strictness: Strictness,
    ) -> None:
        self._server = server
        self._vault = vault
        self._devices = devices
        self._ours = ours
        self._strictness = strictness
        self._outgoing: Warm[tuple[str, str], Outgoing] = Warm(self._load, SESSIONS_MAX)
        self._lacking: Recent[tuple[str, str], float] = Recent(50_000)
        self.promises = Promises(vault)
        self.on_promise: Callable[[str], None] = lambda _: None
        self.now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000

    async def _load(self, key: tuple[str, str]) -> Outgoing:
        room, user = key
        return Outgoing(room, user, await self._vault.of(owner(room)))

    async def encrypt(
        self, own: Own, unit: Unit, room: SealedRoom, said: tuple[str, Json]
    ) -> Encrypted | Stopped:
        """Encrypt what is *said*, a type and a content; see ``Machine.encrypt``."""
        outgoing = await self._outgoing.get((room.id, own.user))
        async with own.lock:
            changed = await self._share(own, outgoing, room)
            if changed:
                return Stopped(changed)
            # No await between the ratchet's advance and its staging.
            return Encrypted(outgoing.encrypt(own, unit, *said), own.device)

    async def _share(
        self, own: Own, outgoing: Outgoing, room: SealedRoom
    ) -> tuple[str, ...]:
        """See to it that all have the key; return whose identity stands against it."""
        await self._flush(own, outgoing)
        now_ms = self.now_ms()
        lasts = outgoing.lasts(own, room, now_ms)
        if lasts and room.watched and outgoing.checked == self._sight(room):
            return ()
        others = [user for user in room.members if not self._ours(user)]
        persons = await self._devices.of(others, None if room.watched else UNWATCHED_S)
        sight = self._sight(room)
        if changed := tuple(sorted(p.user for p in persons.values() if p.changed)):
            return changed
        trusted = self._trusted(persons.values())
        if not lasts or not outgoing.is_safe(trusted):
            outgoing.begin(own, room, now_ms)
        waits = room.awaited.intersection(p.user for p in persons.values() if p.pinned)
        await self._promise(own, outgoing, waits)
        there = [one for one in trusted.values() if one.user not in waits]
        # Those of homeservers that did not answer are asked for again, by and by.
        complete = not any(one.outdated for one in persons.values())
        given = await self._give(own, outgoing, there)
        outgoing.checked = sight if given and complete else None
        untold = _untold(outgoing, persons.values(), trusted)
        await self._refuse(own, outgoing, untold)
        return ()

    def _sight(self, room: SealedRoom) -> object:
        return room.members, room.awaited, self._devices.version

    def _trusted(self, persons: Iterable[Person]) -> dict[str, Device]:
        found = (d for p in persons for d in p.trusted(self._strictness))
        return {one.address: one for one in found}

    async def _give(
        self, own: Own, outgoing: Outgoing, trusted: Iterable[Device]
    ) -> bool:
        """Give the key to who lacks it; tell whether nobody lacks it any more."""
        missing = [one for one in trusted if outgoing.lacks(one)]
        if not missing:
            return True
        reached, failed = await self._reach(own, missing)
        unit, key, index = Unit(), outgoing.key(), outgoing.session.message_index
        sealed = [(to, seal(own, unit, to, "m.room_key", key)) for to in reached]
        outgoing.shared.update((one.address, index) for one in reached)
        outgoing.pending += letters.batches(own, letters.ENCRYPTED, sealed)
        told = [(to, _no_olm(own)) for to in failed]
        outgoing.pending += letters.batches(own, letters.WITHHELD, told)
        await self._keep(own, outgoing, unit)
        own.part()
        return len(reached) == len(missing)

    async def _reach(
        self, own: Own, devices: Sequence[Device]
    ) -> tuple[list[Device], list[Device]]:
        """Open what Olm sessions lack; return who can be written to, and who not now.

        Of those who had no key for us, each is asked and told only now and then.
        """
        await own.meet(self._vault)
        now = time.monotonic()
        strange = [d for d in devices if d.curve not in own.peers]
        asked = [d for d in strange if self._may_ask(own, d, now)]
        failed = await letters.open_sessions(self._server, own, asked)
        for one in failed:
            self._lacking.put((own.user, one.address), now)
        return [one for one in devices if one.curve in own.peers], failed

    async def _promise(
        self, own: Own, outgoing: Outgoing, waits: frozenset[str]
    ) -> None:
        """Put the key aside, as it stands, for those who *wait* for it."""
        session = outgoing.session
        made = self.promises.made(outgoing.room, own.user, session.session_id)
        unit = Unit()
        for guest in sorted(waits.difference(made)):
            promise = Promise(
                outgoing.room,
                own.user,
                guest,
                session.session_id,
                session.message_index,
                outgoing.key(),
            )
            self.promises.make(unit, promise)
        if unit.put:
            await self._keep(own, outgoing, unit)
            self.on_promise(outgoing.room)

    async def admit(
        self, own: Own, room: SealedRoom, promises: Sequence[Promise]
    ) -> None:
        """Give those who have come in the keys that *own* put aside for them."""
        outgoing = await self._outgoing.get((room.id, own.user))
        async with own.lock:
            await self._flush(own, outgoing)
            guests = {one.guest for one in promises}
            fresh_s = None if room.watched else UNWATCHED_S
            persons = await self._devices.of(guests, fresh_s)
            trusted = self._trusted(p for p in persons.values() if not p.changed)
            reached, _ = await self._reach(own, list(trusted.values()))
            unit, kept = Unit(), []
            for promise in promises:
                to = [one for one in reached if one.user == promise.guest]
                self._fulfil(own, outgoing, unit, promise, to)
                kept += [promise] if to else []
            await self._keep(own, outgoing, unit)
            # Only now is it forgotten: whoever is given a key twice does not mind.
            unit = Unit()
            for promise in kept:
                self.promises.keep(unit, promise)
            await self._vault.commit(unit)
            own.part()

    def _fulfil(
        self,
        own: Own,
        outgoing: Outgoing,
        unit: Unit,
        promise: Promise,
        devices: Iterable[Device],
    ) -> None:
        """Write the letters that keep *promise*."""
        sealed = [
            (to, seal(own, unit, to, "m.room_key", promise.content)) for to in devices
        ]
        outgoing.pending += letters.batches(own, letters.ENCRYPTED, sealed)
        if promise.session == outgoing.session.session_id:
            outgoing.shared.update((to.address, promise.index) for to, _ in sealed)

    def _may_ask(self, own: Own, device: Device, now: float) -> bool:
        asked = self._lacking.get((own.user, device.address))
        return asked is None or now - asked >= LACKING_S

    async def _refuse(
        self, own: Own, outgoing: Outgoing, untold: Iterable[Device]
    ) -> None:
        """Tell devices that are not trusted, once, that they do not get the key."""
        session = outgoing.session.session_id
        told = [(to, _unverified(own, outgoing.room, session)) for to in untold]
        if not told:
            return
        outgoing.shared.update((to.address, TOLD) for to, _ in told)
        outgoing.pending += letters.batches(own, letters.WITHHELD, told)
        await self._keep(own, outgoing, Unit())

    async def _keep(self, own: Own, outgoing: Outgoing, unit: Unit) -> None:
        unit.late.append(outgoing.all_records)
        outgoing.unsaved = unit
        own.unsaved.add(outgoing.room)
        await self._flush(own, outgoing)

    async def _flush(self, own: Own, outgoing: Outgoing) -> None:
        """Send what is on disk, as it is, in order."""
        if outgoing.unsaved is not None:
            await self._vault.commit(outgoing.unsaved)
            outgoing.unsaved = None
            own.unsaved.discard(outgoing.room)
        if not outgoing.pending:
            return
        unit = Unit()
        for batch in tuple(outgoing.pending):
            if batch.device == own.device:  # of a device that we left, nothing goes
                await self._send(batch)
            unit.drop.append(outgoing.sent(batch))
        await self._vault.commit(unit)

    async def _send(self, batch: Batch) -> None:
        try:
            await self._server.send_to_device(batch)
        except MatrixError as error:
            if error.status not in _HOPELESS or is_unknown_device(error):
                raise
            logger.error(  # noqa: TRY400 - nothing but this is of interest
                "keys of %s are refused and will not arrive: %s", batch.user, error
            )


def is_unknown_device(error: MatrixError) -> bool:
    """Tell whether the homeserver does not know the device that asked (MSC4326)."""
    return "UNKNOWN_DEVICE" in error.errcode


def _untold(
    outgoing: Outgoing, persons: Iterable[Person], trusted: Collection[str]
) -> list[Device]:
    return [
        one
        for person in persons
        for one in person.devices
        if not one.absent
        and one.address not in trusted
        and one.address not in outgoing.shared
    ]


def _no_olm(own: Own) -> Json:
    return {
        "algorithm": MEGOLM,
        "sender_key": own.curve,
        "code": "m.no_olm",
        "reason": "Unable to establish a secure channel.",
    }


def _unverified(own: Own, room: str, session: str) -> Json:
    return {
        "algorithm": MEGOLM,
        "room_id": room,
        "session_id": session,
        "sender_key": own.curve,
        "code": "m.unverified",
        "reason": "The device has not been verified by its owner.",
    }
