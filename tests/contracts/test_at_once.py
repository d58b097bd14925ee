"""What every store promises about what was carried before it was on disk."""

from bridge.core.ports import Unit
from bridge.model.places import Network, PortalId
from bridge.model.records import Alias
from tests.contracts.conftest import Place
from tests.contracts.test_store import ROOM, arrival, parcel, take


async def test_what_is_carried_at_once_is_known_for_ever(place: Place) -> None:
    """It never waits, and if it comes again nothing of it is written again."""
    store = await place.open()
    first, bound = arrival(store, "$1"), parcel(store)
    known = await store.commit(Unit(take=[first], done=[first.seq], parcels=[bound]))
    again, twin = arrival(store, "$1"), parcel(store)
    alias = Alias(Network.XMPP, "twin", PortalId(7), again.seq, "@alice:hs")

    void = Unit(take=[again], done=[again.seq], parcels=[twin], put=[alias])
    known_now = await store.commit(void)

    assert not known
    assert known_now == {again.seq}
    assert void.is_void(known_now)
    assert await store.pending(Network.XMPP, "7", 0, 10) == [bound]
    assert await store.find(Alias, Network.XMPP, "twin") is None
    reopened = await place.reopen()
    assert not await reopened.waiting([ROOM], 0, 10)
    assert await reopened.pending(Network.XMPP, "7", 0, 10) == [bound]
    assert await take(reopened, arrival(reopened, "$1"))


async def test_a_void_unit_leaves_its_neighbours_alone(place: Place) -> None:
    store = await place.open()
    old = arrival(store, "$1")
    waits = store.commit(Unit(take=[old]))
    again, new = arrival(store, "$1"), arrival(store, "$2")
    bound = parcel(store)

    answers = [
        waits,
        store.commit(Unit(take=[again], done=[again.seq], parcels=[parcel(store)])),
        store.commit(Unit(take=[new], done=[new.seq], parcels=[bound])),
    ]

    assert [await answer for answer in answers] == [
        frozenset(),
        {again.seq},
        frozenset(),
    ]
    assert await store.pending(Network.XMPP, "7", 0, 10) == [bound]
    assert await store.waiting([ROOM], 0, 10) == [old]  # to be carried by its lane
