import asyncio
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bridge import dead as command
from bridge.__main__ import main
from bridge.config import Config, load
from bridge.core.ports import Unit
from bridge.model.records import DeadLetter, Wish
from bridge.store.store import SqlStore
from tests.homeserver import Fault
from tests.site import Site
from tests.unit.core.test_letters import letter
from tests.unit.test_app import bodies, said, until

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(command, "PATIENCE_S", 0.2)
    monkeypatch.setattr(command, "LOOK_EVERY_S", 0.01)
    options = ("--server-name=hs.example", "--homeserver=http://127.0.0.1:8008")
    component = ("--component=bridge.example", "--component-address=127.0.0.1:5347")
    with pytest.raises(SystemExit):
        main(["init", str(tmp_path), *options, *component, "--component-secret=s"])
    return load(tmp_path / "config.toml")


async def store_of(config: Config) -> SqlStore:
    return await SqlStore.open(config.database_url(), config.store.seal_key())


async def keep(config: Config, *letters: DeadLetter) -> None:
    store = await store_of(config)
    await store.commit(Unit(put=list(letters)))
    await store.close()


async def grant(store: SqlStore, wishes: int, *gone: DeadLetter) -> None:
    """Do as the bridge does with so many *wishes*: drop those that are *gone*."""
    async with asyncio.timeout(5):
        while len(found := await store.load(Wish)) < wishes:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
    await store.commit(Unit(drop=[*gone, *found]))


def test_without_a_database_there_is_nothing_to_list(
    config: Config, capsys: Printed
) -> None:
    assert command.dead(config, "list", "") == 7

    assert "there is no database" in capsys.readouterr().err


def test_it_lists_what_did_not_arrive(config: Config) -> None:
    asyncio.run(keep(config, letter(5), replace(letter(7), why="WOULD_EXPOSE")))

    listed = asyncio.run(run(config.directory / "config.toml"))

    first, second, last = listed.splitlines()
    assert first.startswith("5: to !tea:hs.example, ")
    assert second.startswith("7: ")
    assert last == "2 undelivered"


def test_what_is_not_there_is_said(config: Config, capsys: Printed) -> None:
    asyncio.run(keep(config, letter(5)))

    assert command.dead(config, "retry", "6") == 1

    assert "no undelivered message 6" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["retry", "drop"])
def test_who_does_not_say_which_is_asked(
    config: Config, capsys: Printed, verb: str
) -> None:
    asyncio.run(keep(config, letter(5)))

    assert command.dead(config, verb, "") == 2

    assert f"{verb} which?" in capsys.readouterr().err


def test_a_bridge_that_does_not_run_does_it_later(
    config: Config, capsys: Printed
) -> None:
    asyncio.run(keep(config, letter(5)))

    assert command.dead(config, "drop", "5") == 0

    assert "1 noted: it will be done when the bridge runs" in capsys.readouterr().out


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_bridge_that_runs_does_it_at_once(
    config: Config,
    capsys: Printed,
    monkeypatch: pytest.MonkeyPatch,
    *,
    allowed: bool,
) -> None:
    monkeypatch.setattr(command, "PATIENCE_S", 5.0)
    await keep(config, letter(5), letter(6))
    store = await store_of(config)
    async with asyncio.TaskGroup() as tasks:
        gone = [letter(5), letter(6)] if allowed else []
        tasks.create_task(grant(store, 2 if allowed else 1, *gone))
        which = "all" if allowed else "5"
        code = await asyncio.to_thread(command.dead, config, "retry", which)
    await store.close()

    printed = capsys.readouterr()
    if allowed:
        assert (code, printed.out.splitlines()[-1]) == (0, "2 will be sent again")
    else:
        assert code == 1
        assert "plaintext allow" in printed.err


async def run(config: Path, *words: str) -> str:
    """Run the command line as an admin does; return what it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bridge", "dead", "--config", str(config), *words),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def test_what_a_homeserver_refused_arrives_when_it_is_sent_again(
    site: Site,
) -> None:
    """While the bridge runs, and the room stays as usable as it was."""
    site.homeserver.profiles["@alice:hs"] = {"displayname": "Alice"}
    refusal = {"errcode": "M_BAD_JSON", "error": "no"}
    site.homeserver.faults = [Fault("/send/m.room.message", 400, refusal)]
    config = site.write()
    bridge = await site.start(config)
    await bridge.ready()
    for number in (1, 2):
        site.xmpp.send(said(number))
    await until(lambda: bodies(site) == ["2"])

    listed = await run(config, "list")
    again = await run(config, "retry", listed.partition(":")[0])
    await until(lambda: bodies(site) == ["2", "1"])

    assert "the other network rejected the message (no)" in listed
    assert again == "1 will be sent again\n"
    assert await run(config) == "0 undelivered\n"
    assert (await bridge.asked(signal.SIGTERM)).code == 0
