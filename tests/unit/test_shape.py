"""The limits that keep the code readable (STYLE §5), for the bridge and its tests."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 40

# Packages' own modules and pure declarations, which have nothing to test alone.
UNTESTED = {
    "__init__.py",
    "core/ports.py",
    "matrix/megolm/ports.py",
    "model/delivery.py",
    "model/events.py",
    "model/places.py",
    "model/records.py",
    "store/migrations/env.py",
    "xmpp/codec/xml.py",
    "xmpp/endtoend.py",
    "xmpp/omemo/means.py",
    "xmpp/venue.py",
}
# Modules whose tests are others'.
TESTED_ELSEWHERE = {
    "core/directory.py": "tests/unit/core/test_hub.py",
    "core/policy.py": "tests/unit/core/test_hub.py",
}


def sources() -> Iterator[Path]:
    for folder in ("bridge", "tests", "deploy"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            is_words = isinstance(first, ast.Expr) and isinstance(
                first.value, ast.Constant
            )
            start = first.end_lineno if is_words else node.lineno
            assert start is not None
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - start


@pytest.mark.parametrize(
    "path", list(sources()), ids=lambda p: str(p.relative_to(ROOT))
)
def test_a_file_and_its_functions_fit_a_readers_head(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    long = [name for name, length in functions(path) if length > FUNCTION_LINES_MAX]

    assert lines <= FILE_LINES_MAX
    assert long == []


def test_every_module_has_a_test_of_its_own() -> None:
    missing: list[str] = []
    for path in sorted((ROOT / "bridge").rglob("*.py")):
        name = path.relative_to(ROOT / "bridge")
        if name.name in UNTESTED or str(name) in UNTESTED or "versions" in name.parts:
            continue
        mirror = ROOT / "tests" / "unit" / name.with_name(f"test_{name.name}")
        elsewhere = TESTED_ELSEWHERE.get(str(name))
        if not (ROOT / elsewhere).exists() if elsewhere else not mirror.exists():
            missing.append(str(name))

    assert missing == []


def test_no_name_says_nothing() -> None:
    """ARCHITECTURE §4 bans names that say nothing of the domain."""
    banned = {"Manager", "Handler", "Helper", "Util", "Data", "Info"}
    found: list[str] = []
    for path in sorted((ROOT / "bridge").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found.extend(
            f"{path.relative_to(ROOT)}: {node.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and node.name.endswith(tuple(banned))
        )

    assert found == []
