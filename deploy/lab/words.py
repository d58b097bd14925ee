"""Say what goes on, and what went wrong, to the person who waits."""

import sys
from pathlib import Path


class LabError(Exception):
    """Something that a person has to mend: says what, and where to read more."""

    def __init__(self, what: str, remedy: str = "", log: Path | None = None) -> None:
        parts = [what]
        if remedy:
            parts.append(remedy)
        if log is not None:
            parts.append(f"The log is {log}")
        super().__init__(". ".join(part.rstrip(".") for part in parts) + ".")


def say(line: str = "") -> None:
    """Print a line at once, also when the output is a file."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def tail(log: Path, lines: int = 5) -> str:
    """Return the last lines of a log, to be shown with an error."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
