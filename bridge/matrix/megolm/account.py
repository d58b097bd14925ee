"""Sets up the devices of our users, and keeps their keys on the homeserver in stock.

    make -> on disk -> upload -> mark -> on disk

What is uploaded is on disk before: after a crash the very same is uploaded again. So
"One time key … already exists" means that somebody else used the device, a copy of
this database: it is left, under the same identity, and never fought over.
"""

import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec

from bridge.core.ports import Unit
from bridge.matrix.client import HomeserverDownError, MatrixError
from bridge.matrix.megolm.own import KEPT, ONE_TIME_MAX, Own, owner
from bridge.matrix.megolm.ports import KeyServer, Role
from bridge.matrix.megolm.signing import Seed, SigningKeys, signed
from bridge.matrix.megolm.vault import Vault, Warm
from bridge.matrix.recent import Recent

logger = logging.getLogger(__name__)

DEVICE_NAME = "XMPP bridge"
ONE_TIME_MIN = 25
FALLBACK_S = 3600.0
"""A fallback key is replaced no faster: only the last two can be read with."""
REBUILD_S = 3600.0
"""How often at most a device is left for a new one: what clashes then is no copy."""
OWN_MAX = 200

_RANKS = (Role.OCCUPANT, Role.CONTACT, Role.BOT)


class Accounts:
    """The users of ours who have keys; *rebuilt* counts the devices that were left.

    *epoch* tells the run of backups: what is of another one is not used again.
    """

    def __init__(
        self, server: KeyServer, vault: Vault, now: Callable[[], float] = time.time
    ) -> None:
        self.epoch = 0
        self.rebuilt = 0
        self._server = server
        self._vault = vault
        self._now = now
        self._owns: Warm[str, Own] = Warm(self._load, OWN_MAX)
        self._rebuilt_at: Recent[str, float] = Recent(OWN_MAX)
        self._hopeless: Recent[str, MatrixError] = Recent(OWN_MAX)
        self.get = self._owns.get

    async def _load(self, user: str) -> Own:
        whose = owner(user)
        found = {name: await self._vault.find(whose, name) for name in KEPT}
        kept = {name: value for name, value in found.items() if value is not None}
        return Own(user, kept, self.epoch)

    def clear(self) -> None:
        """Forget what was read, as of another epoch."""
        self._owns.clear()

    async def is_ousted(self, user: str) -> bool:
        """Tell whether the homeserver knows *user* by another identity than ours.

        Then somebody set the bridge up anew, and used what they set up.
        """
        own = await self.get(user)
        if own.keys is None or not own.keys.published:
            return False
        answer = await self._server.query_keys([user])
        identities = answer.get("master_keys")
        master = identities.get(user) if isinstance(identities, dict) else None
        keys = master.get("keys") if isinstance(master, dict) else None
        ours = Seed(own.keys.master).public
        return not isinstance(keys, dict) or ours not in keys.values()

    async def ensure(self, user: str, role: Role) -> Own:
        """Have *user* set up for *role*; see ``Machine``."""
        own = await self.get(user)
        if not own.ready or not _covers(own, role):
            async with own.lock:
                if not own.ready:
                    await self._set_up(own, role)
                elif not _covers(own, role):
                    await self._promote(own, role)
        if own.state is not None and own.state.stale:
            async with own.lock:
                await self._tidy(own)
        return own

    async def replace(self, user: str) -> None:
        """Leave the device of *user*, which the homeserver does not know any more."""
        own = await self.get(user)
        async with own.lock:
            if own.state is not None and own.ready:
                own.renew(own.state.role)
                self._renew_fallback(own)
                await self._keep(own)

    async def restock(self, user: str) -> None:
        """Upload what the feed said is missing, and what a crash left behind."""
        own = await self.get(user)
        if own.state is None:
            return
        async with own.lock:
            if not own.ready:
                await self._set_up(own, own.state.role)
            left, own.one_time_left = own.one_time_left, None
            if left is not None and left < ONE_TIME_MIN and not own.olm.one_time_keys:
                own.stock(ONE_TIME_MAX - left)
            if own.wants_fallback:
                own.wants_fallback = False
                self._renew_fallback(own)
            if own.olm.one_time_keys or own.fallback:
                await self._publish(own)

    def _renew_fallback(self, own: Own) -> None:
        assert own.state is not None
        now = self._now()
        if own.state.role is Role.OCCUPANT or now - own.state.fallback_at < FALLBACK_S:
            return
        own.renew_fallback()
        own.state.fallback_at = now

    async def _set_up(self, own: Own, role: Role) -> None:
        if own.keys is None:
            own.keys = SigningKeys.new()
        if own.account is None:
            own.renew(role if own.state is None else _greater(role, own.state.role))
            self._renew_fallback(own)
        assert own.state is not None
        if not _covers(own, role):
            own.state.role = role
            self._fill(own)
        await self._keep(own)
        if not own.keys.published:
            await self._server.upload_cross_signing(own.user, own.keys.body(own.user))
            own.keys = msgspec.structs.replace(own.keys, published=True)
        await self._server.put_device(own.user, own.device, DEVICE_NAME)
        await self._publish(own)

    async def _promote(self, own: Own, role: Role) -> None:
        assert own.state is not None
        own.state.role = role
        self._fill(own)
        await self._publish(own)

    def _fill(self, own: Own) -> None:
        if not own.olm.one_time_keys:
            own.stock(ONE_TIME_MAX)
        if not own.fallback:
            self._renew_fallback(own)

    async def _publish(self, own: Own) -> None:
        """Upload what is not uploaded; on disk before, and marked after."""
        hopeless = self._hopeless.get(own.user)
        if hopeless is not None and self._is_new(own):
            raise hopeless
        try:
            await self._upload(own)
        except MatrixError as error:
            if not _is_clash(error):
                raise
            await self._clash(own, error)
        await self._tidy(own)

    async def _tidy(self, own: Own) -> None:
        """Remove the devices before this one, now that it is there.

        Nobody waits for that: what cannot be removed now is so another time, or never.
        """
        assert own.state is not None
        left = []
        for device in own.state.stale:
            try:
                await self._server.delete_device(own.user, device)
            except HomeserverDownError:
                left.append(device)
            except MatrixError as error:
                if error.status == HTTPStatus.TOO_MANY_REQUESTS:
                    left.append(device)
                    continue
                logger.warning("%s keeps its device %s: %s", own.user, device, error)
        if own.state.stale != left:
            own.state.stale = left
            await self._keep(own)

    async def _upload(self, own: Own) -> None:
        assert own.state is not None
        await self._keep(own)
        await self._server.upload_keys(own.user, own.device, _body(own))
        own.olm.mark_keys_as_published()
        own.state.ready = True
        await self._keep(own)

    async def _clash(self, own: Own, error: MatrixError) -> None:
        """Try other one-time keys once in the life of a device; then leave it."""
        assert own.state is not None
        own.state.clashes += 1
        if own.state.clashes == 1:
            logger.warning("%s: one-time keys of %s clash", own.user, own.device)
            # Their numbers are never used again: those that follow are others.
            own.olm.mark_keys_as_published()
            own.state.fallback_at = 0
            self._fill(own)
            try:
                await self._upload(own)
            except MatrixError as again:
                if not _is_clash(again):
                    raise
            else:
                return
        if self._is_new(own):
            self._hopeless.put(own.user, error)
            raise error
        await self._rebuild(own)

    def _is_new(self, own: Own) -> bool:
        """Tell whether the device has only just taken the place of another."""
        at = self._rebuilt_at.get(own.user)
        return at is not None and self._now() - at < REBUILD_S

    async def _rebuild(self, own: Own) -> None:
        assert own.state is not None
        self._rebuilt_at.put(own.user, self._now())
        self._hopeless.drop(own.user)
        logger.error(
            "%s: somebody else used the device %s: is a copy of this database in use?"
            " a new device replaces it, under the same identity",
            own.user,
            own.device,
        )
        self.rebuilt += 1
        own.renew(own.state.role)
        self._renew_fallback(own)
        await self._keep(own)
        await self._server.put_device(own.user, own.device, DEVICE_NAME)
        await self._upload(own)

    async def _keep(self, own: Own) -> None:
        unit = Unit()
        own.stage(unit)
        await self._vault.commit(unit)


def _covers(own: Own, role: Role) -> bool:
    return own.state is not None and (
        _RANKS.index(own.state.role) >= _RANKS.index(role)
    )


def _greater(one: Role, other: Role) -> Role:
    return max(one, other, key=_RANKS.index)


def _is_clash(error: MatrixError) -> bool:
    return error.status == HTTPStatus.BAD_REQUEST and "already exists" in error.message


def _body(own: Own) -> dict[str, Any]:
    """Write the body of ``/keys/upload``; the same for the same keys."""

    def key(public: str, **more: object) -> dict[str, Any]:
        return signed({"key": public, **more}, own.user, {own.device: own.sign})

    body: dict[str, Any] = {}
    if not own.ready:
        body["device_keys"] = own.device_keys()
    if own.olm.one_time_keys:
        body["one_time_keys"] = {
            f"signed_curve25519:{name}": key(public.to_base64())
            for name, public in sorted(own.olm.one_time_keys.items())
        }
    if own.fallback:
        body["fallback_keys"] = {
            f"signed_curve25519:{name}": key(public.to_base64(), fallback=True)
            for name, public in own.fallback.items()
        }
    return body
