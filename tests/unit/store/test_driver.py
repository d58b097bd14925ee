import sqlite3

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from bridge.core.ports import StoreUnavailableError
from bridge.store.driver import Faults, reason


@pytest.mark.parametrize(
    ("error", "of_unit"),
    [
        (sqlite3.IntegrityError("NOT NULL"), True),
        (sqlite3.ProgrammingError("type is not supported"), True),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), True),
        (sqlite3.OperationalError("database or disk is full"), False),
        (sqlite3.DatabaseError("malformed"), False),
        (StoreUnavailableError("gone"), False),
    ],
    ids=repr,
)
def test_only_what_would_fail_again_is_the_units_fault(
    error: Exception, *, of_unit: bool
) -> None:
    faults = Faults(create_engine("sqlite://").dialect)

    assert faults.is_of_unit(error) is of_unit


def test_a_key_too_long_for_postgresql_is_the_units_fault() -> None:
    faults = Faults(create_engine("postgresql+psycopg://").dialect)

    assert faults.is_of_unit(psycopg.errors.ProgramLimitExceeded("54000"))
    assert not faults.is_of_unit(psycopg.errors.AdminShutdown("bye"))


@pytest.mark.parametrize(
    "fault", [psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege]
)
def test_what_somebody_has_done_to_the_database_is_no_units_fault(
    fault: type[psycopg.Error],
) -> None:
    """While a backup is restored, say: all of it waits, and nothing is given up."""
    faults = Faults(create_engine("postgresql+psycopg://").dialect)

    assert not faults.is_of_unit(fault("not now"))


def test_a_reason_is_one_line() -> None:
    cause = psycopg.Error("duplicate key\nDETAIL: what somebody said")

    assert reason(cause) == "duplicate key"
    assert reason(OperationalError("SQL", (), cause)) == "duplicate key"
    assert reason(ValueError()) == "ValueError"
