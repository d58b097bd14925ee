import pytest

from bridge.xmpp import bounces
from bridge.xmpp.bounces import Bounces
from bridge.xmpp.codec.fault import Fault

GONE = Fault("gone")


async def test_only_the_one_it_was_for_can_send_a_message_back() -> None:
    known = Bounces()
    with known.expect("$1", "juliet@capulet.lit") as bounce:
        known.came("$1", "mallory@capulet.lit", GONE)
        assert bounce.fault is None
        known.came("$1", "juliet@capulet.lit", GONE)

    assert bounce.fault == GONE
    assert known.late == 0


async def test_what_comes_back_late_is_noticed_once() -> None:
    known = Bounces()
    with known.expect("$1", "juliet@capulet.lit"):
        pass

    known.came("$1", "juliet@capulet.lit", GONE)
    known.came("$1", "juliet@capulet.lit", GONE)

    assert known.late == 1


async def test_memory_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounces, "LATE_MAX", 2)
    known = Bounces()
    for number in range(5):
        with known.expect(f"${number}", "a@b"):
            pass

    assert len(known._past) == 2
