"""Signed JSON and cross-signing identities (spec: Appendices; §11.12.2)."""

import base64
import secrets
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final

import msgspec
import vodozemac
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Json = Mapping[str, Any]

OLM: Final = "m.olm.v1.curve25519-aes-sha2"
MEGOLM: Final = "m.megolm.v1.aes-sha2"

_encode = msgspec.json.Encoder(order="sorted").encode


def canonical(value: Json) -> bytes:
    """Write *value* as canonical JSON, without what a signature leaves out."""
    return _encode(
        {k: v for k, v in value.items() if k not in ("signatures", "unsigned")}
    )


def unpadded(raw: bytes) -> str:
    """Write bytes as base64 without padding, as all keys are written."""
    return base64.b64encode(raw).rstrip(b"=").decode("ascii")


def is_signed(value: Json, user: str, key: str, public: str) -> bool:
    """Tell whether *user* signed *value* with the key of id *key*."""
    try:
        signature = value["signatures"][user][key]
        vodozemac.Ed25519PublicKey.from_base64(public).verify_signature(
            canonical(value), vodozemac.Ed25519Signature.from_base64(signature)
        )
    except (KeyError, TypeError, ValueError):
        return False  # vodozemac's and msgspec's errors are ValueErrors, too
    return True


def signed(
    value: Json, user: str, signers: Mapping[str, Callable[[bytes], str]]
) -> dict[str, Any]:
    """Return *value* with signatures of *user*, by the id of their key."""
    raw = canonical(value)
    marks = {f"ed25519:{key}": sign(raw) for key, sign in signers.items()}
    return {**value, "signatures": {user: marks}}


class Seed:
    """A private signing key."""

    def __init__(self, raw: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(raw)

    @cached_property
    def public(self) -> str:
        """The public key; it is also its own id."""
        return unpadded(self._key.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> str:
        """Return the signature of *message*."""
        return unpadded(self._key.sign(message))


class SigningKeys(msgspec.Struct, frozen=True):
    """The three seeds of a cross-signing identity, as they are kept; never renewed."""

    master: bytes
    self_signing: bytes
    user_signing: bytes
    published: bool = False

    @classmethod
    def new(cls) -> "SigningKeys":
        """Make an identity."""
        master, self_signing, user_signing = (secrets.token_bytes(32) for _ in "123")
        return cls(master, self_signing, user_signing)

    def body(self, user: str) -> dict[str, Any]:
        """Write the body of ``/keys/device_signing/upload``; always the same bytes."""
        master = Seed(self.master)

        def key(usage: str, seed: Seed) -> dict[str, Any]:
            return {
                "user_id": user,
                "usage": [usage],
                "keys": {f"ed25519:{seed.public}": seed.public},
            }

        def by_master(value: Json) -> dict[str, Any]:
            return signed(value, user, {master.public: master.sign})

        return {
            "master_key": key("master", master),
            "self_signing_key": by_master(key("self_signing", Seed(self.self_signing))),
            "user_signing_key": by_master(key("user_signing", Seed(self.user_signing))),
        }
