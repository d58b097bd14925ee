"""Names as long as others can choose them, on the fake, SQLite and PostgreSQL."""

import secrets

from bridge.core.ports import Unit
from bridge.model.delivery import Arrival, Parcel, Taken, Wire
from bridge.model.places import Network, PortalId, Room
from bridge.model.records import Alias, Cursor, Occupant, Puppet, Record, Secret
from bridge.xmpp.codec.names import BARE_BYTES_MAX, ID_BYTES_MAX, PART_BYTES_MAX
from tests.contracts.conftest import AnyStore


def _long(length: int) -> str:
    """Return what no database can make shorter."""
    return "".join(
        secrets.choice("bcdfghjklmnpqrstvwxz0123456789") for _ in range(length)
    )


async def test_the_longest_names_that_we_take_can_be_kept(store: AnyStore) -> None:
    """PostgreSQL has 2,704 bytes for all that an index knows of a row."""
    person, component = _long(BARE_BYTES_MAX), f"@{_long(60)}"
    mxid = _long(3 * 255)
    nick, name = _long(PART_BYTES_MAX), _long(ID_BYTES_MAX)
    room, chat = f"#{mxid}{component}", f"{person} {mxid}{component}"
    records: list[Record] = [
        Occupant(room, f"{person}/{nick}", nick),
        Alias(Network.XMPP, f"{person}/{nick}#{name}", PortalId(7), 3, "@alice:hs"),
        Cursor("muc-standing", f"{room} {person}", "member"),
        Cursor("opening", chat, "0"),
        Puppet(person, mxid[:255], nick),
        Secret(f"omemo {mxid}{component}", f"session {person} {name}", b"x"),
    ]
    there = Room(Network.XMPP, chat)
    kept = Taken(store.number(), Arrival(there, f"{person}#{name}", b"x"))
    parcel = Parcel(store.number(), Network.XMPP, f"xmpp {chat}", Wire("1", b"x"))
    unit = Unit(put=records, take=[kept], parcels=[parcel])

    await store.commit(unit)

    assert [one.seq for one in await store.waiting([there], 0, 9)] == [kept.seq]
    for record in records:
        key = [getattr(record, name) for name in record.KEY]
        assert await store.find(type(record), *key) == record
