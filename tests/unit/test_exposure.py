import base64
from pathlib import Path

import pytest

from bridge.config import Config, parse
from bridge.exposure import risks

GOOD = "0123456789abcdef" * 4


def config(folder: Path, **changed: str) -> Config:
    given = {"as_token": GOOD, "hs_token": GOOD, "secret": GOOD, "host": "127.0.0.1"}
    given |= changed
    return parse(
        {
            "homeserver": {"name": "hs.example", "url": "http://127.0.0.1:8008"},
            "appservice": {
                "as_token": given["as_token"],
                "hs_token": given["hs_token"],
                "listen": "127.0.0.1:9000",
            },
            "xmpp": {
                "component": "bridge.example",
                "address": f"{given['host']}:5347",
                "secret": given["secret"],
            },
            "store": {"key": base64.b64encode(bytes(32)).decode()},
        },
        folder,
        {},
    )


def test_what_init_writes_is_no_risk(tmp_path: Path) -> None:
    (tmp_path / "config.toml").touch(0o600)
    (tmp_path / "registration.yaml").touch(0o640)

    assert risks(config(tmp_path)) == []


@pytest.mark.parametrize("secret", ["s", "secret", "changeme", "password123", "a" * 99])
def test_a_secret_that_can_be_guessed_is_named(tmp_path: Path, secret: str) -> None:
    """S40."""
    (risk,) = risks(config(tmp_path, secret=secret))

    assert risk.startswith("xmpp.secret can be guessed")
    assert secret not in risk or secret in ("s", "secret")


def test_a_token_that_can_be_guessed_is_named(tmp_path: Path) -> None:
    named = risks(config(tmp_path, as_token="a", hs_token="h"))

    assert [risk.split(" ")[0] for risk in named] == [
        "appservice.as_token",
        "appservice.hs_token",
    ]


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("config.toml", 0o644),
        ("seal.key", 0o640),
        ("bridge.db", 0o604),
        ("registration.yaml", 0o644),
    ],
)
def test_a_file_that_others_can_read_is_named(
    tmp_path: Path, name: str, mode: int
) -> None:
    """S40."""
    (tmp_path / name).touch()
    (tmp_path / name).chmod(mode)

    (risk,) = risks(config(tmp_path))

    assert name in risk
    assert "chmod 600" in risk


@pytest.mark.parametrize("host", ["203.0.113.5", "xmpp.example", "0.0.0.0"])  # noqa: S104 - compared
def test_clear_text_over_a_network_is_named(tmp_path: Path, host: str) -> None:
    """S40."""
    (risk,) = risks(config(tmp_path, host=host))

    assert "clear text" in risk


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_loopback_is_no_network(tmp_path: Path, host: str) -> None:
    assert risks(config(tmp_path, host=host)) == []
