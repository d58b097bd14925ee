from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Select, create_engine, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex

from bridge.store.schema import (
    fit,
    inbox,
    is_kept,
    is_pending,
    is_waiting,
    metadata,
    outbox,
)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = create_engine(f"sqlite:///{tmp_path}/bridge.db")
    metadata.create_all(engine)
    with engine.connect() as made:
        yield made
    engine.dispose()


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (select(inbox.c.room).where(is_waiting).distinct(), "inbox_waiting"),
        (select(outbox.c.lane).where(is_pending).distinct(), "outbox_pending"),
        (select(outbox.c.lane).where(is_kept).distinct(), "outbox_kept"),
    ],
    ids=["inbox", "pending", "kept"],
)
def test_what_is_asked_at_the_start_is_read_from_an_index(
    connection: Connection, query: Select[tuple[str]], index: str
) -> None:
    sql = query.compile(dialect=connection.dialect)

    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}")

    steps = [row[3].replace("COVERING ", "") for row in plan]
    assert steps[0].endswith(f"USING INDEX {index}")


def test_the_indexes_of_postgresql_cover_no_more_than_is_asked_for() -> None:
    dialect = postgresql.dialect()
    fit(dialect)

    made = [
        str(CreateIndex(index).compile(dialect=dialect))
        for table in (inbox, outbox)
        for index in table.indexes
    ]

    assert sorted(sql.rpartition("WHERE ")[2] for sql in made) == [
        "kept = false",
        "kept = true",
        "raw IS NOT NULL",
    ]
