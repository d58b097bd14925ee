"""One user of ours who has keys: an identity for ever, a device, its Olm sessions."""

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast

import msgspec
import vodozemac

from bridge.core.ports import Unit
from bridge.matrix.megolm.ports import Role
from bridge.matrix.megolm.signing import MEGOLM, OLM, Seed, SigningKeys, signed
from bridge.matrix.megolm.vault import PICKLE_KEY, Vault
from bridge.model.records import Record, Secret

KEPT = IDENTITY, ACCOUNT = "identity", "account"
PEER = "peer "
ONE_TIME_MAX = 50
ALGORITHMS = (OLM, MEGOLM)

_encode = msgspec.json.Encoder().encode


class _Fallback(Protocol):
    """What vodozemac's account can do beyond its stubs."""

    fallback_key: dict[str, vodozemac.Curve25519PublicKey]

    def generate_fallback_key(self) -> None: ...


class AccountState(msgspec.Struct, omit_defaults=True):
    """The device as it is kept.

    *ready* tells that the homeserver has all of it. *stale* are devices to be removed.
    *clashes* counts how often our one-time keys were there already, under other keys.
    """

    device: str
    epoch: int
    role: Role
    pickle: str = ""
    ready: bool = False
    clashes: int = 0
    fallback_at: float = 0
    stale: list[str] = []


class PeerState(msgspec.Struct):
    """The Olm sessions with one device, the last used first; *own* is our key."""

    own: str
    pickles: list[str]


_decode_identity = msgspec.json.Decoder(SigningKeys).decode
_decode_account = msgspec.json.Decoder(AccountState).decode
_decode_peer = msgspec.json.Decoder(PeerState).decode


def owner(user: str) -> str:
    """Name whose secrets those of *user* are."""
    return f"olm {user}"


class Own:
    """A user of ours; *kept* is what the store has of them.

    *lock* is held while its keys are made or uploaded: one at a time. *broken* are
    identity keys whose messages could not be read, and whose they are; *verifiers*
    what those said who verify us, not yet answered. *unsaved* are rooms for which Olm
    sessions went on that are not on disk yet.
    """

    def __init__(self, user: str, kept: Mapping[str, bytes], epoch: int) -> None:
        self.user = user
        self.lock = asyncio.Lock()
        self.keys: SigningKeys | None = None
        self.state: AccountState | None = None
        self.account: vodozemac.Account | None = None
        self.peers: dict[str, list[vodozemac.Session]] = {}
        self.unsaved: set[str] = set()
        self._met = False
        self._introduction: msgspec.Raw | None = None
        self.broken: dict[str, str] = {}
        self.verifiers: list[Mapping[str, Any]] = []
        self.one_time_left: int | None = None
        self.wants_fallback = False
        self._epoch = epoch
        if raw := kept.get(IDENTITY):
            self.keys = _decode_identity(raw)
        if raw := kept.get(ACCOUNT):
            self._load(_decode_account(raw))

    def _load(self, state: AccountState) -> None:
        if state.epoch != self._epoch:
            # From before a restored backup: whatever it signed stays, it does not.
            self.state = msgspec.structs.replace(state, ready=False, pickle="")
            if self.keys is not None:
                self.keys = msgspec.structs.replace(self.keys, published=False)
            return
        self.state = state
        self.account = vodozemac.Account.from_pickle(state.pickle, PICKLE_KEY)

    async def meet(self, vault: Vault) -> None:
        """Have the Olm sessions at hand: they are large, and rarely needed."""
        if self._met:
            return
        kept = await vault.of(owner(self.user))
        if self._met:
            return  # somebody was faster, and may have gone on from there
        self._met = True
        for name, raw in kept.items():
            if not name.startswith(PEER):
                continue
            peer, curve = _decode_peer(raw), name.removeprefix(PEER)
            if peer.own == self.curve:
                self.peers[curve] = [
                    vodozemac.Session.from_pickle(one, PICKLE_KEY)
                    for one in peer.pickles
                ]

    def part(self) -> None:
        """Let go of the Olm sessions, if all is on disk and only the lock uses them."""
        assert self.state is not None
        if self.state.role is Role.OCCUPANT and not self.unsaved:
            self.peers.clear()
            self._met = False

    @property
    def ready(self) -> bool:
        """Tell whether the device is set up."""
        return self.state is not None and self.state.ready

    @property
    def device(self) -> str:
        """The id of the device."""
        assert self.state is not None
        return self.state.device

    @property
    def olm(self) -> vodozemac.Account:
        """The Olm account of the device."""
        assert self.account is not None
        return self.account

    @property
    def fallback(self) -> dict[str, vodozemac.Curve25519PublicKey]:
        """The fallback key, while it is not published."""
        return cast("_Fallback", self.olm).fallback_key

    @property
    def curve(self) -> str:
        """The identity key of the device."""
        return self.olm.curve25519_key.to_base64()

    @property
    def ed25519(self) -> str:
        """The signing key of the device."""
        return self.olm.ed25519_key.to_base64()

    def renew(self, role: Role) -> None:
        """Take a new device; the one before is removed once the new one is ready."""
        old = self.state
        stale = [] if old is None else [*old.stale, old.device]
        device = f"XMPP{secrets.token_hex(4).upper()}"
        self.account = vodozemac.Account()
        self.peers.clear()
        self._met = True
        self._introduction = None
        self.state = AccountState(device, self._epoch, role, stale=stale)
        self.stock(ONE_TIME_MAX)

    def renew_fallback(self) -> None:
        """Make a fallback key; what was encrypted with the last one can be read."""
        cast("_Fallback", self.olm).generate_fallback_key()

    def stock(self, count: int) -> None:
        """Make one-time keys, if the role needs any."""
        assert self.state is not None
        if self.state.role is Role.BOT and count > 0:
            self.olm.generate_one_time_keys(count)

    def device_keys(self) -> dict[str, Any]:
        """Write the device keys, signed by the device and by the identity."""
        assert self.keys is not None
        seed, name = Seed(self.keys.self_signing), self.device
        keys = {
            "user_id": self.user,
            "device_id": name,
            "algorithms": list(ALGORITHMS),
            "keys": {f"curve25519:{name}": self.curve, f"ed25519:{name}": self.ed25519},
        }
        signers = {name: self.sign, seed.public: seed.sign}
        return signed(keys, self.user, signers)

    @property
    def introduction(self) -> msgspec.Raw:
        """The device keys as they go with every letter."""
        if self._introduction is None:
            self._introduction = msgspec.Raw(_encode(self.device_keys()))
        return self._introduction

    def sign(self, message: bytes) -> str:
        """Sign as the device."""
        return self.olm.sign(message).to_base64()

    def stage(self, unit: Unit) -> None:
        """Let the account be written with *unit*."""
        unit.late.append(self._records)

    def stage_peer(self, unit: Unit, curve: str) -> None:
        """Let the Olm sessions with one device be written with *unit*."""
        unit.late.append(lambda: self._peer(curve))

    def _records(self) -> Iterable[Record]:
        if self.keys is not None:
            yield Secret(owner(self.user), IDENTITY, _encode(self.keys))
        if self.state is not None and self.account is not None:
            self.state.pickle = self.account.pickle(PICKLE_KEY)
            yield Secret(owner(self.user), ACCOUNT, _encode(self.state))

    def _peer(self, curve: str) -> Iterable[Record]:
        sessions = self.peers.get(curve)
        if sessions:
            pickles = [one.pickle(PICKLE_KEY) for one in sessions]
            state = PeerState(self.curve, pickles)
            yield Secret(owner(self.user), PEER + curve, _encode(state))
