"""The newest aliases: what people answer to is mostly what was just said."""

from collections import OrderedDict

from bridge.core.ports import Unit
from bridge.model.records import Alias

RECENT_MAX = 4096

Key = tuple[object, ...]


class Recent:
    """Remembers what was committed last; never what was only read.

    So it cannot be out of date: every change passes here.
    """

    def __init__(self) -> None:
        # A plain dict gets slow where its first item is taken out again and again.
        self._aliases: OrderedDict[Key, Alias] = OrderedDict()

    def find(self, key: Key) -> Alias | None:
        """Return the alias of *key* if it is among the newest."""
        return self._aliases.get(key)

    def note(self, unit: Unit) -> None:
        """Take note of a unit that was committed."""
        for record in unit.put:
            if isinstance(record, Alias):
                self._aliases[record.network, record.ref] = record
        for record in unit.drop:
            if isinstance(record, Alias):
                self._aliases.pop((record.network, record.ref), None)
        while len(self._aliases) > RECENT_MAX:
            self._aliases.popitem(last=False)
