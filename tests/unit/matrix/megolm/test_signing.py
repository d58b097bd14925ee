from typing import Any

import pytest

from bridge.matrix.megolm.signing import (
    Seed,
    SigningKeys,
    canonical,
    is_signed,
    signed,
    unpadded,
)

SEED = Seed(bytes(range(32)))
USER = "@alice:hs"


def by_seed(value: dict[str, Any]) -> dict[str, Any]:
    return signed(value, USER, {SEED.public: SEED.sign})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, "{}"),
        ({"one": 1, "two": "Two"}, '{"one":1,"two":"Two"}'),
        ({"b": "2", "a": "1"}, '{"a":"1","b":"2"}'),
        ({"a": {"z": [True, None], "b": -1}}, '{"a":{"b":-1,"z":[true,null]}}'),
        ({"a": "日本語"}, '{"a":"日本語"}'),
        ({"本": 2, "日": 1}, '{"日":1,"本":2}'),
        ({"a": '\u65e5/\n\x00"'}, '{"a":"日/\\n\\u0000\\""}'),
    ],
)
def test_canonical_json_is_written_as_the_spec_shows(
    value: dict[str, Any], expected: str
) -> None:
    assert canonical(value) == expected.encode()


def test_what_a_signature_leaves_out_may_change() -> None:
    value = by_seed({"key": "value"})
    value["unsigned"] = {"age": 1}
    value["signatures"]["@bob:hs"] = {}

    assert is_signed(value, USER, f"ed25519:{SEED.public}", SEED.public)


@pytest.mark.parametrize(
    "change",
    [
        {"key": "other"},
        {"more": 1},
        {"signatures": {}},
        {"signatures": {USER: {f"ed25519:{SEED.public}": "AAAA"}}},
        {"signatures": {USER: {f"ed25519:{SEED.public}": 1}}},
        {"signatures": {USER: None}},
        {"signatures": []},
        {"key": "\ud800"},
    ],
)
def test_what_was_changed_is_not_signed(change: dict[str, Any]) -> None:
    value = by_seed({"key": "value"}) | change

    assert not is_signed(value, USER, f"ed25519:{SEED.public}", SEED.public)


@pytest.mark.parametrize("public", ["", "AAAA", unpadded(bytes(32)), "ö"])
def test_a_key_that_is_none_signed_nothing(public: str) -> None:
    value = by_seed({"key": "value"})

    assert not is_signed(value, USER, f"ed25519:{SEED.public}", public)


def test_nobody_signs_for_another() -> None:
    value = by_seed({"key": "value"})

    assert not is_signed(value, "@bob:hs", f"ed25519:{SEED.public}", SEED.public)


def test_an_identity_is_written_the_same_every_time() -> None:
    keys = SigningKeys.new()

    assert keys.body(USER) == keys.body(USER)
    assert keys.body(USER) != SigningKeys.new().body(USER)


def test_the_master_key_signs_the_two_others() -> None:
    body = SigningKeys.new().body(USER)
    public = next(iter(body["master_key"]["keys"].values()))

    for name in ("self_signing_key", "user_signing_key"):
        assert is_signed(body[name], USER, f"ed25519:{public}", public)
