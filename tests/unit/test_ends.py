from pathlib import Path

import pytest

from bridge.ends import (
    CONFIG,
    DATABASE,
    FAULT,
    HOMESERVER,
    SUPERSEDED,
    StartError,
    check_name,
    complain,
)
from bridge.store.errors import StoreError, SupersededError


def test_what_has_a_code_of_its_own_says_more_than_a_fault_beside_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = StartError(HOMESERVER, "the homeserver is away")
    group = ExceptionGroup("", [KeyError("x"), ExceptionGroup("", [known])])

    assert complain(group) == HOMESERVER

    assert capsys.readouterr().err == "xmpp-matrix-bridge: the homeserver is away\n"


def test_a_store_that_cannot_be_used_has_its_code() -> None:
    assert complain(StoreError("no")) == DATABASE


def test_who_was_superseded_has_a_code_of_its_own() -> None:
    assert complain(SupersededError()) == SUPERSEDED


def test_anything_else_is_a_fault_of_ours() -> None:
    assert complain(KeyError("x")) == FAULT


def test_a_homeserver_of_another_name_is_not_ours() -> None:
    check_name({"user_id": "@bot:hs"}, "hs")

    with pytest.raises(StartError, match="called 'other', not 'hs'"):
        check_name({"user_id": "@bot:other"}, "hs")


def test_systemd_starts_again_whatever_can_mend_itself() -> None:
    unit = Path(__file__).parents[2] / "deploy" / "xmpp-matrix-bridge.service"
    lines = unit.read_text(encoding="utf-8").splitlines()
    settings = dict(line.split("=", 1) for line in lines if "=" in line)

    final = {int(code) for code in settings["RestartPreventExitStatus"].split()}
    program, verb, option, config = settings["ExecStart"].split()

    assert final == {CONFIG, SUPERSEDED}
    assert settings["Restart"] == "on-failure"
    assert Path(program).name == "xmpp-matrix-bridge"
    assert (verb, option) == ("run", "--config")
    assert str(Path(config).parent) in settings["ReadWritePaths"].split()
