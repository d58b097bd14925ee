import hashlib
from typing import Any

import pytest
from nio import (
    KeyVerificationAccept,
    KeyVerificationKey,
    KeyVerificationMac,
)
from nio.crypto import OlmDevice
from nio.crypto.sas import Sas

from bridge.matrix.megolm.emoji import EMOJI
from bridge.matrix.megolm.persons import Device, Person
from bridge.matrix.megolm.ports import Fingerprint
from bridge.matrix.megolm.sas import (
    MAC,
    CancelledError,
    Verification,
    transaction,
)
from bridge.matrix.megolm.signing import canonical, unpadded
from tests.unit.matrix.megolm.key_server import Wild
from tests.unit.matrix.megolm.party import ALICE, BOT

OURS = Fingerprint(BOT, "BOTDEVICE", "our-ed25519", "our-master")
DEVICE = Device(ALICE, "PHONE", "curve", "her-ed25519")
HER = Person(ALICE, [DEVICE], master="her-master")


class Her:
    """Alice, who verifies the bot with matrix-nio."""

    def __init__(self) -> None:
        keys = {"ed25519": OURS.ed25519, "curve25519": "curve"}
        bot = OlmDevice(BOT, OURS.device, keys)
        self.sas = Sas(ALICE, DEVICE.id, DEVICE.ed25519, bot)
        self.sas.mac_methods = Sas._mac_v1

    def event(self, kind: type[Any], content: dict[str, Any]) -> Wild:
        full = {**content, "transaction_id": self.sas.transaction_id}
        return kind.from_dict({"sender": BOT, "content": full, "type": "x"})


@pytest.fixture
def her(monkeypatch: pytest.MonkeyPatch) -> Her:
    monkeypatch.setattr(Sas, "_mac_v1", [MAC])
    monkeypatch.setattr(Sas, "_mac_normal", MAC)
    her = Her()

    def check(key: str) -> bool:
        # The spec wants unpadded base64, as all other clients do it; nio writes hex.
        raw = key.encode() + canonical(her.sas.start_verification().content)
        return bool(her.sas.commitment == unpadded(hashlib.sha256(raw).digest()))

    monkeypatch.setattr(her.sas, "_check_commitment", check)
    return her


@pytest.fixture
def ours(her: Her) -> Verification:
    return Verification(OURS, HER, her.sas.transaction_id)


def start(her: Her, ours: Verification) -> None:
    content = her.sas.start_verification().content
    ((kind, accept),) = ours.step("start", content)
    assert kind == "accept"
    her.sas.receive_accept_event(her.event(KeyVerificationAccept, accept))
    ((kind, key),) = ours.step("key", her.sas.share_key().content)
    assert kind == "key"
    her.sas.receive_key_event(her.event(KeyVerificationKey, key))


def test_nio_verifies_the_bot(her: Her, ours: Verification) -> None:
    start(her, ours)
    assert ours.code
    assert list(ours.code.decimals) == list(her.sas.get_decimals())
    # Both are the same bits: 3 x 13 in numbers, 7 x 6 in pictures.
    bits = "".join(f"{number - 1000:013b}" for number in ours.code.decimals)
    shown = [EMOJI[int(bits[at : at + 6], 2)] for at in range(0, 36, 6)]
    assert list(ours.code.emoji[:6]) == shown

    her.sas.accept_sas()
    (kind, mac), (done, _) = ours.step("mac", her.sas.get_mac().content)
    her.sas.receive_mac_event(her.event(KeyVerificationMac, mac))

    assert (kind, done) == ("mac", "done")
    assert her.sas.verified
    assert set(mac["mac"]) == {"ed25519:BOTDEVICE", "ed25519:our-master"}


def test_a_request_is_answered_and_followed_by_a_start(
    her: Her, ours: Verification
) -> None:
    ((kind, ready),) = ours.step(
        "request", {"from_device": DEVICE.id, "methods": ["m.qr.x", "m.sas.v1"]}
    )

    assert kind == "ready"
    assert ready == {"from_device": OURS.device, "methods": ["m.sas.v1"]}
    start(her, ours)


@pytest.mark.parametrize(
    ("kind", "content", "code"),
    [
        ("key", {}, "m.unexpected_message"),
        ("mac", {}, "m.unexpected_message"),
        ("start", {}, "m.invalid_message"),
        ("request", {"from_device": 1}, "m.invalid_message"),
        ("request", {"from_device": "A", "methods": []}, "m.unknown_method"),
    ],
)
def test_what_does_not_fit_ends_it(
    ours: Verification, kind: str, content: dict[str, Any], code: str
) -> None:
    with pytest.raises(CancelledError) as over:
        ours.step(kind, content)

    assert over.value.code == code


@pytest.mark.parametrize(
    "change",
    [
        {"method": "m.reciprocate.v1"},
        {"key_agreement_protocols": ["curve25519"]},
        {"hashes": []},
        {"message_authentication_codes": ["hkdf-hmac-sha256"]},
        {"short_authentication_string": ["emoji"]},
    ],
)
def test_methods_that_are_not_known_end_it(
    her: Her, ours: Verification, change: dict[str, Any]
) -> None:
    content = her.sas.start_verification().content | change

    with pytest.raises(CancelledError) as over:
        ours.step("start", content)

    assert over.value.code == "m.unknown_method"


def test_the_device_that_asked_is_the_one_that_goes_on(
    her: Her, ours: Verification
) -> None:
    ours.step("request", {"from_device": "OTHER", "methods": ["m.sas.v1"]})

    with pytest.raises(CancelledError):
        ours.step("start", her.sas.start_verification().content)


@pytest.mark.parametrize("key", ["", "AAAA", "A" * 43, "ö"])
def test_a_key_that_is_none_ends_it(her: Her, ours: Verification, key: str) -> None:
    ours.step("start", her.sas.start_verification().content)

    with pytest.raises(CancelledError) as over:
        ours.step("key", {"key": key})

    assert over.value.code == "m.invalid_message"


@pytest.mark.parametrize(
    "spoil",
    [
        {"keys": "AAAA"},
        {"mac": {}},
        {"mac": {"ed25519:PHONE": "AAAA"}},
        {"mac": {"ed25519:OTHER": "AAAA"}},
    ],
)
def test_keys_that_do_not_match_end_it(
    her: Her, ours: Verification, spoil: dict[str, Any]
) -> None:
    start(her, ours)
    her.sas.accept_sas()

    with pytest.raises(CancelledError) as over:
        ours.step("mac", her.sas.get_mac().content | spoil)

    assert over.value.code == "m.key_mismatch"


def test_another_device_key_than_the_known_one_ends_it(her: Her) -> None:
    known = Person(ALICE, [Device(ALICE, "PHONE", "curve", "another")])
    ours = Verification(OURS, known, her.sas.transaction_id)
    start(her, ours)
    her.sas.accept_sas()

    with pytest.raises(CancelledError) as over:
        ours.step("mac", her.sas.get_mac().content)

    assert over.value.code == "m.key_mismatch"


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"content": {"transaction_id": "t"}}, "t"),
        ({"content": {"m.relates_to": {"event_id": "$r"}}}, "$r"),
        (
            {"event_id": "$e", "content": {"msgtype": "m.key.verification.request"}},
            "$e",
        ),
        ({"content": {"transaction_id": 1}}, ""),
        ({"content": {"m.relates_to": {}}}, ""),
        ({"content": None}, ""),
        ({}, ""),
    ],
)
def test_a_verification_has_a_name(event: dict[str, Any], expected: str) -> None:
    assert transaction(event) == expected
