"""Every bad input (E1 to E90) and every attack (S1 to S43) has a case, or a reason.

A test says in its name or its docstring which it is: ``test_e17_...``, ``S34, E72``.
What needs something that the bridge cannot do yet is listed with what brings it; it
leaves the list when its case is written.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
INPUTS, ATTACKS = 90, 43

EDITS = "edits"
REACTIONS = "reactions"
RETRACTIONS = "retractions and moderation"
REPLIES = "replies and threads"
FILES = "files and pictures"
PACKAGES = "packages and images"
LATER = {
    **dict.fromkeys(("E34", "E35", "E36", "E37", "E38", "S10"), EDITS),
    **dict.fromkeys(("E41", "E42"), REACTIONS),
    **dict.fromkeys(("E43", "E44", "S33"), RETRACTIONS),
    **dict.fromkeys(("E45", "E46", "S30"), REPLIES),
    **dict.fromkeys(("E67", "E68", "E69", "E70", "E71"), FILES),
    **dict.fromkeys(("S26", "S27", "S28", "S29"), FILES),
    "S43": PACKAGES,
}

_NUMBERS = re.compile(r"\b([ES]) ?(\d{1,2})((?:, \d{1,2})*)\b(?! to )")


def all_numbers() -> set[str]:
    return {f"E{n}" for n in range(1, INPUTS + 1)} | {
        f"S{n}" for n in range(1, ATTACKS + 1)
    }


def numbers(text: str) -> Iterator[str]:
    for letter, first, more in _NUMBERS.findall(text):
        for number in (first, *more.split(", ")):
            if number:
                yield f"{letter}{int(number)}"


def cases() -> dict[str, list[str]]:
    """List the tests that are about each number."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if not node.name.startswith("test_"):
                continue
            named = re.findall(r"_([es]\d{1,2})(?=_)", node.name)
            words = f"{' '.join(named).upper()} {ast.get_docstring(node) or ''}"
            for number in set(numbers(words)):
                found.setdefault(number, []).append(f"{path.name}: {node.name}")
    return found


def test_no_input_and_no_attack_is_forgotten() -> None:
    missing = all_numbers() - set(cases()) - set(LATER)

    assert sorted(missing) == []


def test_nothing_waits_that_has_come() -> None:
    covered = {number: cases()[number] for number in set(cases()) & set(LATER)}

    assert covered == {}, "take it out of LATER"


def test_only_numbers_that_exist_are_named() -> None:
    assert set(cases()) - all_numbers() == set()
    assert set(LATER) - all_numbers() == set()


def test_numbers_are_read_as_people_write_them() -> None:
    assert [*numbers("S3; E 12, 14. E17 and E 25 to 33.")] == [
        "S3",
        "E12",
        "E14",
        "E17",
    ]
