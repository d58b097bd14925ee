"""Tells XMPP, once of each person, that their words are less safe than they seem.

Where both sides are encrypted, people take all that they read for sealed, and for the
sender's own; what a homeserver may have made up is not shown as if it was that.
"""

from collections.abc import Callable
from typing import Final

from bridge.matrix.megolm.ports import Trust
from bridge.matrix.recent import Recent
from bridge.matrix.sealed import Sealed
from bridge.model.events import Message
from bridge.model.places import Room
from bridge.model.records import Portal

TOLD_MAX = 10_000

CLEAR: Final = (
    "{who} writes without encryption from Matrix, though this room is encrypted there."
    " It was delivered, as will be what they write next."
)
UNSIGNED: Final = (
    "{who} writes from a device that they have not verified, or whose identity is not"
    " the one they had: it may be somebody else's. It was delivered, as will be what"
    " they write next."
)
GONE: Final = (
    "{who} writes from a device that is not, or no longer, listed as theirs: make sure"
    " that it is. It was delivered, as will be what they write next."
)
_WORDS = {Trust.UNSIGNED: UNSIGNED, Trust.GONE: GONE}


class Doubts:
    """What is to be said of messages; *warn* tells the far side of a room.

    Where words may go on in the clear nobody takes them for anything else.
    """

    def __init__(
        self,
        sealed: Sealed,
        portal: Callable[[str], Portal | None],
        warn: Callable[[Room, str], None],
    ) -> None:
        self._sealed = sealed
        self._portal = portal
        self._warn = warn
        self._told: Recent[tuple[str, str, str], None] = Recent(TOLD_MAX)

    def clear(self, said: Message) -> None:
        """Take note of what was not encrypted; S16: it is never shown as if it was."""
        if said.room.address in self._sealed:
            self._tell(said, CLEAR)

    def weighed(self, said: Message, trust: Trust) -> None:
        """Take note of how well the device is known that *said* came from."""
        words = _WORDS.get(trust)
        if words is not None:
            self._tell(said, words)

    def _tell(self, said: Message, words: str) -> None:
        room, who = said.room.address, said.sender.id
        portal = self._portal(room)
        if portal is None or portal.exposed or self._told.has((room, who, words)):
            return
        self._told.put((room, who, words), None)
        self._warn(said.room, words.format(who=said.name or who))
