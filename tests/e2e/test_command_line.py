"""The bridge as its administrator meets it."""

import asyncio
import re
import shutil
from pathlib import Path

import aiohttp
import pytest

from deploy.lab.children import Child
from deploy.lab.gateway import Gateway
from deploy.lab.ports import Ports, free_port
from deploy.lab.synapse import Synapse
from deploy.lab.words import LabError
from deploy.lab.world import SECRET, World

QUICK_S = 20.0
STOP_S = 5.0
UNREACHABLE_XMPP, REFUSED, BUSY, WRONG_HOMESERVER, WRONG_CONFIG = 4, 5, 6, 3, 2


def runs(world: World, config: Path, log: Path) -> Child:
    """Return a bridge with that configuration."""
    command: list[str | Path] = [world.gateway.command, "run", f"--config={config}"]
    return Child("a second bridge", command, log)


def copy_of(world: World, folder: Path, old: str = "", new: str = "") -> Child:
    """Return a bridge with a changed configuration and a database of its own."""
    folder.mkdir(parents=True)
    text = world.gateway.config.read_text()
    assert old in text
    config = folder / "config.toml"
    config.write_text(text.replace(old, new))
    config.chmod(0o600)
    for name in ("registration.yaml", "seal.key"):
        shutil.copy(world.gateway.folder / name, folder / name)
    return runs(world, config, folder / "bridge.log")


async def ends(child: Child) -> tuple[int, str]:
    """Run a program to its end; return its exit code and what it said."""
    child.start()
    try:
        code = await asyncio.to_thread(child.wait, QUICK_S)
    finally:
        child.kill()
    return code, child.log.read_text()


async def identity(world: World) -> object:
    """Return by what the bot's devices are told from those of others."""
    words = (world.gateway.folder / "registration.yaml").read_text()
    token = re.search(r'^as_token: "?(\w+)', words, re.MULTILINE)
    assert token
    async with aiohttp.request(
        "POST",
        f"{world.synapse.url}/_matrix/client/v3/keys/query",
        params={"user_id": world.bot},
        headers={"Authorization": f"Bearer {token[1]}"},
        json={"device_keys": {world.bot: []}},
    ) as answer:
        keys = await answer.json()
    return keys["master_keys"], keys["device_keys"]


async def test_check_finds_everything_well(world: World) -> None:
    await world.end_bridge(STOP_S)
    try:
        said = await asyncio.to_thread(world.gateway.check)
    finally:
        await world.start_bridge()

    assert "All is well." in said


async def test_it_ends_in_time_when_asked(world: World) -> None:
    try:
        code = await world.end_bridge(STOP_S)
    finally:
        await world.start_bridge()

    assert code == 0


async def test_a_second_one_on_the_same_database_ends(world: World) -> None:
    """Row 18."""
    second = runs(world, world.gateway.config, world.folder / "second.log")

    code, said = await ends(second)

    assert code == BUSY
    assert "Traceback" not in said
    assert world.bridge.exit_code is None


async def test_a_second_one_on_the_same_component_ends(
    world: World, tmp_path: Path
) -> None:
    """Rows 16, 17."""
    config = world.gateway.config.read_text()
    listen = re.search(r'^listen = "(.*)"$', config, re.MULTILINE)
    assert listen
    other = f"127.0.0.1:{free_port()}"
    second = copy_of(world, tmp_path / "second", listen.group(1), other)
    before = await identity(world)

    code, said = await ends(second)

    assert code in {BUSY, REFUSED}
    assert "Traceback" not in said
    assert world.bridge.exit_code is None
    assert await identity(world) == before


async def test_a_wrong_secret_ends_it(world: World, tmp_path: Path) -> None:
    await world.end_bridge(STOP_S)
    try:
        wrong = copy_of(world, tmp_path / "wrong", SECRET, "wrong")
        code, said = await ends(wrong)
    finally:
        await world.start_bridge()

    assert code == REFUSED
    assert "Traceback" not in said
    assert SECRET not in said


async def test_an_xmpp_server_that_is_away_ends_it(
    world: World, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{world.xmpp.component_port}"
    nowhere = f"127.0.0.1:{free_port()}"
    await world.end_bridge(STOP_S)
    try:
        code, said = await ends(copy_of(world, tmp_path / "away", address, nowhere))
    finally:
        await world.start_bridge()

    assert code == UNREACHABLE_XMPP
    assert "Traceback" not in said


async def test_a_homeserver_that_is_away_ends_it(world: World, tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    await world.end_bridge(STOP_S)
    try:
        away = copy_of(world, tmp_path / "away", world.synapse.url, nowhere)
        code, said = await ends(away)
    finally:
        await world.start_bridge()

    assert code == WRONG_HOMESERVER
    assert "Traceback" not in said


async def test_an_unknown_setting_is_named(world: World, tmp_path: Path) -> None:
    child = copy_of(world, tmp_path / "typo", "[xmpp]", "[xmpp]\ncolour = 3")

    code, said = await ends(child)

    assert code == WRONG_CONFIG
    assert "colour" in said
    assert "Traceback" not in said


def test_init_never_overwrites(world: World) -> None:
    before = world.gateway.config.read_bytes()

    with pytest.raises(LabError):
        world.gateway.init()

    assert world.gateway.config.read_bytes() == before


def test_init_writes_files_that_only_the_owner_reads(
    world: World, tmp_path: Path
) -> None:
    ports = Ports(tmp_path / "ports.json")
    synapse = Synapse(tmp_path / "synapse", ports, "example.org")
    gateway = Gateway(world.python, tmp_path / "bridge", ports, synapse, world.xmpp)

    said = gateway.init()

    for file in (gateway.config, gateway.registration):
        assert file.stat().st_mode & 0o777 == 0o600
    assert "@_xmpp_.*:example\\.org" in gateway.registration.read_text()
    assert "app_service_config_files" in said
    assert "Component" in said
