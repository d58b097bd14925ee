import asyncio
import contextlib
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bridge.store.store import SqlStore
from tests.component_server import DOMAIN, SECRET
from tests.homeserver import AS_TOKEN, Fault
from tests.site import KEY, Ended, Running, Site, free_port

ENDS_S = 5
TAKEN_OVER_S = 12
TERM, INT = signal.SIGTERM, signal.SIGINT
MESSAGES = 1000


async def test_it_says_that_it_is_ready_and_ends_when_asked(site: Site) -> None:
    for number, name in ((TERM, "one"), (INT, "two")):
        bridge = await site.start(site.write(name=name))

        assert "is ready" in await bridge.ready()

        assert_ended_well(await bridge.asked(number))


async def test_omemo_is_loaded_when_somebody_needs_it(site: Site) -> None:
    """Its libraries take a quarter of all the memory."""
    async with started(site, site.write()) as bridge:
        assert not bridge.uses("libxeddsa")

        site.xmpp.send(asked_for("eu.siacs.conversations.axolotl.devicelist"))
        while (answer := await site.xmpp.next()).get("id") != "devices":
            pass

        assert answer.find(".//{eu.siacs.conversations.axolotl}device") is not None
        assert bridge.uses("libxeddsa")


async def test_it_ends_when_asked_while_a_server_is_away(site: Site) -> None:
    bridge = await site.start(site.write())
    await bridge.ready()
    await site.homeserver.stop()
    await site.xmpp.stop()

    assert_ended_well(await bridge.asked(TERM))


async def test_it_ends_when_asked_before_it_is_ready(site: Site) -> None:
    """Each waits for something else: a homeserver, an answer, an XMPP server."""
    site.homeserver.faults = [Fault("whoami", hang=True)]
    hanging = await site.start(site.write(name="hanging"))
    await until(lambda: bool(site.homeserver.requests))
    away = f"127.0.0.1:{free_port()}"
    homeless = await site.start(
        site.write((site.homeserver.url, f"http://{away}"), name="homeless")
    )
    lonely = await site.start(
        site.write((f"127.0.0.1:{site.xmpp.port}", away), name="lonely")
    )
    await until(lambda: bool(site.homeserver.asked("register")))
    early = await site.start(site.write(name="early"))
    await until(lambda: early.catches(TERM))

    bridges = (hanging, homeless, lonely, early)
    ends = await asyncio.gather(*(one.asked(TERM) for one in bridges))

    for ended in ends:
        assert_ended_well(ended)


async def test_it_ends_when_asked_while_a_thousand_messages_wait(site: Site) -> None:
    site.homeserver.profiles["@alice:hs"] = {"displayname": "Alice"}
    site.homeserver.faults = [Fault("/send/", hang=True, times=MESSAGES)]
    config = site.write()
    bridge = await site.start(config)
    await bridge.ready()
    for number in range(MESSAGES):
        site.xmpp.send(said(number))
    await until(lambda: bool(site.homeserver.asked("/send/")))

    assert_ended_well(await bridge.asked(TERM))

    site.homeserver.faults = []
    async with started(site, config):
        await until(lambda: len(bodies(site)) == MESSAGES)
    assert bodies(site) == [str(number) for number in range(MESSAGES)]


async def test_asked_to_stop_it_sends_no_more_takes_what_comes_and_waits_for_answers(
    site: Site,
) -> None:
    """facts C.8: what was sent is confirmed before the end, so it is sent but once."""
    answer = asyncio.Event()
    site.homeserver.profiles["@alice:hs"] = {"displayname": "Alice"}
    site.homeserver.faults = [Fault("/send/", hold=answer)]
    config = site.write()
    bridge = await site.start(config)
    await bridge.ready()
    for number in range(3):
        site.xmpp.send(said(number))
    await until(lambda: bool(site.homeserver.asked("/send/")))

    bridge.send(TERM)
    await bridge.logs("stopping")
    status = await site.push("late", {"event_id": "$late", "type": "m.room.message"})
    answer.set()
    assert_ended_well(await bridge.ended())

    assert status == 200
    assert bodies(site) == ["0"]
    async with started(site, config):
        await until(lambda: len(bodies(site)) == 3)
    assert bodies(site) == ["0", "1", "2"]
    assert len(site.homeserver.asked("/send/")) == 3


async def test_what_the_homeserver_has_kept_is_asked_for_before_xmpp_is_there(
    site: Site,
) -> None:
    """facts C.8: the homeserver is called, keys are fetched, then XMPP comes."""
    config = site.write()
    bridge = await site.start(config)
    await bridge.ready()
    await until(lambda: bool(site.homeserver.asked("sync")))
    assert_ended_well(await bridge.asked(TERM))
    away = f"127.0.0.1:{free_port()}"
    text = config.read_text().replace(f"127.0.0.1:{site.xmpp.port}", away)
    config.write_text(text)
    site.homeserver.requests.clear()

    lonely = await site.start(config)
    await until(lambda: bool(site.homeserver.asked("/ping")))
    await until(lambda: bool(site.homeserver.asked("sync")))

    assert_ended_well(await lonely.asked(TERM))


async def test_a_new_one_that_finds_no_xmpp_server_leaves_no_trace(site: Site) -> None:
    """It may be a second one, set up beside another by mistake."""
    away = f"127.0.0.1:{free_port()}"
    lonely = await site.start(site.write((f"127.0.0.1:{site.xmpp.port}", away)))
    await until(lambda: bool(site.homeserver.asked("/ping")))

    await lonely.ended()

    assert not site.homeserver.asked("keys/")
    marks = site.homeserver.asked("account_data")
    assert "PUT" not in {method for method, _ in marks}


async def test_what_is_away_ends_it_after_a_while(site: Site) -> None:
    away = f"127.0.0.1:{free_port()}"
    site.homeserver.faults = [Fault("whoami", hang=True)]
    hanging = await site.start(site.write(name="hanging"))
    await until(lambda: bool(site.homeserver.requests))
    homeless = await site.start(
        site.write((site.homeserver.url, f"http://{away}"), name="homeless")
    )
    lonely = await site.start(
        site.write((f"127.0.0.1:{site.xmpp.port}", away), name="lonely")
    )

    no_answer, no_homeserver, no_xmpp = await asyncio.gather(
        hanging.ended(), homeless.ended(), lonely.ended()
    )

    for ended, code, words in (
        (no_answer, 3, f"cannot be reached at {site.homeserver.url}"),
        (no_homeserver, 3, f"cannot be reached at http://{away}"),
        (no_xmpp, 4, f"the XMPP server cannot be reached at {away}"),
    ):
        assert ended.code == code
        assert words in ended.words
        assert ended.out == ""


async def test_a_wrong_configuration_ends_it(site: Site) -> None:
    unknown = await site.run(("[xmpp]", "[xmpp]\ncolour = 'red'"))

    assert unknown.code == 2
    assert "xmpp.colour: there is no such setting" in unknown.words


async def test_another_name_of_the_homeserver_ends_it(site: Site) -> None:
    ended = await site.run(('name = "hs"', 'name = "other"'))

    assert ended.code == 2
    assert "the homeserver is called 'hs', not 'other'" in ended.words


async def test_a_port_that_is_taken_ends_it(site: Site) -> None:
    host, _, port = site.listen.partition(":")
    with socket.create_server((host, int(port))):
        ended = await site.run()

    assert ended.code == 2
    assert f"appservice.listen: {site.listen}" in ended.words


async def test_a_token_that_is_refused_ends_it(site: Site) -> None:
    ended = await site.run((AS_TOKEN, "wrong"))

    assert ended.code == 3
    assert "refuses our as_token (401 M_UNKNOWN_TOKEN" in ended.words
    assert "registration.yaml" in ended.words


@pytest.mark.parametrize("condition", ["host-unknown", "conflict"])
async def test_an_xmpp_server_that_refuses_ends_it(condition: str, site: Site) -> None:
    """Row 16."""
    site.xmpp.refuse = condition

    ended = await site.run()

    assert ended.code == 5
    assert condition in ended.words


async def test_a_wrong_secret_ends_it(site: Site) -> None:
    """Row 16."""
    ended = await site.run((SECRET, "wrong"))

    assert ended.code == 5
    assert "the secret is not the one" in ended.words


async def test_a_second_one_on_the_same_database_ends(site: Site) -> None:
    config = site.write()
    async with started(site, config):
        second = await (await site.start(config)).ended()

    assert second.code == 6
    assert "another bridge is using this database" in second.words


def succeeds(config: Path, within_s: float) -> bool:
    """Begin to use the database as another instance does, if it is not locked."""
    file = config.parent / "bridge.db"
    with contextlib.closing(sqlite3.connect(file, timeout=within_s)) as database:
        try:
            database.execute("UPDATE instance SET epoch = epoch + 1")
        except sqlite3.OperationalError:
            return False
        database.commit()
        return True


@pytest.mark.parametrize("frozen", [False, True])
async def test_one_that_was_succeeded_ends_by_itself(
    site: Site, *, frozen: bool
) -> None:
    """Row 18: it slept, or lost its lock, and another one has begun since."""
    config = site.write()
    bridge = await site.start(config)
    await bridge.ready()
    if not frozen:
        assert succeeds(config, 5.0)
    else:
        bridge.send(signal.SIGSTOP)
        while not succeeds(config, 0.1):  # it was frozen amid a commit
            bridge.send(signal.SIGCONT)
            await asyncio.sleep(0)
            bridge.send(signal.SIGSTOP)
        site.xmpp.send(said(1))
        bridge.send(signal.SIGCONT)

    ended = await bridge.ended()

    assert ended.code == 8
    assert "another instance has taken over the database" in ended.words
    assert ended.took_s < TAKEN_OVER_S


async def test_a_database_of_a_newer_version_ends_it(site: Site) -> None:
    """Row 35."""
    config = site.write()
    with contextlib.closing(sqlite3.connect(config.parent / "bridge.db")) as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        database.execute("INSERT INTO alembic_version VALUES ('9999')")
        database.commit()

    ended = await (await site.start(config)).ended()

    assert ended.code == 7
    assert "made by a newer version of the bridge" in ended.words


async def test_a_restored_backup_is_known_for_it_and_made_safe(site: Site) -> None:
    """facts C.8: keys that were used since would be used again. Row 33."""
    config = site.write()
    database = config.parent / "bridge.db"
    async with started(site, config):
        pass
    backup = database.read_bytes()
    async with started(site, config):
        pass
    database.write_bytes(backup)

    restored = await site.start(config)
    await restored.ready()
    ended = await restored.asked(TERM)

    assert ended.code == 0
    assert any("ERROR" in line and "old copy" in line for line in ended.log)
    async with started(site, config):
        pass


async def test_another_key_ends_it(site: Site) -> None:
    """Row 34."""
    config = site.write((KEY, "B" * 43 + "="))
    store = await SqlStore.open(f"sqlite:///{config.parent}/bridge.db", bytes(32))
    await store.close()

    ended = await (await site.start(config)).ended()

    assert ended.code == 7
    assert "the key is not the one" in ended.words


@pytest.mark.parametrize(
    "broken", ["bridge.db", "bridge.db.lock", "written.ring", "nonsense"]
)
async def test_files_that_cannot_be_used_end_it(broken: str, site: Site) -> None:
    """Row 23."""
    config = site.write()
    if broken == "nonsense":
        (config.parent / "bridge.db").write_bytes(b"not a database" * 1000)
    else:
        (config.parent / broken).mkdir()

    ended = await (await site.start(config)).ended()

    assert ended.code == 7
    assert broken == "nonsense" or broken in ended.words


async def until(there: Callable[[], bool]) -> None:
    """Wait for what another process does to us."""
    async with asyncio.timeout(20):
        while not there():  # noqa: ASYNC110 - no event comes of it here
            await asyncio.sleep(0.02)


def said(number: int) -> bytes:
    return (
        f"<message from='juliet@capulet.lit/balcony' to='alice_hs@{DOMAIN}' type='chat'"
        f" id='m{number}'><body>{number}</body></message>"
    ).encode()


def asked_for(node: str) -> bytes:
    return (
        f"<iq from='juliet@capulet.lit/balcony' to='bridge@{DOMAIN}' type='get'"
        " id='devices'><pubsub xmlns='http://jabber.org/protocol/pubsub'>"
        f"<items node='{node}'/></pubsub></iq>"
    ).encode()


def bodies(site: Site) -> list[str]:
    """List what was said in the rooms; the bot's own words are none of it."""
    return [
        event["content"]["body"]
        for room in site.homeserver.rooms.values()
        for event in room.events
        if event["type"] == "m.room.message" and "_xmpp_juliet" in event["sender"]
    ]


def assert_ended_well(ended: Ended) -> None:
    assert ended.code == 0
    assert ended.took_s < ENDS_S
    assert ended.said == []
    assert not any("ERROR" in line for line in ended.log), ended.log


@contextlib.asynccontextmanager
async def started(site: Site, config: Path) -> AsyncIterator[Running]:
    bridge = await site.start(config)
    await bridge.ready()
    try:
        yield bridge
    finally:
        assert_ended_well(await bridge.asked(TERM))
