"""Opens connections, as each of SQLite and PostgreSQL wants it."""

import os
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool, QueuePool

from bridge.store.errors import StoreError

LOCK_TIMEOUT_MS = 1000
"""How long a commit waits for a lock of somebody else's before it counts as failed."""

CACHE_KB = 16384
PAGE_BYTES = 4096
LOG_PAGES = 4000
"""So long gets the log, about, before it is worked into the database."""

# WAL with FULL: a commit that has returned survives a power failure.
_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    f"busy_timeout = {LOCK_TIMEOUT_MS}",
    "foreign_keys = ON",
    "temp_store = MEMORY",
    f"cache_size = {-CACHE_KB}",
    f"wal_autocheckpoint = {LOG_PAGES}",
    "journal_size_limit = 67108864",
)
# A server that is gone without a word is noticed within half a minute or so, ...
_POSTGRESQL = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30000,
    "application_name": "xmpp-matrix-bridge",
}
# ... and so is a bridge: else the server would keep its lock for two hours.
_SESSION = (
    f"SET lock_timeout = {LOCK_TIMEOUT_MS}",
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
    "SET tcp_user_timeout = 30000",
)


def parse(text: str) -> URL:
    """Read the URL of a database."""
    try:
        url = make_url(text)
    except ArgumentError:
        raise StoreError(
            "the database must be a URL: sqlite:///path or postgresql://…"
        ) from None
    if url.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername == "sqlite" and url.database and url.database != ":memory:":
        return url
    raise StoreError(
        f"the database cannot be {url.drivername}: give sqlite:///path of a file, or"
        " postgresql://user@host/name"
    )


def file_of(url: URL) -> Path | None:
    """Name the file of an SQLite database; None if it is PostgreSQL."""
    return Path(url.database or "") if url.drivername == "sqlite" else None


def make_private(path: Path) -> None:
    """Make an empty database that only its owner can read, if there is none."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreError(
            f"the database {path} cannot be opened: {error.strerror}; its directory"
            " must exist and belong to the user the bridge runs as"
        ) from error


def writer_engine(url: URL) -> Engine:
    """Return an engine for the one connection that writes."""
    engine = _engine(url, poolclass=NullPool)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin)
    else:
        event.listen(engine, "connect", _hold_no_lock)
    return engine


def reader_engine(url: URL) -> Engine:
    """Return an engine for a connection that reads, each time what is committed."""
    engine = _engine(
        url,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_reset_on_return=None,
        isolation_level="AUTOCOMMIT",
    )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure)
        event.listen(engine, "connect", _read_only)
    return engine


def _engine(url: URL, **options: Any) -> Engine:  # noqa: ANN401 - as create_engine does
    if url.drivername == "sqlite":
        # The threads take turns by themselves.
        arguments: dict[str, Any] = {
            "check_same_thread": False,
            "cached_statements": 256,
        }
    else:
        arguments = {k: v for k, v in _POSTGRESQL.items() if k not in url.query}
        options["paramstyle"] = "format"
    try:
        return create_engine(
            url,
            connect_args=arguments,
            hide_parameters=True,  # else an error would print what people said
            **options,
        )
    except (ImportError, NoSuchModuleError) as error:
        raise StoreError(
            f"the driver for {url.drivername} is missing ({error}):"
            " pip install 'xmpp-matrix-bridge[postgresql]'"
        ) from error


def _configure(connection: Any, _record: object) -> None:  # noqa: ANN401 - any driver's
    # Transactions begin where we say, not where the driver guesses.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _hold_no_lock(connection: Any, _record: object) -> None:  # noqa: ANN401 - any driver's
    """Neither wait long for a lock, nor keep one when we are cut off."""
    with connection.cursor() as cursor:
        for setting in _SESSION:
            cursor.execute(setting)
    connection.commit()


def _read_only(connection: Any, _record: object) -> None:  # noqa: ANN401 - any driver's
    connection.execute("PRAGMA query_only = ON")


def _begin(connection: Any) -> None:  # noqa: ANN401 - SQLAlchemy's own type varies
    connection.exec_driver_sql("BEGIN IMMEDIATE")
