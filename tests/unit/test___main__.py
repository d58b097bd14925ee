import sys
from pathlib import Path

import pytest

from bridge.__main__ import main

OPTIONS = [
    "--server-name=hs.example",
    "--homeserver=http://127.0.0.1:8008",
    "--component=bridge.example",
    "--component-address=127.0.0.1:5347",
]


def code_of(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


def test_init_writes_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of("init", str(tmp_path), *OPTIONS, "--component-secret=s") == 0

    assert (tmp_path / "config.toml").exists()
    assert "check --config" in capsys.readouterr().out


def test_the_secret_can_come_on_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from stdin\n")
    with secret.open(encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert code_of("init", str(tmp_path), *OPTIONS, "--component-secret=-") == 0

    assert 'secret = "from stdin"' in (tmp_path / "config.toml").read_text()


def test_an_error_is_one_line_and_a_code_of_its_own(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with (tmp_path / "nothing").open("w+", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert code_of("init", str(tmp_path / "new"), *OPTIONS) == 2

    error = capsys.readouterr().err
    assert "--component-secret: missing" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_configuration_that_is_missing_is_named(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(command, "--config", str(tmp_path / "config.toml")) == 2

    assert "there is no such file" in capsys.readouterr().err


def test_help_names_the_commands_and_the_codes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert code_of("--help") == 0

    words = capsys.readouterr().out
    for expected in ("init", "check", "run", "exit codes"):
        assert expected in words


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("--version") == 0

    assert capsys.readouterr().out.strip()[0].isdigit()
