"""python-omemo's two versions, which forget a used pre key only a day later.

Rules: a used pre key is never offered again; yet until the message that used it is
safely carried, and for those who chose the same one meanwhile, it still works. Others
forget theirs at once: so no two accounts of ours use the same one of somebody.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import oldmemo
import twomemo
import x3dh
import xeddsa
from oldmemo.oldmemo import BundleImpl as LegacyBundle, SessionImpl as LegacySession
from omemo import Backend, Bundle
from omemo.session import Session
from twomemo.twomemo import BundleImpl as Omemo2Bundle, SessionImpl as Omemo2Session
from typing_extensions import override

from bridge.xmpp.omemo.device import Wanted
from bridge.xmpp.omemo.shelf import Shelf

SPENT_KEPT_S: Final = 86_400
SKIPPED_MAX: Final = 1000
"""How many messages may be missing before one; XEP-0384 §4.3 recommends it."""

_BYTES: Final = "latin-1"
"""How x3dh writes bytes as JSON."""

_SESSIONS: Final = (LegacySession, Omemo2Session)
_BUNDLES: Final = (LegacyBundle, Omemo2Bundle)

Pick = Callable[[Wanted, frozenset[bytes]], bytes]
"""Chooses one of the pre keys that a device offers, if possible one not used yet."""


class Spent:
    """The pre keys of one version that were used, and when."""

    def __init__(self, shelf: Shelf, namespace: str) -> None:
        self._shelf = shelf
        self._key = f"/{namespace}/spent"
        self._state = f"/{namespace}/x3dh"

    def keys(self) -> dict[str, float]:
        """Return when each was first used, by its public part."""
        found: dict[str, float] = self._shelf.get(self._key) or {}
        return found

    def add(self, session: Session) -> bool:
        """Take note that *session* was built on one; False if that was known."""
        assert isinstance(session, _SESSIONS)
        used = session.key_exchange.header.pre_key
        known = self.keys()
        if used is None or used.hex() in known:
            return False
        self._shelf.put(self._key, {**known, used.hex(): time.time()})
        return True

    def without(
        self, bundle: x3dh.Bundle, ids: dict[bytes, int]
    ) -> tuple[x3dh.Bundle, dict[bytes, int]]:
        """Return what may still be offered."""
        spent = self.keys()
        fresh = frozenset(key for key in bundle.pre_keys if key.hex() not in spent)
        offered = x3dh.Bundle(
            bundle.identity_key,
            bundle.signed_pre_key,
            bundle.signed_pre_key_sig,
            fresh,
        )
        return offered, {key: n for key, n in ids.items() if key in fresh}

    def forget(self) -> None:
        """Drop those that were used long ago, for good."""
        spent = self.keys()
        old = {k for k, at in spent.items() if at < time.time() - SPENT_KEPT_S}
        if not old:
            return
        state: dict[str, Any] = self._shelf.get(self._state)
        state["pre_keys"] = [k for k in state["pre_keys"] if _public(k) not in old]
        self._shelf.put(self._state, state)
        self._shelf.put(self._key, {k: at for k, at in spent.items() if k not in old})


class Spare(Backend):
    """A version that offers no pre key twice, and forgets used ones late.

    It stands before one of python-omemo's in the order of bases.
    """

    def __init__(self, shelf: Shelf, pick: Pick) -> None:
        # The next base is one of python-omemo's, which knows more than ``Backend``.
        super().__init__(shelf, SKIPPED_MAX)  # type: ignore[arg-type]
        self._spent = Spent(shelf, self.namespace)
        self._pick = pick

    @override
    async def build_session_active(
        self,
        bare_jid: str,
        device_id: int,
        bundle: Bundle,
        plain_key_material: Any,
    ) -> Any:
        assert isinstance(bundle, _BUNDLES)
        offered = bundle.bundle.pre_keys
        if offered:
            place = (self.namespace, bare_jid, device_id)
            bundle = _with_one(bundle, self._pick(place, offered))
        return await super().build_session_active(  # type: ignore[safe-super]
            bare_jid, device_id, bundle, plain_key_material
        )

    @override
    async def hide_pre_key(self, session: Session) -> bool:
        return self._spent.add(session)

    @override
    async def delete_hidden_pre_keys(self) -> None:
        self._spent.forget()

    @override
    async def get_num_visible_pre_keys(self) -> int:
        kept = await super().get_num_visible_pre_keys()  # type: ignore[safe-super]
        return kept - len(self._spent.keys())


class Legacy(Spare, oldmemo.Oldmemo):
    """What most clients speak."""

    @override
    async def get_bundle(self, bare_jid: str, device_id: int) -> LegacyBundle:
        whole = await super().get_bundle(bare_jid, device_id)
        bundle, ids = self._spent.without(whole.bundle, whole.pre_key_ids)
        return LegacyBundle(bare_jid, device_id, bundle, whole.signed_pre_key_id, ids)

    @override
    async def sign_own_label(self, label: str) -> bytes:
        # Its device list has no labels, but python-omemo asks all the same.
        return b""


class Omemo2(Spare, twomemo.Twomemo):
    """OMEMO as XEP-0384 has it now."""

    @override
    async def get_bundle(self, bare_jid: str, device_id: int) -> Omemo2Bundle:
        whole = await super().get_bundle(bare_jid, device_id)
        bundle, ids = self._spent.without(whole.bundle, whole.pre_key_ids)
        return Omemo2Bundle(bare_jid, device_id, bundle, whole.signed_pre_key_id, ids)


def _with_one(bundle: LegacyBundle | Omemo2Bundle, key: bytes) -> Bundle:
    """Return *bundle* with one pre key only."""
    offered = bundle.bundle
    only = x3dh.Bundle(
        offered.identity_key,
        offered.signed_pre_key,
        offered.signed_pre_key_sig,
        frozenset((key,)),
    )
    ids = {key: bundle.pre_key_ids[key]}
    return type(bundle)(
        bundle.bare_jid, bundle.device_id, only, bundle.signed_pre_key_id, ids
    )


def _public(private: str) -> str:
    return xeddsa.priv_to_curve25519_pub(private.encode(_BYTES)).hex()


def backends(shelf: Shelf, pick: Pick) -> tuple[Backend, Backend]:
    """Return both versions, the one that we prefer first."""
    return Omemo2(shelf, pick), Legacy(shelf, pick)
