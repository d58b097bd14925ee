import base64
from pathlib import Path
from typing import Any

import pytest

from bridge.config import Address, ConfigError, Secret, load, parse

KEY = base64.b64encode(bytes(32)).decode()


def document() -> dict[str, Any]:
    return {
        "homeserver": {"name": "hs.example", "url": "http://127.0.0.1:8008"},
        "appservice": {"as_token": "a", "hs_token": "h", "listen": "127.0.0.1:9000"},
        "xmpp": {
            "component": "bridge.example",
            "address": "127.0.0.1:5347",
            "secret": "s",
        },
        "store": {"key": KEY},
    }


def test_a_complete_file_is_read() -> None:
    config = parse(document(), Path("/etc/bridge"), {})

    assert config.appservice.listen == Address("127.0.0.1", 9000)
    assert config.database_url() == "sqlite:////etc/bridge/bridge.db"
    assert config.store.seal_key() == bytes(32)
    assert config.log.level == "info"


@pytest.mark.parametrize(
    ("section", "key", "value", "words"),
    [
        ("xmpp", "prot", "5347", "xmpp.prot: there is no such setting"),
        ("xmpp", "address", "nowhere", "xmpp.address: should be host:port"),
        ("xmpp", "address", "host:99999", "xmpp.address: should be host:port"),
        ("xmpp", "secret", 5, "xmpp.secret: should be a string, is int"),
        ("xmpp", "component", "a b", "xmpp.component: should be a domain"),
        ("homeserver", "url", "ftp://x", "homeserver.url: should be http(s)://"),
        ("homeserver", "url", "http://u:p@x", "homeserver.url: should be http(s)://"),
        ("homeserver", "name", "*.x", "homeserver.name: should be a domain"),
        ("xmpp", "component", "Bridge.example", "xmpp.component: should be a domain"),
        ("xmpp", "component", "bridge..example", "xmpp.component: should be a domain"),
        ("xmpp", "component", "-b.example", "xmpp.component: should be a domain"),
        ("xmpp", "component", "b.example:5347", "xmpp.component: should be a domain"),
        ("xmpp", "component", "b\0.example", "xmpp.component: should be a domain"),
        ("xmpp", "component", f"{'b' * 64}.org", "xmpp.component: should be a domain"),
        ("xmpp", "address", "xmpp..org:5347", "xmpp.address: should be host:port"),
        ("appservice", "listen", "a..b:9000", "appservice.listen: should be host:port"),
        ("homeserver", "url", "http://hs..org", "homeserver.url: should be http(s)://"),
        ("xmpp", "secret", "", "xmpp.secret: should not be empty"),
        ("appservice", "hs_token", "", "appservice.hs_token: should be letters"),
        ("appservice", "as_token", "töken", "appservice.as_token: should be letters"),
        ("homeserver", "url", "http://x:99999", "homeserver.url: should be http(s)://"),
        ("store", "database", "postgresql://h:x/n", "store.database: should be"),
        ("homeserver", "name", "", "homeserver.name: should be a domain"),
        ("log", "level", "loud", "log.level: should be debug, info, warning or error"),
        ("store", "database", "mysql://x", "store.database: should be sqlite:///"),
        ("store", "key", "short", "store.key: should be 32 bytes in base64"),
        ("store", "key", "AAAA", "store.key: should be 32 bytes in base64"),
        ("store", "key_file", "gone", "store.key_file: cannot be read.*put it back"),
        (
            "limits",
            "messages_per_minute",
            -1,
            "limits.messages_per_minute: should be a",
        ),
        ("limits", "messages_per_minute", "9", "limits.messages_per_minute: should be"),
        (
            "limits",
            "requests_per_minute",
            True,
            "limits.requests_per_minute: should be",
        ),
        ("limits", "blocked", "spam.example", "limits.blocked: should be a list"),
        ("limits", "blocked", ["", 5], "limits.blocked: should be a list of names"),
    ],
)
def test_a_wrong_setting_is_named(
    section: str, key: str, value: object, words: str
) -> None:
    wrong = document()
    wrong.setdefault(section, {})[key] = value

    with pytest.raises(
        ConfigError, match=words.replace("(", r"\(").replace(")", r"\)")
    ):
        parse(wrong, Path(), {})


def test_a_missing_setting_is_named() -> None:
    wrong = document()
    del wrong["xmpp"]["secret"]

    with pytest.raises(ConfigError, match=r"xmpp\.secret: missing"):
        parse(wrong, Path(), {})


def test_an_unknown_section_is_named() -> None:
    with pytest.raises(ConfigError, match="irc: there is no such section"):
        parse(document() | {"irc": {}}, Path(), {})


def test_a_section_is_a_table() -> None:
    with pytest.raises(ConfigError, match="xmpp: should be a section"):
        parse(document() | {"xmpp": "x"}, Path(), {})


def test_secrets_may_come_from_files_or_the_environment(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from a file\n")
    given = document()
    given["xmpp"]["secret_file"] = "secret"

    config = parse(given, tmp_path, {"XMPP_MATRIX_BRIDGE_APPSERVICE_AS_TOKEN": "env"})

    assert config.xmpp.secret == "from a file"
    assert config.appservice.as_token == "env"


def test_secrets_do_not_print() -> None:
    assert "s3cr3t" not in repr([Secret("s3cr3t")])


def test_an_address_of_ipv6_is_read_and_written() -> None:
    given = document()
    given["xmpp"]["address"] = "[::1]:5347"

    config = parse(given, Path(), {})

    assert config.xmpp.address == Address("::1", 5347)
    assert str(config.xmpp.address) == "[::1]:5347"


def test_a_database_elsewhere_is_left_as_it_is() -> None:
    given = document()
    given["store"]["database"] = "postgresql://bridge@127.0.0.1/bridge"

    assert parse(given, Path(), {}).database_url().startswith("postgresql://")


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load(tmp_path / "config.toml", {})
    (tmp_path / "config.toml").write_text("= nonsense")
    with pytest.raises(ConfigError, match="is not TOML"):
        load(tmp_path / "config.toml", {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, {})


def test_limits_have_defaults_and_are_read() -> None:
    """S36, S37, S39."""
    plain = parse(document(), Path(), {}).limits
    assert (plain.requests_per_minute, plain.messages_per_minute) == (120, 0)
    assert (plain.room_members_max, plain.blocked) == (5_000, ())

    given = {"messages_per_minute": 60, "blocked": ["spam.example", "@eve:hs"]}
    limits = parse(document() | {"limits": given}, Path(), {}).limits

    assert limits.messages_per_minute == 60
    assert limits.blocked == ("spam.example", "@eve:hs")
