"""What is written to standard error: one line for one thing, whatever is in it.

Names and words of strangers get into log lines. None of them may begin a line of its
own, turn its direction or talk to the terminal that shows it.
"""

import logging
import re
from typing import TextIO

from typing_extensions import override

# C0 and C1, what changes the direction of text, lines' ends of Unicode, halves of
# surrogate pairs: all that shows as something else than it is.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ud800-\udfff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_LINES = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def safe(text: str) -> str:
    """Return *text* on one line, with all that cannot be seen written as an escape."""
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)


class OneLine(logging.Formatter):
    """Writes records so that nobody but us begins a line."""

    @override
    def formatMessage(self, record: logging.LogRecord) -> str:
        """Write the line itself."""
        record.message = safe(record.message)
        return super().formatMessage(record)

    @override
    def formatException(self, ei: object) -> str:
        """Write a traceback: its lines are set in, so none looks like one of ours."""
        lines = super().formatException(ei).split("\n")  # type: ignore[arg-type]
        return "\n".join(f"    {safe(line)}" for line in lines)


def write_to(stream: TextIO, level: str) -> None:
    """Log to *stream*: our own from *level* on, libraries only from warnings on.

    Some of them print whole messages, keys included, at DEBUG.
    """
    out = logging.StreamHandler(stream)
    out.setFormatter(OneLine(_LINES))
    root = logging.getLogger()
    root.handlers[:] = [out]
    root.setLevel(logging.WARNING)
    logging.getLogger("bridge").setLevel(level.upper())
    logging.getLogger("slixmpp").setLevel(logging.ERROR)
