import pytest
from omemo import BundleDownloadFailed, BundleNotFound

from bridge.xmpp.codec.xml import Node
from bridge.xmpp.omemo.device import Desk, Wanted, device_class, published_key
from bridge.xmpp.omemo.names import LEGACY, LEGACY_DEVICES, OMEMO2, OMEMO2_DEVICES
from bridge.xmpp.omemo.shelf import Shelf
from bridge.xmpp.omemo.used import Used
from tests.fakes_store import FakeStore
from tests.unit.xmpp.omemo.world import ALICE, ROMEO, World


class Some:
    def bundle(self, account: str, wanted: Wanted) -> None:
        if wanted[2] == 1:
            raise KeyError(wanted)

    def __init__(self) -> None:
        self.used = Used(FakeStore())


@pytest.fixture
def desk() -> Desk:
    return Desk(ALICE, Shelf("x", {}), Some())


async def test_what_is_not_at_hand_is_wanted(desk: Desk) -> None:
    with pytest.raises(BundleDownloadFailed):
        await device_class(desk)._download_bundle(LEGACY, ROMEO, 1)

    assert desk.wanted == {(LEGACY, ROMEO, 1)}


async def test_what_is_known_to_be_missing_is_not(desk: Desk) -> None:
    with pytest.raises(BundleNotFound):
        await device_class(desk)._download_bundle(LEGACY, ROMEO, 2)

    assert desk.wanted == set()


async def test_two_accounts_have_two_classes(desk: Desk) -> None:
    other = Desk(ROMEO, Shelf("y", {}), Some())

    assert device_class(desk).desk is not device_class(other).desk


async def test_the_list_says_that_it_is_a_bridge(world: World) -> None:
    ((_, legacy),) = await world.omemo.items(ALICE, LEGACY_DEVICES, ROMEO) or ()
    ((_, second),) = await world.omemo.items(ALICE, OMEMO2_DEVICES, ROMEO) or ()

    (one,), (two,) = legacy.children, second.children
    assert isinstance(one, Node)
    assert isinstance(two, Node)
    assert (legacy.name, legacy.attributes["xmlns"]) == ("list", LEGACY)
    assert (second.name, second.attributes["xmlns"]) == ("devices", OMEMO2)
    assert list(one.attributes) == ["id"]
    assert two.attributes["label"] == "Matrix bridge"
    assert one.attributes["id"] == two.attributes["id"]


async def test_a_bundle_can_be_withdrawn(desk: Desk) -> None:
    place = published_key("eu.siacs.conversations.axolotl.bundles:7", "current")
    desk.shelf.put(place, [])

    await device_class(desk)._delete_bundle(LEGACY, 7)

    assert desk.shelf.get(place) is None
