from pathlib import Path

from sqlalchemy import create_engine

from bridge.core.ports import Unit
from bridge.model.records import Cursor
from bridge.store.group import Group
from bridge.store.seal import Seal
from bridge.store.writes import Writes
from tests.unit.store.world import KEY, database, parcel, taken


class Tape:
    """A cursor that remembers which statements it ran."""

    rowcount = 1

    def __init__(self) -> None:
        self.run: list[str] = []

    def execute(self, sql: str, values: object, /) -> None:
        words = sql.split()
        self.run.append(f"{words[0]} {words[1 if words[0] == 'UPDATE' else 2]}")

    def fetchall(self) -> list[tuple[object]]:
        return []


def test_statements_have_a_fixed_order() -> None:
    tape = Tape()
    units = [
        Unit(put=[Cursor("k", "x", "1")], drop=[Cursor("k", "y", "1")]),
        Unit(sent=[parcel(3)], parcels=[parcel(4)]),
        Unit(take=[taken(1)], done=[2]),
    ]

    writes, group = Writes(create_engine("sqlite://").dialect), Group(units, Seal(KEY))
    writes.take(tape, group)
    writes.run(tape, group)

    assert tape.run == [
        "INSERT inbox",
        "UPDATE inbox",
        "INSERT outbox",
        "DELETE outbox",
        "INSERT cursor",
        "DELETE cursor",
    ]


def test_fifty_units_are_a_handful_of_statements() -> None:
    tape = Tape()
    units = [Unit(done=[n], parcels=[parcel(n)]) for n in range(50)]

    Writes(create_engine("sqlite://").dialect).run(tape, Group(units, Seal(KEY)))

    assert len(tape.run) == 6


def test_arrivals_that_were_not_acknowledged_are_forgotten(tmp_path: Path) -> None:
    """What was carried with them, too: who sent it will send it again."""
    opened = database(tmp_path)
    connection = opened.connected()
    cursor = connection.cursor()
    writes = Writes(opened.dialect)
    unit = Unit(take=[taken(1), taken(2)], done=[2], parcels=[parcel(4), parcel(5)])
    group = Group([unit], Seal(KEY))
    writes.take(cursor, group)
    writes.run(cursor, group)

    writes.forget(cursor, [1, 2], [4])

    cursor.execute("SELECT seq FROM inbox", ())
    assert not cursor.fetchall()
    cursor.execute("SELECT id FROM outbox", ())
    assert list(cursor.fetchall()) == [(5,)]
    connection.rollback()
    opened.close()
