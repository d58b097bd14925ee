import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.__main__ import main
from bridge.config import load

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


def at_a_terminal(typed: str, *arguments: str) -> tuple[int, str]:
    """Run the command line where a person sits."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "bridge", *arguments]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        os.write(ours, typed.encode())
        said = b"".join(iter(lambda: _read(ours), b""))
        code = process.wait(20)
    os.close(ours)
    return code, said.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""  # nobody has the other end open any more


def test_init_writes_a_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of("init", str(tmp_path), *OPTIONS, "--component-secret=s") == 0

    assert (tmp_path / "config.toml").exists()
    assert "check --config" in capsys.readouterr().out


def test_what_is_missing_is_asked_for_at_a_terminal(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    answers = "@nobody\nhs.example\n\n\n\nsesame\n\n\n\n"

    code, said = at_a_terminal(answers, "init", str(folder))

    assert code == 0
    assert "--server-name: should be a domain" in said
    assert "(one of its own, not the XMPP server's) [matrix.hs.example]: " in said
    config = load(folder / "config.toml", {})
    assert config.homeserver.name == "hs.example"
    assert config.xmpp.secret == "sesame"
    for file in folder.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600


def test_an_end_of_the_answers_writes_nothing(tmp_path: Path) -> None:
    code, said = at_a_terminal("hs.example\n\x04", "init", str(tmp_path / "new"))

    assert code == 2
    assert "nothing was written" in said
    assert "Traceback" not in said
    assert not (tmp_path / "new").exists()


def test_nothing_is_asked_for_what_would_be_overwritten(tmp_path: Path) -> None:
    code_of("init", str(tmp_path), *OPTIONS, "--component-secret=s")
    before = (tmp_path / "config.toml").read_text()

    code, said = at_a_terminal("", "init", str(tmp_path))
    assert code == 2
    assert "config.toml: exists already; --force overwrites it" in said
    assert (tmp_path / "config.toml").read_text() == before

    forced = code_of("init", str(tmp_path), *OPTIONS, "--component-secret=s", "--force")
    assert forced == 0
    assert (tmp_path / "config.toml").read_text() != before


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
