"""Declares data that nobody changes once it is made.

    @dataclass(frozen=True, slots=True)

is what the type checker reads, and it reports whoever changes such data. Left to
check every assignment at run time as well, Python would take four times as long to
make one, and dozens of them are made for every message.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - for others to import
else:

    def dataclass(*, frozen: bool, **options: bool) -> Callable[[type[T]], type[T]]:
        """Declare a class whose instances are equal, and found, by what they hold."""
        return dataclasses.dataclass(unsafe_hash=frozen, **options)
