"""What the real store promises beyond its port, on SQLite and PostgreSQL."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import (
    Connection,
    Engine,
    NullPool,
    create_engine,
    inspect,
    select,
    text,
    update,
)

from bridge.core.ports import StoreUnavailableError, Unit
from bridge.model.delivery import Arrival, Parcel, Taken, Wire
from bridge.model.places import Network, PortalId, Room
from bridge.model.records import Kind, Portal
from bridge.store import migrations
from bridge.store.engine import parse
from bridge.store.errors import (
    AlreadyRunningError,
    RejectedError,
    SchemaTooNewError,
    SealError,
)
from bridge.store.lock import try_lock
from bridge.store.migrations import HEAD, migrate, revision, upgrade
from bridge.store.outbox import KEPT_MAX, PRUNE_EVERY
from bridge.store.records import SHELVES
from bridge.store.schema import instance, metadata
from bridge.store.store import SqlStore
from tests.contracts.conftest import KEY

ROOM = Room(Network.MATRIX, "!room:hs")
ENOUGH = 300
ROOT = Path(__file__).parents[2]


def taken(store: SqlStore, key: str) -> Taken:
    return Taken(store.number(), Arrival(ROOM, key, b"<canary/>"))


def archived(store: SqlStore) -> Parcel:
    wire = Wire("txn", b"<canary/>", archived=True)
    return Parcel(store.number(), Network.XMPP, "7", wire, b"<canary/>")


def admin_of(url: str) -> Engine:
    """Return an engine that leaves no connection behind."""
    return create_engine(parse(url), poolclass=NullPool)


async def made(url: str) -> None:
    store = await SqlStore.open(url, KEY)
    await store.close()


@pytest.mark.parametrize("make", [migrate, upgrade])
async def test_the_migrations_make_the_schema(
    url: str, make: Callable[[Connection], None]
) -> None:
    """A new database is made at once; one of each earlier version is led there.

    Row 35.
    """
    with admin_of(url).connect() as connection:
        make(connection)
        assert revision(connection) == HEAD
        assert connection.scalar(select(instance.c.epoch)) == 0

    assert len(SHELVES) + 4 == len(metadata.tables)
    with admin_of(url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def shape_of(connection: Connection) -> dict[str, object]:
    """Tell all that matters about the tables of a database, and drop them."""
    found: dict[str, object] = {}
    look = inspect(connection)
    for name in look.get_table_names():
        found[name] = (
            {
                (c["name"], str(c["type"]), c["nullable"])
                for c in look.get_columns(name)
            },
            look.get_pk_constraint(name)["constrained_columns"],
            sorted(str(one["name"]) for one in look.get_indexes(name)),
            sorted(str(one["name"]) for one in look.get_unique_constraints(name)),
        )
    if connection.dialect.name == "sqlite":
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master"))
        found["without rowid"] = {r.name for r in rows if "WITHOUT ROWID" in str(r.sql)}
    for name in look.get_table_names():
        connection.execute(text(f"DROP TABLE {name}"))
    connection.commit()
    return found


def make_first(connection: Connection) -> None:
    """Make a database as the first version made it, with a portal in it."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with connection.begin():
        command.upgrade(config, "0001")
        connection.execute(
            text(
                "INSERT INTO portal VALUES (7, 'hosted', '!room:hs', '#room#hs@bridge',"
                " '@bot:hs', '', '', '', '', false)"
            )
        )


async def test_a_database_of_the_first_version_becomes_like_a_new_one(
    url: str,
) -> None:
    with admin_of(url).connect() as connection:
        migrate(connection)
        new = shape_of(connection)
        make_first(connection)

        migrate(connection)

        exposed = connection.scalar(text("SELECT exposed FROM portal WHERE id = 7"))
        connection.rollback()
        assert exposed in (0, False)
        assert shape_of(connection) == new


async def test_a_database_from_the_future_is_left_alone(url: str) -> None:
    await made(url)
    with admin_of(url).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(SchemaTooNewError, match="9999"):
        await SqlStore.open(url, KEY)


async def test_another_key_is_refused(url: str) -> None:
    """Row 34."""
    await made(url)

    with pytest.raises(SealError, match="restore the key"):
        await SqlStore.open(url, bytes(32))


async def test_a_refused_store_leaves_the_database_free(url: str) -> None:
    await made(url)
    with pytest.raises(SealError):
        await SqlStore.open(url, bytes(32))

    await made(url)


async def test_a_run_whose_end_is_noticed_late_is_no_second_instance(
    postgresql_url: str,
) -> None:
    await made(postgresql_url)
    with admin_of(postgresql_url).connect() as earlier:
        assert try_lock(earlier)
        asyncio.get_running_loop().call_later(0.1, earlier.invalidate)

        await made(postgresql_url)


async def test_what_comes_while_a_table_is_away_waits_until_it_is_back(
    url: str,
) -> None:
    """Somebody restores a backup, say, though the bridge runs."""
    store = await SqlStore.open(url, KEY)
    unit = Unit(take=[taken(store, "one")])
    with admin_of(url).begin() as connection:
        connection.execute(text("ALTER TABLE inbox RENAME TO elsewhere"))
    with pytest.raises(StoreUnavailableError):
        await store.commit(unit)

    with admin_of(url).begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO inbox"))
    await store.commit(unit)

    assert await store.waiting([ROOM], 0, 9) == unit.take
    await store.close()


async def test_a_second_instance_is_refused(url: str) -> None:
    store = await SqlStore.open(url, KEY)

    with pytest.raises(AlreadyRunningError, match="another bridge"):
        await SqlStore.open(url, KEY)

    await store.close()


async def test_each_start_is_a_new_epoch(url: str) -> None:
    await made(url)
    await made(url)

    with admin_of(url).connect() as connection:
        assert connection.scalar(instance.select()) == 2


async def test_only_the_newest_of_a_lane_are_kept(url: str) -> None:
    store = await SqlStore.open(url, KEY)
    sent: list[Parcel] = []
    for _ in range(KEPT_MAX // 50 + 5):
        sent = [archived(store) for _ in range(50)]
        await store.commit(Unit(parcels=sent))
        await store.commit(Unit(sent=sent))

    kept = await store.archive(Network.XMPP, "7", 9999)

    assert KEPT_MAX <= len(kept) <= KEPT_MAX + PRUNE_EVERY
    assert kept[-1].id == sent[-1].id
    assert kept[-1].receipt == b""
    await store.close()


async def test_the_history_of_a_portal_goes_with_it(url: str) -> None:
    store = await SqlStore.open(url, KEY)
    portal = Portal(PortalId(7), Kind.HOSTED, "!room:hs", "#room#hs@bridge.hs", "@b:hs")
    sent, pending = archived(store), archived(store)
    await store.commit(Unit(parcels=[sent, pending], put=[portal]))
    await store.commit(Unit(sent=[sent]))

    await store.commit(Unit(drop=[portal]))

    assert await store.archive(Network.XMPP, "7", 9) == []
    assert await store.pending(Network.XMPP, "7", 0, 9) == [pending]
    await store.close()


async def test_what_was_handed_in_is_committed_before_the_store_closes(
    url: str,
) -> None:
    store = await SqlStore.open(url, KEY)
    answers = [store.commit(Unit(take=[taken(store, str(n))])) for n in range(1200)]

    await store.close()

    assert all(answer.result() == frozenset() for answer in answers)
    with pytest.raises(StoreUnavailableError, match="closed"):
        await store.commit(Unit(done=[1]))


def kill_taker(url: str) -> set[str]:
    """Start a bridge's store, kill it in full flow, and tell what it acknowledged."""
    acknowledged = set()
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("taker.py")), url],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            acknowledged.add(line.strip())
            if len(acknowledged) == ENOUGH:
                child.kill()
    return {line for line in acknowledged if line}


async def test_what_was_acknowledged_survives_kill_9(url: str) -> None:
    acknowledged = await asyncio.to_thread(kill_taker, url)
    store = await SqlStore.open(url, KEY)

    found = {one.arrival.key for one in await store.waiting([ROOM], 0, 99999)}

    assert len(acknowledged) >= ENOUGH
    assert acknowledged <= found
    again = taken(store, "0.0")
    assert await store.commit(Unit(take=[again])) == {again.seq}
    await store.close()


def look(folder: Path) -> tuple[set[int], bytes]:
    files = list(folder.iterdir())
    modes = {file.stat().st_mode & 0o777 for file in files}
    return modes, b"".join(file.read_bytes() for file in files)


async def test_what_people_said_is_nowhere_in_the_files(tmp_path: Path) -> None:
    store = await SqlStore.open(f"sqlite:///{tmp_path}/bridge.db", KEY)
    await store.commit(Unit(take=[taken(store, "$1")], parcels=[archived(store)]))

    modes, written = await asyncio.to_thread(look, tmp_path)

    assert modes == {0o600}
    assert b"$1" in written
    assert b"canary" not in written
    await store.close()


async def test_a_lost_connection_is_made_anew(postgresql_url: str) -> None:
    store = await SqlStore.open(postgresql_url, KEY)
    await store.load(Portal)
    with psycopg.connect(postgresql_url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    one = taken(store, "$1")
    assert await store.commit(Unit(take=[one])) == frozenset()
    assert await store.waiting([ROOM], 0, 9) == [one]
    await store.close()


async def test_who_has_lost_the_database_to_another_writes_nothing_more(
    postgresql_url: str,
) -> None:
    store = await SqlStore.open(postgresql_url, KEY)
    with admin_of(postgresql_url).begin() as admin:
        admin.execute(update(instance).values(epoch=instance.c.epoch + 1))
        admin.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )

    with pytest.raises(StoreUnavailableError, match="another bridge"):
        await store.commit(Unit(take=[taken(store, "$1")]))

    async with asyncio.timeout(20):
        await store.superseded()
    await store.close()


async def test_a_key_too_long_for_the_database_is_refused_alone(
    postgresql_url: str,
) -> None:
    store = await SqlStore.open(postgresql_url, KEY)
    key = "".join(map(chr, range(0x4E00, 0x6E00)))

    good = store.commit(Unit(take=[taken(store, "$1")]))
    with pytest.raises(RejectedError, match="maximum size"):
        await store.commit(Unit(take=[taken(store, key)]))

    assert await good == frozenset()
    await store.close()


async def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="cannot be opened"):
        await SqlStore.open(f"postgresql://x@/x?host={tmp_path}", KEY)
