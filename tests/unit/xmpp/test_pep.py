import pytest

from bridge.xmpp.pep import Pep


def test_pep_is_on_its_way() -> None:
    with pytest.raises(NotImplementedError):
        Pep("bridge.example", bool, lambda *_: NotImplemented)
