from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest
from sqlalchemy.exc import OperationalError

from bridge.store import engine
from bridge.store.engine import (
    LOCK_TIMEOUT_MS,
    file_of,
    make_private,
    parse,
    reader_engine,
    writer_engine,
)
from bridge.store.errors import StoreError


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_goes_by_several_names(scheme: str) -> None:
    url = parse(f"{scheme}://bridge@db.hs/bridge")

    assert url.drivername == "postgresql+psycopg"
    assert file_of(url) is None


@pytest.mark.parametrize(
    "text", ["bridge.db", "sqlite://", "sqlite:///:memory:", "mysql://root@hs/bridge"]
)
def test_any_other_database_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match="sqlite:///"):
        parse(text)


def test_a_password_is_not_in_the_complaint() -> None:
    with pytest.raises(StoreError) as caught:
        parse("mysql://root:hunter2@hs/bridge")

    assert "hunter2" not in str(caught.value)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="its directory must exist"):
        make_private(tmp_path / "missing" / "bridge.db")


def test_a_commit_that_has_returned_survives_a_power_failure(tmp_path: Path) -> None:
    made = writer_engine(parse(f"sqlite:///{tmp_path}/bridge.db"))

    with made.connect() as connection:
        read = connection.exec_driver_sql
        assert read("PRAGMA journal_mode").scalar() == "wal"
        assert read("PRAGMA synchronous").scalar() == 2
        assert read("PRAGMA foreign_keys").scalar() == 1
        assert read("PRAGMA busy_timeout").scalar() == LOCK_TIMEOUT_MS


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    made = reader_engine(parse(f"sqlite:///{tmp_path}/bridge.db"))

    with made.connect() as connection, pytest.raises(OperationalError):
        connection.exec_driver_sql("CREATE TABLE mine (a)")
    made.dispose()


@dataclass
class Session:
    """A connection, or a cursor, that notes what is said to it."""

    said: list[str] = field(default_factory=list)

    def cursor(self) -> "Session":
        return self

    def execute(self, sql: str) -> None:
        self.said.append(sql)

    def commit(self) -> None:
        self.said.append("COMMIT")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_a_bridge_that_is_cut_off_does_not_keep_its_lock_for_hours() -> None:
    """By itself a PostgreSQL server looks after two hours whether we are there."""
    session = Session()

    engine._hold_no_lock(session, None)

    assert "SET tcp_keepalives_idle = 10" in session.said
    assert session.said[-1] == "COMMIT"


def test_what_the_url_says_about_the_connection_counts() -> None:
    url = parse("postgresql://bridge@hs/bridge?connect_timeout=99")

    made = writer_engine(url)

    arguments = made.dialect.create_connect_args(url)[1]
    assert arguments["connect_timeout"] == "99"
