"""What chats and rooms do alike when they open and seal.

parcel -> sealed once -> kept until its fate is known -> the same bytes every time
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from datetime import UTC, datetime
from typing import Final, Generic, TypeVar
from xml.etree.ElementTree import Element

from bridge.core.ports import Host
from bridge.model.delivery import Later, Parcel
from bridge.model.places import Network, Room
from bridge.xmpp.codec.encryption import Encryption, encryption, words
from bridge.xmpp.endtoend import Passage

FINAL_MAX: Final = 10_000
TOLD_MAX: Final = 10_000
AGAIN_S: Final = 5.0
"""When what cannot be sealed just now is tried again."""

T = TypeVar("T")


class Finals(Generic[T]):
    """What was sealed and is on its way, by the number of its parcel.

    It is on disk as well, but the parcel in hand is the one that was read before.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[int, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, parcel: Parcel) -> T | None:
        """Return what *parcel* became when it was sealed; None if it was not."""
        return self._kept.get(parcel.id)

    def keep(self, fresh: dict[int, T]) -> None:
        """Take note of what was just sealed and is on disk."""
        self._kept.update(fresh)
        while len(self._kept) > FINAL_MAX:
            self._kept.popitem(last=False)

    def done(self, parcels: Sequence[Parcel], outcomes: Sequence[object]) -> None:
        """Forget those of *parcels* whose fate is known."""
        if not self._kept:
            return
        for parcel, outcome in zip(parcels, outcomes, strict=False):
            if not isinstance(outcome, Later):
                self._kept.pop(parcel.id, None)


class Told:
    """What was said once, and need not be said again."""

    def __init__(self) -> None:
        self._told: OrderedDict[Hashable, None] = OrderedDict()

    def first(self, what: Hashable) -> bool:
        """Tell whether *what* was never asked about before."""
        if what in self._told:
            return False
        self._told[what] = None
        if len(self._told) > TOLD_MAX:
            self._told.popitem(last=False)
        return True


class Strange:
    """Tells the people of Matrix, once in each conversation, what cannot be read.

    Whoever wrote it is told each time: it comes back to them.
    """

    def __init__(self, host: Host, *, omemo: bool) -> None:
        self._host = host
        self._omemo = omemo
        self._told = Told()

    def met(self, address: str, who: str, stanza: Element) -> bool:
        """Tell whether *stanza*, which *who* wrote, is in no way that we can read."""
        found = encryption(stanza)
        if found is None or (found is Encryption.OMEMO and self._omemo):
            return False
        if self._told.first((address, found)):
            said = words(found, who, omemo=self._omemo)
            self._host.warn(Room(Network.XMPP, address), said)
        return True


def passage(account: str, peer: str, to: str, at_ms: int) -> Passage:
    """Write who wrote to whom, of an arrival of that time."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return Passage(account=account, peer=peer, to=to, at=at)
