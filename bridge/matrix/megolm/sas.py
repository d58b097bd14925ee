"""Answers those who verify a user of ours by a short code (spec §11.12.2.2, SAS).

    request -> ready, start -> accept, key -> key, mac -> mac + done

Whoever verifies compares what their client shows with what the bridge shows by another
way; the bridge has no eyes, and confirms what its keys prove. It never begins.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import vodozemac

from bridge.matrix.megolm.emoji import EMOJI
from bridge.matrix.megolm.persons import Person
from bridge.matrix.megolm.ports import Fingerprint, Json, ShortCode
from bridge.matrix.megolm.signing import canonical, unpadded

PREFIX: Final = "m.key.verification."
METHOD: Final = "m.sas.v1"
AGREEMENT, HASH, MAC = "curve25519-hkdf-sha256", "sha256", "hkdf-hmac-sha256.v2"

Reply = tuple[str, dict[str, Any]]
"""A type without its prefix, and a content."""


class _Request(msgspec.Struct):
    from_device: str
    methods: list[str]


class _Start(msgspec.Struct):
    from_device: str
    method: str
    key_agreement_protocols: list[str]
    hashes: list[str]
    message_authentication_codes: list[str]
    short_authentication_string: list[str]


class _Key(msgspec.Struct):
    key: str


class _Mac(msgspec.Struct):
    mac: dict[str, str]
    keys: str


class CancelledError(Exception):
    """It cannot go on; *code* and *reason* are told to the other side."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason


class Verification:
    """One verification of *ours* by somebody; *code* is what both sides show."""

    def __init__(self, ours: Fingerprint, theirs: Person, txn: str) -> None:
        self.ours = ours
        self.theirs = theirs
        self.txn = txn
        self.device = ""
        self.code: ShortCode | None = None
        self._sas = vodozemac.Sas()
        self._established: vodozemac.EstablishedSas | None = None
        self._awaits: tuple[str, ...] = ("request", "start")

    def step(self, kind: str, content: Json) -> Sequence[Reply]:
        """Answer one message; *kind* is its type without the prefix.

        Raises ``CancelledError`` if the verification is over and they should know.
        """
        if kind not in self._awaits:
            raise CancelledError("m.unexpected_message", "This was not expected now.")
        try:
            match kind:
                case "request":
                    return self._ready(msgspec.convert(content, _Request))
                case "start":
                    return self._accept(msgspec.convert(content, _Start), content)
                case "key":
                    return self._show(msgspec.convert(content, _Key))
                case "mac":
                    return self._confirm(msgspec.convert(content, _Mac))
                case _:
                    return ()
        except (msgspec.ValidationError, RecursionError) as error:
            raise CancelledError("m.invalid_message", "This is malformed.") from error

    def _ready(self, request: _Request) -> Sequence[Reply]:
        if METHOD not in request.methods:
            raise CancelledError(
                "m.unknown_method", "Only short codes can be compared."
            )
        self.device = request.from_device
        self._awaits = ("start",)
        ready = {"from_device": self.ours.device, "methods": [METHOD]}
        return [("ready", ready)]

    def _accept(self, start: _Start, content: Json) -> Sequence[Reply]:
        if (
            start.method != METHOD
            or AGREEMENT not in start.key_agreement_protocols
            or HASH not in start.hashes
            or MAC not in start.message_authentication_codes
            or "decimal" not in start.short_authentication_string
        ):
            raise CancelledError(
                "m.unknown_method", "There is no method that both know."
            )
        if self.device not in ("", start.from_device):
            raise CancelledError("m.key_mismatch", "Another device has answered.")
        self.device = start.from_device
        self._awaits = ("key",)
        raw = self._sas.public_key.to_base64().encode() + canonical(content)
        accept = {
            "method": METHOD,
            "key_agreement_protocol": AGREEMENT,
            "hash": HASH,
            "message_authentication_code": MAC,
            "short_authentication_string": [
                one
                for one in ("decimal", "emoji")
                if one in start.short_authentication_string
            ],
            "commitment": unpadded(hashlib.sha256(raw).digest()),
        }
        return [("accept", accept)]

    def _show(self, key: _Key) -> Sequence[Reply]:
        mine = self._sas.public_key.to_base64()
        try:
            theirs = vodozemac.Curve25519PublicKey.from_base64(key.key)
            self._established = self._sas.diffie_hellman(theirs)
        except ValueError as error:
            raise CancelledError("m.invalid_message", "The key is none.") from error
        info = (
            f"MATRIX_KEY_VERIFICATION_SAS|{self.theirs.user}|{self.device}|{key.key}"
            f"|{self.ours.user}|{self.ours.device}|{mine}|{self.txn}"
        )
        shown = self._established.bytes(info)
        self.code = ShortCode(
            tuple(EMOJI[number] for number in shown.emoji_indices),
            (shown.decimals[0], shown.decimals[1], shown.decimals[2]),
        )
        self._awaits = ("mac",)
        return [("key", {"key": mine})]

    def _confirm(self, mac: _Mac) -> Sequence[Reply]:
        assert self._established is not None
        self._check(self._established, mac)
        self._awaits = ("done",)
        keys = {
            f"ed25519:{self.ours.device}": self.ours.ed25519,
            f"ed25519:{self.ours.master}": self.ours.master,
        }
        info = self._info(
            (self.ours.user, self.ours.device), (self.theirs.user, self.device)
        )
        calculate = self._established.calculate_mac
        macs = {name: calculate(key, info + name) for name, key in keys.items()}
        whole = calculate(",".join(sorted(keys)), f"{info}KEY_IDS")
        return [("mac", {"mac": macs, "keys": whole}), ("done", {})]

    def _check(self, sas: vodozemac.EstablishedSas, mac: _Mac) -> None:
        info = self._info(
            (self.theirs.user, self.device), (self.ours.user, self.ours.device)
        )
        known = {one.id: one.ed25519 for one in self.theirs.devices}
        known[self.theirs.master] = self.theirs.master
        if f"ed25519:{self.device}" not in mac.mac:
            raise CancelledError("m.key_mismatch", "The key of the device is missing.")
        try:
            sas.verify_mac(",".join(sorted(mac.mac)), f"{info}KEY_IDS", mac.keys)
            for name, tag in mac.mac.items():
                if key := known.get(name.removeprefix("ed25519:")):
                    sas.verify_mac(key, info + name, tag)
        except ValueError as error:
            raise CancelledError("m.key_mismatch", "The keys do not match.") from error

    def _info(self, sender: tuple[str, str], recipient: tuple[str, str]) -> str:
        return "".join(("MATRIX_KEY_VERIFICATION_MAC", *sender, *recipient, self.txn))


def transaction(event: Json) -> str:
    """Name the verification that *event*, to a device or in a room, belongs to."""
    content = event.get("content")
    if not isinstance(content, Mapping):
        return ""
    relation = content.get("m.relates_to")
    found = content.get("transaction_id")
    if isinstance(relation, Mapping):
        found = relation.get("event_id")
    elif found is None and content.get("msgtype") == f"{PREFIX}request":
        found = event.get("event_id")
    return found if isinstance(found, str) else ""
