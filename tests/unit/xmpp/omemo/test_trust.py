import pytest
import xeddsa
from omemo import TrustLevel, UnknownTrustLevel

from bridge.xmpp.endtoend import Trust
from bridge.xmpp.omemo import trust
from bridge.xmpp.omemo.shelf import Shelf
from tests.unit.xmpp.omemo.world import JULIET, ROMEO

ONE, TWO = b"1" * 32, b"2" * 32


@pytest.fixture
def shelf() -> Shelf:
    return Shelf("x", {})


def test_devices_are_trusted_blindly_before_any_is_verified(shelf: Shelf) -> None:
    assert trust.decide_first(shelf, ROMEO, ONE) is Trust.BLIND
    assert trust.level(shelf, ROMEO, ONE) is Trust.BLIND
    assert trust.level(shelf, ROMEO, TWO) is None


def test_after_a_verification_new_devices_wait(shelf: Shelf) -> None:
    trust.set_level(shelf, ROMEO, ONE, Trust.VERIFIED)

    assert trust.decide_first(shelf, ROMEO, TWO) is Trust.WAITING
    assert trust.decide_first(shelf, JULIET, TWO) is Trust.BLIND


def test_a_decision_stands(shelf: Shelf) -> None:
    trust.set_level(shelf, ROMEO, ONE, Trust.DISTRUSTED)

    assert trust.decide_first(shelf, ROMEO, ONE) is Trust.DISTRUSTED


def test_nobody_decides_that_a_device_waits(shelf: Shelf) -> None:
    with pytest.raises(ValueError, match="nobody decides"):
        trust.set_level(shelf, ROMEO, ONE, Trust.WAITING)


def test_a_waiting_device_is_heard_but_not_spoken_to() -> None:
    assert trust.core_level("WAITING", sealing=True) is TrustLevel.DISTRUSTED
    assert trust.core_level("WAITING", sealing=False) is TrustLevel.UNDECIDED
    assert trust.core_level("BLIND", sealing=True) is TrustLevel.TRUSTED
    with pytest.raises(UnknownTrustLevel):
        trust.core_level("", sealing=True)


def test_a_fingerprint_is_read_however_it_is_typed() -> None:
    shown = trust.fingerprint(xeddsa.priv_to_ed25519_pub(ONE))

    assert [len(group) for group in shown.split()] == [8] * 8
    assert trust.digits(shown.upper()) == shown.replace(" ", "")
    assert trust.digits("05" + shown.replace(" ", ":")) == shown.replace(" ", "")


def test_another_form_of_a_key_is_trusted_alike(shelf: Shelf) -> None:
    trust.copy_level(shelf, ROMEO, ONE, Trust.WAITING)

    assert trust.levels(shelf, ROMEO) == {Trust.WAITING}
    assert trust.decoded(trust.encoded(ONE)) == ONE
