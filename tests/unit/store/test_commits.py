import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.core.ports import StoreUnavailableError, Unit
from bridge.store import commits as module, driver
from bridge.store.commits import Commits
from bridge.store.database import Database
from bridge.store.engine import parse
from bridge.store.errors import RejectedError
from bridge.store.seal import Seal
from tests.unit.store.world import KEY, parcel, taken


class Wire:
    """A connection whose commits may come to nothing, or be lost on the way back."""

    def __init__(self, connection: driver.Connection, ends: list[str]) -> None:
        self._connection = connection
        self._ends = ends
        self.cursor = connection.cursor
        self.rollback = connection.rollback

    def commit(self) -> None:
        end = self._ends.pop(0) if self._ends else "well"
        if end != "full":
            self._connection.commit()
        if end != "well":
            raise sqlite3.OperationalError(end)


class Shaky(Database):
    """A database whose next commits end as *ends* says."""

    ends: list[str]

    def connected(self) -> driver.Connection:
        return Wire(super().connected(), self.ends)


@pytest.fixture
def shaky(tmp_path: Path) -> Iterator[Shaky]:
    made = Shaky(parse(f"sqlite:///{tmp_path}/bridge.db"), Seal(KEY))
    made.ends = []
    made.open()
    yield made
    made.close()


@pytest.fixture
def commits(shaky: Shaky, monkeypatch: pytest.MonkeyPatch) -> Commits:
    monkeypatch.setattr(module, "ATTEMPT_PAUSES_S", (0.0, 0.0, 0.001))
    return Commits(shaky, Seal(KEY))


def seqs(shaky: Shaky) -> list[object]:
    cursor = shaky.connected().cursor()
    cursor.execute("SELECT seq FROM inbox ORDER BY seq", ())
    return [row[0] for row in cursor.fetchall()]


def test_a_commit_that_fails_once_is_tried_again(
    commits: Commits, shaky: Shaky
) -> None:
    shaky.ends = ["full", "full"]

    results = commits.write([Unit(take=[taken(1)])])

    assert results == [frozenset()]
    assert seqs(shaky) == [1]


def test_a_commit_whose_answer_is_lost_is_not_mistaken_for_known(
    commits: Commits, shaky: Shaky
) -> None:
    shaky.ends = ["lost"]

    results = commits.write([Unit(take=[taken(1)], parcels=[parcel(2)])])

    assert results == [frozenset()]
    assert seqs(shaky) == [1]


def test_what_may_or_may_not_be_written_is_not_for_reading(
    commits: Commits, shaky: Shaky
) -> None:
    """Who read it would carry it, and it would come again."""
    unit = Unit(take=[taken(1)], parcels=[parcel(2)])
    shaky.ends = ["lost", "lost", "lost"]

    commits.write([unit])
    assert commits.unsure == {1, 2}

    commits.write([unit])
    assert commits.unsure == {1, 2}

    commits.told(unit)
    assert commits.unsure == set()


def test_what_was_refused_is_taken_when_it_comes_again(
    commits: Commits, shaky: Shaky
) -> None:
    shaky.ends = ["lost", "full", "lost"]
    (refused,) = commits.write([Unit(take=[taken(1, "$key")])])

    (known,) = commits.write([Unit(take=[taken(2, "$key")])])

    assert isinstance(refused, StoreUnavailableError)
    assert known == frozenset()
    assert seqs(shaky) == [2]


def test_a_full_disk_is_told_to_everybody_once_to_the_operator(
    commits: Commits, shaky: Shaky, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    shaky.ends = ["full"] * 6

    for _ in range(2):
        results = commits.write([Unit(done=[1]), Unit(done=[2])])
        assert [str(result) for result in results] == ["full", "full"]
        assert all(isinstance(result, StoreUnavailableError) for result in results)
    commits.write([Unit(done=[1])])

    levels = [record.levelname for record in caplog.records]
    assert levels == ["ERROR", "INFO"]


def test_a_unit_that_is_refused_is_not_repeated_in_the_log(
    commits: Commits, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = taken(1, "secret \ud800"), taken(2)

    results = commits.write([Unit(take=[bad]), Unit(take=[good])])

    assert isinstance(results[0], RejectedError)
    assert results[1] == frozenset()
    assert "secret" not in caplog.text


@pytest.mark.parametrize("end", ["full", "lost"])
def test_units_apart_survive_a_broken_commit_too(
    commits: Commits, shaky: Shaky, end: str
) -> None:
    shaky.ends = [end]

    results = commits.write([Unit(take=[taken(1, "\ud800")]), Unit(take=[taken(2)])])

    assert isinstance(results[0], RejectedError)
    assert results[1] == frozenset()
    assert seqs(shaky) == [2]


def test_a_number_on_disk_is_always_a_reserved_one(
    commits: Commits, shaky: Shaky
) -> None:
    def reserved() -> object:
        cursor = shaky.connected().cursor()
        cursor.execute("SELECT reserved FROM instance", ())
        return cursor.fetchall()[0][0]

    take: Callable[[], int] = commits.numbers.take
    last = [take() for _ in range(2500)][-1]
    commits.write([Unit(take=[taken(last)])])
    first = reserved()
    commits.write([Unit(take=[taken(take())])])

    assert isinstance(first, int)
    assert first >= last
    assert reserved() == first
