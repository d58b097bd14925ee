from bridge.model.delivery import Delivered, Later, Parcel, Wire
from bridge.model.places import Network
from bridge.xmpp.poison import CHANCES, SUSPECTS_MAX, Poison

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


def test_who_falls_by_themselves_condemn_nothing() -> None:
    """A server that flaps says nothing about what was written to it last."""
    poison = Poison()
    for _ in range(3 * CHANCES):
        poison.suspect([2], blamed=False)

    assert poison.portion(THREE) == THREE[:1]
    assert poison.portion(THREE[1:]) == THREE[1:2]


def test_what_has_arrived_was_innocent() -> None:
    poison = Poison()
    poison.suspect([1, 2])

    poison.cleared(THREE, [Delivered(), Later()])

    assert poison.portion(THREE) == THREE[:1]
    assert poison.portion(THREE[1:]) == THREE[1:2]


def test_what_never_comes_again_is_forgotten_in_time() -> None:
    """Most suspects have arrived already, so nobody ever clears them."""
    poison = Poison()
    poison.suspect([1])
    poison.suspect(range(10, 10 + SUSPECTS_MAX))

    assert poison.portion(THREE) == THREE
    assert len(poison._losses) == SUSPECTS_MAX


def test_the_newest_suspects_stay_suspects() -> None:
    poison = Poison()
    poison.suspect([1])
    poison.suspect(range(10, 9 + SUSPECTS_MAX))
    poison.suspect([1])
    poison.suspect([5])

    assert poison.portion(THREE) == THREE[:1]
