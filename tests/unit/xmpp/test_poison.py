from bridge.model.delivery import Delivered, Later, Parcel, Wire
from bridge.model.places import Network
from bridge.xmpp.poison import CHANCES, Poison

THREE = [Parcel(n, Network.XMPP, "7", Wire(str(n), b"")) for n in (1, 2, 3)]


def test_all_go_together_while_nothing_is_suspect() -> None:
    assert Poison().portion(THREE) == THREE


def test_a_suspect_goes_alone_and_the_others_without_it() -> None:
    poison = Poison()
    poison.suspect([2])

    assert poison.portion(THREE) == THREE[:1]
    assert poison.portion(THREE[1:]) == THREE[1:2]
    assert poison.portion(THREE[2:]) == THREE[2:]


def test_what_loses_the_stream_again_and_again_goes_no_more() -> None:
    poison = Poison()
    for _ in range(CHANCES):
        poison.suspect([1])

    assert poison.portion(THREE) == ()


def test_what_has_arrived_was_innocent() -> None:
    poison = Poison()
    poison.suspect([1, 2])

    poison.cleared(THREE, [Delivered(), Later()])

    assert poison.portion(THREE) == THREE[:1]
    assert poison.portion(THREE[1:]) == THREE[1:2]
