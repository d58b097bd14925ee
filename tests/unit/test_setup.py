import io
import os
import re
import tomllib
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path

import pytest

from bridge.config import Config, ConfigError, load
from bridge.setup import CONFIG, QUESTIONS, answers, read_secret, write

GIVEN: dict[str, str | None] = {
    "server-name": "hs.example",
    "homeserver": "http://127.0.0.1:8008/",
    "component": "bridge.example",
    "component-address": "127.0.0.1:5347",
    "component-secret": 'a "quoted\\ secret',
}


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    write(tmp_path / "new", answers(GIVEN, None), force=False)

    config = load(tmp_path / "new" / "config.toml", {})

    assert config.xmpp.secret == GIVEN["component-secret"]
    assert config.homeserver.url == "http://127.0.0.1:8008"
    assert config.appservice.url == "http://127.0.0.1:9000"


def test_every_setting_stands_in_the_new_file_as_it_is_by_default(
    tmp_path: Path,
) -> None:
    write(tmp_path, answers(GIVEN, None), force=False)
    written = tomllib.loads((tmp_path / "config.toml").read_text())
    sections = {item.name: item.type for item in fields(Config)}
    sections = {name: kind for name, kind in sections.items() if is_dataclass(kind)}

    assert set(written) == set(sections)
    for name, kind in sections.items():
        known = {item.name: item.default for item in fields(kind)}  # type: ignore[arg-type]
        said = {key.removesuffix("_file"): written[name][key] for key in written[name]}
        assert set(said) == set(known)
        by_default = {
            key: list(default) if isinstance(default, tuple) else default
            for key, default in known.items()
            if default is not MISSING and (name, key) != ("appservice", "url")
        }
        assert by_default.items() <= said.items()


def test_every_setting_is_explained_in_place() -> None:
    for section in CONFIG.split("\n[")[1:]:
        lines = section.splitlines()[1:]

        assert lines[0].startswith("# ")


def test_only_the_owner_can_read_what_is_written(tmp_path: Path) -> None:
    write(tmp_path, answers(GIVEN, None), force=False)

    for file in tmp_path.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600


def test_the_same_tokens_stand_in_both_files(tmp_path: Path) -> None:
    write(tmp_path, answers(GIVEN, None), force=False)

    config = tomllib.loads((tmp_path / "config.toml").read_text())
    registration = (tmp_path / "registration.yaml").read_text()
    assert f"as_token: {config['appservice']['as_token']}\n" in registration
    assert f"hs_token: {config['appservice']['hs_token']}\n" in registration


def test_the_namespaces_are_anchored_and_escaped(tmp_path: Path) -> None:
    write(tmp_path, answers(GIVEN, None), force=False)

    registration = (tmp_path / "registration.yaml").read_text()
    ghosts, bot, aliases = re.findall(r"regex: '(.*)'", registration)
    assert re.match(ghosts, "@_xmpp_juliet=40capulet.lit:hs.example")
    assert not re.match(ghosts, "@_xmpp_juliet:hsXexample")
    assert not re.match(ghosts, "@_xmpp_juliet:hs.example.evil")
    assert re.match(bot, "@xmppbot:hs.example")
    assert re.match(aliases, "#_xmpp_room_muc.example:hs.example")
    assert "sender_localpart: _xmpp_sender\n" in registration
    assert "rate_limited: false\n" in registration


def test_two_configurations_share_no_secret(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, answers(GIVEN, None), force=False)

    one, two = (load(tmp_path / name / "config.toml", {}) for name in ("one", "two"))
    assert one.appservice.as_token != two.appservice.as_token
    assert one.store.key != two.store.key


def test_nothing_is_overwritten_unless_asked_for(tmp_path: Path) -> None:
    write(tmp_path, answers(GIVEN, None), force=False)
    key = (tmp_path / "seal.key").read_text()

    with pytest.raises(ConfigError, match="exists already; --force overwrites it"):
        write(tmp_path, answers(GIVEN, None), force=False)
    write(tmp_path, answers(GIVEN, None), force=True)

    assert (tmp_path / "seal.key").read_text() == key


@pytest.mark.parametrize("option", sorted(GIVEN))
def test_what_is_missing_is_named_when_nobody_can_be_asked(option: str) -> None:
    with pytest.raises(ConfigError, match=f"--{option}: missing"):
        answers(GIVEN | {option: None}, None)


def test_an_empty_secret_is_replaced_by_a_good_one_as_promised() -> None:
    said = answers(GIVEN | {"component-secret": ""}, None)

    assert len(said.component_secret) > 32


def test_a_secret_that_never_came_is_not_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))

    with pytest.raises(ConfigError, match="--component-secret: nothing came"):
        read_secret("-")


def test_every_question_says_what_would_be_an_answer() -> None:
    for question in QUESTIONS:
        assert len(question.words) > len(question.option) + 10


def test_what_is_missing_is_asked_for_with_a_default() -> None:
    asked: list[str] = []

    def ask(words: str) -> str:
        asked.append(words)
        return "hs.example" if words.startswith("Name of the homeserver") else ""

    said = answers({}, ask)

    assert said.component == "matrix.hs.example"
    assert said.public_url == "http://127.0.0.1:9000"
    assert len(said.component_secret) > 32
    assert "[http://127.0.0.1:8008]" in asked[1]


def test_a_wrong_answer_is_named() -> None:
    with pytest.raises(ConfigError, match="--component-address: should be host:port"):
        answers(GIVEN | {"component-address": "nowhere"}, None)


def test_it_says_what_to_add_to_the_servers(tmp_path: Path) -> None:
    words = write(tmp_path, answers(GIVEN, None), force=False)

    assert 'Component "bridge.example"' in words
    assert "module: ejabberd_service" in words
    assert "app_service_config_files" in words


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("server-name", "@alice:hs", "should be a domain in lower case"),
        ("homeserver", "hs.example:8008", r"should be http\(s\)://"),
        ("homeserver", "http://hs.example:99999", r"should be http\(s\)://"),
        ("component", "Bridge.example", "should be a domain in lower case"),
        ("listen", "9000", "should be host:port"),
        ("public-url", "ftp://hs.example", r"should be http\(s\)://"),
        ("database", "mysql://hs.example", "should be sqlite:///FILE or"),
    ],
)
def test_a_wrong_answer_is_named_before_anything_is_written(
    option: str, value: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=f"--{option}: {words}"):
        answers(GIVEN | {option: value}, None)


def test_a_wrong_answer_is_asked_for_again() -> None:
    said = iter(["", "@alice:hs", "hs.example"])
    asked: list[str] = []

    def ask(words: str) -> str:
        asked.append(words)
        return next(said, "")

    assert answers({}, ask).server_name == "hs.example"
    assert asked[0] == "Name of the homeserver, as in @user:NAME: "
    assert asked[1].startswith("--server-name: missing")
    assert asked[2].startswith("--server-name: should be a domain")


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o277])
def test_no_umask_changes_who_can_read(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        write(tmp_path, answers(GIVEN, None), force=False)
    finally:
        os.umask(before)

    for file in tmp_path.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600


def test_others_cannot_change_what_is_in_a_new_folder(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write(tmp_path / "new", answers(GIVEN, None), force=False)
    finally:
        os.umask(before)

    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o755


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match="cannot be written"):
        write(tmp_path / "file" / "below", answers(GIVEN, None), force=False)
