"""The ledger of all faults: what each has cost, in one table."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from tests.e2e.ledger import Account

HEADS = (
    "row",
    "fault",
    "servers",
    "messages",
    "lost",
    "doubled",
    "of them allowed",
    "again as history",
    "out of order",
    "result",
)

OPEN: list[Account] = []
"""What was compared in the test that runs."""

_ROWS = re.compile(r"\b[Rr]ows? (\d+(?:, \d+)*)\b")


def note(accounts: Iterable[Account]) -> None:
    """Take what was compared into the ledger."""
    OPEN.extend(accounts)


def rows(text: str) -> Iterator[int]:
    """List the rows of the fault matrix that *text* names."""
    for found in _ROWS.findall(text):
        yield from map(int, found.split(", "))


@dataclass(frozen=True)
class Entry:
    """What became of what was said while something broke.

    *doubled* counts what somebody was shown twice, *allowed* how much of that may be:
    in a direct chat one message for each crash. *marked* came again as history.
    """

    row: str
    fault: str
    servers: str
    messages: int
    lost: int
    doubled: int
    allowed: int
    marked: int
    inverted: int
    result: str = ""

    @classmethod
    def of(cls, fault: tuple[str, str, str], accounts: Sequence[Account]) -> Self:
        """Sum up *accounts* of a *fault*: its rows, its name, and where it was."""
        crossed = [one for one in accounts if one.crossed]
        return cls(
            *fault,
            messages=sum(one.said for one in crossed),
            lost=sum(len(one.lost) for one in accounts),
            doubled=sum(len(one.double) for one in accounts),
            allowed=sum(min(len(one.double), one.spare) for one in accounts),
            marked=sum(one.marked for one in accounts),
            inverted=sum(len(one.wrong) for one in accounts),
        )

    def write(self) -> dict[str, Any]:
        """Write it so that another process can read it."""
        return asdict(self)

    def cells(self) -> list[str]:
        """Return what stands in its line of the table."""
        return [str(getattr(self, field.name)) for field in fields(self)]


def table(entries: Iterable[Entry]) -> str:
    """Write all *entries*, and their sum, as a table."""
    listed = sorted(entries, key=lambda one: (_first(one.row), one.fault, one.servers))
    rows = [HEADS, *(one.cells() for one in listed), _sum(listed)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADS))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, _line(["-" * width for width in widths], widths))
    return "\n".join(lines) + "\n"


def _sum(entries: Sequence[Entry]) -> list[str]:
    counted = ("messages", "lost", "doubled", "allowed", "marked", "inverted")
    sums = [str(sum(getattr(one, name) for one in entries)) for name in counted]
    bad = sum(one.result != "passed" for one in entries)
    return ["", f"{len(entries)} runs", "", *sums, f"{bad} not passed"]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


def _first(row: str) -> int:
    number = row.partition(",")[0]
    return int(number) if number.isdecimal() else 0
