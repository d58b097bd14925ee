"""Things to store, for the tests of the store's parts."""

from pathlib import Path

from bridge.model.delivery import Arrival, Parcel, Taken, Wire
from bridge.model.places import Network, PortalId, Room
from bridge.store.database import Database
from bridge.store.engine import parse
from bridge.store.seal import Seal

ROOM = Room(Network.MATRIX, "!room:hs")
KEY = bytes(range(32))


def taken(seq: int, key: str = "") -> Taken:
    return Taken(seq, Arrival(ROOM, key or f"${seq}", b"raw"))


def parcel(number: int, *, archived: bool = False, receipt: bytes = b"") -> Parcel:
    wire = Wire(f"txn {number}", b"data", archived)
    return Parcel(number, Network.XMPP, "7", wire, receipt, portal=PortalId(7))


def database(folder: Path) -> Database:
    """Make an SQLite database and open it."""
    made = Database(parse(f"sqlite:///{folder}/bridge.db"), Seal(KEY))
    made.open()
    return made
