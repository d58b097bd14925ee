import pytest

from bridge.model.delivery import Parcel, Wire
from bridge.model.places import Network
from bridge.xmpp import bounces
from bridge.xmpp.bounces import Bounces
from bridge.xmpp.codec.fault import Fault

GONE = Fault("gone")


def parcel(key: str) -> Parcel:
    return Parcel(1, Network.XMPP, "lane", Wire(key, b""))


PARCEL = parcel("$1")


async def test_only_the_one_it_was_for_can_send_a_message_back() -> None:
    known = Bounces()
    with known.expect(PARCEL, "juliet@capulet.lit") as bounce:
        known.came("$1", "mallory@capulet.lit", GONE)
        assert bounce.fault is None
        known.came("$1", "juliet@capulet.lit", GONE)

    assert bounce.fault == GONE
    assert known.late == 0


async def test_what_comes_back_late_is_noticed_once() -> None:
    known = Bounces()
    known.arrived(PARCEL, "juliet@capulet.lit")

    assert known.came("$1", "juliet@capulet.lit", GONE) == PARCEL
    assert known.came("$1", "juliet@capulet.lit", GONE) is None

    assert known.late == 1


async def test_memory_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounces, "LATE_MAX", 2)
    known = Bounces()
    for number in range(5):
        known.arrived(parcel(f"${number}"), "a@b")

    assert len(known._past) == 2
