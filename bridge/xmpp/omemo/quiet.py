"""Keeps python-omemo from writing words and keys to the log."""

import logging
from typing import Final

from typing_extensions import override

# The last two are those that speak; a level of a parent would do until somebody
# sets theirs.
LOGGERS: Final = (
    "omemo",
    "oldmemo",
    "twomemo",
    "doubleratchet",
    "x3dh",
    "xmlschema",
    "omemo.core",
    "omemo.core.identity_key_pair",
)


class Loud(logging.Filter):
    """Lets through what an operator must know, whatever the level is set to.

    Its warnings are about what is handled: stale devices, missing bundles.
    """

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether *record* may be written."""
        return record.levelno >= logging.ERROR


_loud = Loud()


def hush() -> None:
    """Silence the libraries; doing so twice is once."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.ERROR)
        logger.addFilter(_loud)
