"""Reactions (XEP-0444), which do not cross yet: whoever sends one is told so once."""

from collections import OrderedDict
from typing import Final
from xml.etree.ElementTree import Element

REMEMBERED_MAX: Final = 10_000
WORDS: Final = "Nobody on Matrix sees your reactions: they do not cross the bridge yet."

_REACTIONS: Final = "{urn:xmpp:reactions:0}reactions"


class Reactions:
    """Remembers in which rooms it was told."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, None] = OrderedDict()

    def tells(self, stanza: Element, room: str) -> bool:
        """Tell whether *stanza* has the first reaction in *room*.

        To take the last one back, clients send none (§3.1).
        """
        found = stanza.find(_REACTIONS)
        if found is None or not len(found) or room in self._told:
            return False
        self._told[room] = None
        if len(self._told) > REMEMBERED_MAX:
            self._told.popitem(last=False)
        return True
