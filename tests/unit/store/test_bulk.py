import sqlite3

import pytest
from sqlalchemy import Dialect, create_engine, select

from bridge.store.bulk import ROWS_MAX, Bulk, among, insert
from bridge.store.schema import inbox

SQLITE = create_engine("sqlite://").dialect
POSTGRESQL = create_engine("postgresql+psycopg://", paramstyle="format").dialect
NAMES = ("seq", "network", "key", "room", "raw")


def cursor() -> sqlite3.Cursor:
    made = sqlite3.connect(":memory:").cursor()
    made.execute("CREATE TABLE inbox (seq UNIQUE, network, key, room, raw)")
    return made


def take() -> Bulk:
    return Bulk(
        SQLITE,
        len(NAMES),
        lambda rows: insert(SQLITE, inbox, NAMES, rows).on_conflict_do_nothing(),
    )


def rows(count: int) -> list[object]:
    return [value for seq in range(count) for value in (seq, "matrix", "k", "r", b"")]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50, ROWS_MAX, ROWS_MAX + 1, 500])
def test_every_row_is_written_once(count: int) -> None:
    with_rows = cursor()

    changed = take().run(with_rows, rows(count))

    found = with_rows.execute("SELECT seq, room FROM inbox ORDER BY seq").fetchall()
    assert changed == count
    assert found == [(seq, "r") for seq in range(count)]
    with_rows.connection.close()


def test_rows_that_change_nothing_are_not_counted() -> None:
    with_rows = cursor()
    take().run(with_rows, rows(10))

    assert take().run(with_rows, rows(75)) == 65
    with_rows.connection.close()


def test_a_query_finds_all_that_is_there() -> None:
    with_rows = cursor()
    take().run(with_rows, rows(100))
    query = Bulk(SQLITE, 1, lambda n: select(inbox.c.seq).where(among(inbox.c.seq, n)))

    assert query.read(with_rows, range(30, 200)) == set(range(30, 100))
    with_rows.connection.close()


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL], ids=["sqlite", "postgresql"])
def test_values_stand_in_the_order_of_the_names(dialect: Dialect) -> None:
    compiled = insert(dialect, inbox, NAMES, 2).compile(dialect=dialect)

    expected = [f"{name}_{row}" for row in range(2) for name in NAMES]
    assert compiled.positiontup == expected
