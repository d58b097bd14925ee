"""Who listens between the bridge and the servers, or takes the disk, learns nothing."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from tests.e2e.secret_company import Company, meet
from tests.faults.world import FaultyWorld, Ways

USUAL = ("prosody-sqlite",)


@pytest.fixture
async def company(world: FaultyWorld, tmp_path: Path) -> AsyncIterator[Company]:
    async with AsyncExitStack() as ends:
        yield Company(world, tmp_path, ends)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the bridge has its temporary files; it is started after this."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def chatty(world: FaultyWorld) -> Iterator[None]:
    """The bridge logs all that it can."""
    config = world.gateway.config
    before = config.read_text()
    config.write_text(before.replace('level = "info"', 'level = "debug"'))
    yield
    config.write_text(before)


def files(world: FaultyWorld, scratch: Path) -> set[Path]:
    """Find whatever the bridge, or a server, has written or has open."""
    opened = Path(f"/proc/{world.bridge.pid}/fd").iterdir()
    found = {one.readlink() for one in opened if one.is_symlink()}
    found.update(world.folder.rglob("*"), scratch.rglob("*"))
    if world.cluster is not None:
        found.update(world.cluster.rglob("*"))
    return {one for one in found if one.is_file()}


def database(world: FaultyWorld) -> Path:
    """Name the folder in which the bridge's database lies."""
    return world.cluster or world.gateway.folder


def has(file: Path, words: str) -> bool:
    """Tell whether *words* stand in a file; servers also remove some."""
    with suppress(FileNotFoundError):
        return words.encode() in file.read_bytes()
    return False


async def test_neither_way_nor_disk_has_secret_words(
    scratch: Path, chatty: None, world: FaultyWorld, ways: Ways, company: Company
) -> None:
    """OMEMO on XMPP, Megolm on Matrix: every byte of all ways, and every file."""
    alice, juliet = await company.on_matrix("alice"), await company.on_xmpp("juliet")
    ghost, puppet = world.ghost(juliet), alice.puppet(world)
    room = await meet(world, alice, juliet)
    canary = f"canary-{secrets.token_hex(6)}"
    heard = [
        bytearray() for _ in (ways.component, ways.homeserver, ways.appservice) * 2
    ]
    (
        ways.component.there.overheard,
        ways.component.back.overheard,
        ways.homeserver.there.overheard,
        ways.homeserver.back.overheard,
        ways.appservice.there.overheard,
        ways.appservice.back.overheard,
    ) = heard

    await alice.says(room, f"{canary}-there")
    await juliet.opens(f"{canary}-there", puppet)
    await juliet.seals(puppet, f"{canary}-back")
    await alice.hears(f"{canary}-back", room, ghost)
    await juliet.says(puppet, "a plain word")
    while (await alice.hears_next()).words != "a plain word":
        pass

    assert [canary.encode() in one for one in heard] == [False] * 6
    assert b"<encrypted" in heard[0]
    assert b"<encrypted" in heard[1]
    assert b"a plain word" in heard[1]
    assert b"m.room.encrypted" in heard[2]
    assert b"m.room.encrypted" in heard[4]
    written = files(world, scratch)
    kept = [one for one in written if database(world) in one.parents]
    assert any(has(one, juliet.jid) for one in kept)  # what is no secret is found
    assert " DEBUG " in world.bridge_log()
    assert [one for one in written if has(one, canary)] == []
