"""Every one of the 40 rows of the fault matrix has a test, or a reason.

A test, or a fault that a test brings about, says in its docstring which it is: ``row
12``, ``rows 8, 9``. What needs something that the bridge cannot do yet is listed with
what brings it; it leaves the list when its test is written.
"""

import ast
from pathlib import Path

from tests.faults import (
    test_connections,
    test_databases,
    test_keys,
    test_processes,
)
from tests.faults.book import rows

HERE = Path(__file__).parent
TESTS = HERE.parent
ROWS = frozenset(range(1, 41))
LATER = {31: "edits and retractions", 38: "files and pictures"}
FAULTS = [
    *test_connections.FAULTS,
    *test_databases.FAULTS,
    *test_keys.FAULTS,
    *test_processes.FAULTS,
]


def about_rows() -> dict[int, list[str]]:
    """List what is about each row."""
    found: dict[int, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if not node.name.startswith("test_"):
                continue
            for row in rows(ast.get_docstring(node) or ""):
                found.setdefault(row, []).append(f"{path.name}: {node.name}")
    for fault in FAULTS:
        for row in rows(fault.__doc__ or ""):
            found.setdefault(row, []).append(fault.__name__)
    return found


def test_no_row_is_forgotten() -> None:
    assert sorted(ROWS - set(about_rows()) - set(LATER)) == []


def test_nothing_waits_that_has_come() -> None:
    covered = {row: about_rows()[row] for row in set(about_rows()) & set(LATER)}

    assert covered == {}, "take it out of LATER"


def test_only_rows_that_exist_are_named() -> None:
    assert set(about_rows()) - ROWS == set()


def test_every_fault_names_its_row() -> None:
    assert [
        fault.__name__ for fault in FAULTS if not [*rows(fault.__doc__ or "")]
    ] == []


def test_rows_are_read_as_people_write_them() -> None:
    assert [*rows("Row 3; rows 12, 14. A row of 5, and rows.")] == [3, 12, 14]
