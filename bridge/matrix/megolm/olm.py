"""Olm: what one device tells another, and nobody else (spec §11.12.4.1).

A decryption that fails changes nothing. What it says is believed only if the sealed
words name the same people and keys as the envelope, and the device signed itself.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import vodozemac

from bridge.core.ports import Unit
from bridge.matrix.codec.tolerant import decode
from bridge.matrix.megolm import persons
from bridge.matrix.megolm.own import Own
from bridge.matrix.megolm.persons import Device, Person
from bridge.matrix.megolm.signing import OLM, Json, is_signed, unpadded

SESSIONS_MAX = 5

_COPY = "message key with the given key can't be created"
_encode = msgspec.json.Encoder().encode


class _Cipher(msgspec.Struct):
    type: Literal[0, 1]
    body: str


class _Envelope(msgspec.Struct):
    algorithm: str
    sender_key: str
    ciphertext: dict[str, _Cipher]


class _Signer(msgspec.Struct):
    ed25519: str


class _Letter(msgspec.Struct):
    type: str
    content: dict[str, Any]
    sender: str
    recipient: str
    recipient_keys: _Signer
    keys: _Signer
    sender_device_keys: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """What came by Olm: surely from whoever has *curve*, claiming *ed25519*.

    *device* is theirs as far as we know it, or as they introduced it themselves:
    *introduction* are their device keys then.
    """

    type: str
    content: dict[str, Any]
    sender: str
    curve: str
    ed25519: str
    device: Device | None
    introduction: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """The session with the device of key *curve* does not fit: make a new one."""

    sender: str
    curve: str


def seal(own: Own, unit: Unit, to: Device, kind: str, content: Json) -> dict[str, Any]:
    """Write content for an ``m.room.encrypted`` to *to*, with whom there is a session.

    MSC4147: our device keys go along, as they may not have reached their homeserver.
    """
    letter = {
        "type": kind,
        "content": content,
        "sender": own.user,
        "recipient": to.user,
        "recipient_keys": {"ed25519": to.ed25519},
        "keys": {"ed25519": own.ed25519},
        "sender_device_keys": own.introduction,
    }
    number, body = own.peers[to.curve][0].encrypt(_encode(letter)).to_parts()
    own.stage_peer(unit, to.curve)
    return {
        "algorithm": OLM,
        "sender_key": own.curve,
        "ciphertext": {to.curve: {"type": number, "body": unpadded(body)}},
    }


def begin(own: Own, to: Device, key: object) -> bool:
    """Open a session with *to* by a claimed one-time *key*, if it is signed by them."""
    if not isinstance(key, Mapping):
        return False
    public = key.get("key")
    name = f"ed25519:{to.id}"
    if not isinstance(public, str) or not is_signed(key, to.user, name, to.ed25519):
        return False
    try:
        session = own.olm.create_outbound_session(
            vodozemac.Curve25519PublicKey.from_base64(to.curve),
            vodozemac.Curve25519PublicKey.from_base64(public),
        )
    except ValueError:
        return False
    _remember(own, to.curve, session)
    return True


def open_letter(
    own: Own, unit: Unit, sender: Person, content: object
) -> Letter | Broken | None:
    """Read *content*, of an ``m.room.encrypted`` from *sender*; None: refused."""
    try:
        envelope = msgspec.convert(content, _Envelope)
    except (msgspec.ValidationError, RecursionError):
        return None
    cipher = envelope.ciphertext.get(own.curve)
    if envelope.algorithm != OLM or cipher is None:
        return None  # CVE-2022-39251: nothing but Olm carries what is to a device
    curve = envelope.sender_key
    try:
        raw = _decrypt(own, unit, curve, cipher)
    except (vodozemac.DecodeException, vodozemac.KeyException):
        return None
    except ValueError as error:
        # A ratchet goes only forward: what it had already is a copy, not a fault.
        return None if _COPY in str(error) else Broken(sender.user, curve)
    own.stage_peer(unit, curve)
    return _checked(own, sender, curve, raw)


def _decrypt(own: Own, unit: Unit, curve: str, cipher: _Cipher) -> bytes:
    sender = vodozemac.Curve25519PublicKey.from_base64(curve)
    message = vodozemac.AnyOlmMessage.from_parts(cipher.type, _bytes(cipher.body))
    sessions = own.peers.get(curve, [])
    first = message.to_pre_key()
    if first is not None:
        sessions = [one for one in sessions if one.session_matches(first)]
        if not sessions:
            session, raw = own.olm.create_inbound_session(sender, first)
            own.stage(unit)  # a one-time key is used up
            _remember(own, curve, session)
            return raw
    fault: ValueError = vodozemac.OlmDecryptionException("there is no session")
    for session in sessions:
        try:
            raw = session.decrypt(message)
        except ValueError as error:
            fault = error if _COPY not in str(fault) else fault
        else:
            _remember(own, curve, session)
            return raw
    raise fault


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise vodozemac.DecodeException("not base64") from error


def _remember(own: Own, curve: str, session: vodozemac.Session) -> None:
    """Put *session* first: the next message to them goes by it."""
    others = [one for one in own.peers.get(curve, ()) if one is not session]
    own.peers[curve] = [session, *others][:SESSIONS_MAX]


def _checked(own: Own, sender: Person, curve: str, raw: bytes) -> Letter | None:
    """Hold what is sealed against what is not (CVE-2025-48937, CVE-2026-45056)."""
    try:
        letter = msgspec.convert(decode(raw), _Letter)
    except (msgspec.ValidationError, RecursionError):
        return None
    if (letter.sender, letter.recipient) != (sender.user, own.user):
        return None
    if letter.recipient_keys.ed25519 != own.ed25519:
        return None
    ed25519 = letter.keys.ed25519
    known, introduction = sender.device(curve), letter.sender_device_keys
    device = known
    if known is None and introduction is not None:
        device = persons.device(introduction, sender.user, sender.signer)
        if device is None or device.curve != curve:
            return None
    if device is not None and device.ed25519 != ed25519:
        return None
    return Letter(
        letter.type,
        letter.content,
        sender.user,
        curve,
        ed25519,
        device,
        introduction if known is None else None,
    )
