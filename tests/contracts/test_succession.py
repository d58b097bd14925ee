"""What every store promises when another bridge has begun to use its database."""

import pytest

from bridge.core.ports import StoreUnavailableError, Unit
from bridge.model.places import Network
from tests.contracts.conftest import Place
from tests.contracts.test_store import ROOM, arrival, parcel


async def test_what_another_bridge_is_to_do_is_not_read(place: Place) -> None:
    """Row 18: a bridge that slept would send once more what its successor has sent."""
    zombie = await place.open()
    await zombie.commit(Unit(take=[arrival(zombie, "$1")], parcels=[parcel(zombie)]))
    place.succeed()

    with pytest.raises(StoreUnavailableError):
        await zombie.pending(Network.XMPP, "7", 0, 10)
    with pytest.raises(StoreUnavailableError):
        await zombie.waiting([ROOM], 0, 10)
