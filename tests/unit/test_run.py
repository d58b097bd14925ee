import asyncio
import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.app import App
from bridge.config import Config, parse
from bridge.core.ports import StoreUnavailableError
from bridge.ends import StartError
from bridge.run import Tasks, run
from tests.component_server import DOMAIN, SECRET
from tests.site import KEY

TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Let pytest have its signals back: uvloop leaves a deaf ear behind."""
    before = {number: signal.getsignal(number) for number in (TERM, INT)}
    yield
    for number, listening in before.items():
        signal.signal(number, listening)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    document = {
        "homeserver": {"name": "hs", "url": "http://127.0.0.1:1"},
        "appservice": {"listen": "127.0.0.1:1", "as_token": "a", "hs_token": "h"},
        "xmpp": {"component": DOMAIN, "address": "127.0.0.1:1", "secret": SECRET},
        "store": {"key": KEY},
    }
    return parse(document, tmp_path, {})


def test_a_fault_is_one_line_and_a_code_of_its_own(
    config: Config,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(_: App) -> None:
        raise KeyError("what somebody said")

    monkeypatch.setattr(App, "start", broken)

    assert run(config) == 70

    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "a fault of the bridge (KeyError)" in error
    (logged,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert logged.exc_info is not None


def test_a_database_that_fails_is_one_line(
    config: Config,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(_: App) -> None:
        raise ExceptionGroup("", [KeyError("x"), StoreUnavailableError("disk full")])

    monkeypatch.setattr(App, "start", broken)

    assert run(config) == 7

    error = capsys.readouterr().err
    assert error == "xmpp-matrix-bridge: the database cannot be used: disk full\n"


async def test_what_begins_while_all_ends_adds_no_fault_to_the_reason() -> None:
    begun, done = asyncio.Event(), []

    async def work() -> None:
        done.append("work")

    async def part(tasks: asyncio.TaskGroup) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:  # as a part does that has not heard yet that all end
            await tasks.create_task(work())

    async def all_of_it() -> None:
        async with Tasks() as tasks:
            parts = {tasks.create_task(part(tasks))}
            await begun.wait()
            assert parts
            raise StartError(5, "refused")

    with pytest.raises(ExceptionGroup) as caught:
        await all_of_it()

    assert [str(error) for error in caught.value.exceptions] == ["refused"]
    assert done == []
