"""What is in a room's archive: names and times, by which its pages are found.

The messages themselves stay in the store; this is small enough to be kept for every
room whose archive is in use.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

CONTENTS_MAX = 1000
"""So many of a room's newest messages can be read again; the store keeps as many."""


class Entry(NamedTuple):
    """A message of the archive: its id there, its parcel, and when it was said."""

    name: str
    number: int
    at_ms: int


class Contents:
    """The newest messages of an archive, oldest first."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, name: str, number: int, at_ms: int) -> None:
        """Note a message that is newer than all before it.

        An id names one message only (XEP-0313 §6.2): whoever uses another's again
        must not lead those astray who read on from there.
        """
        if name in self._entries:
            return
        self._entries[name] = Entry(name, number, at_ms)
        if len(self._entries) > CONTENTS_MAX:
            self._entries.popitem(last=False)

    def merge(self, older: Iterable[Entry]) -> None:
        """Add what was said before, some of which may be there already."""
        everything = {entry.number: entry for entry in (*older, *self.entries())}
        self._entries.clear()
        for number in sorted(everything):
            self.add(*everything[number])

    def find(self, name: str) -> Entry | None:
        """Return the message of that id."""
        return self._entries.get(name)

    def entries(self) -> list[Entry]:
        """List all there is, oldest first."""
        return list(self._entries.values())
