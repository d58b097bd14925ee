import pytest

from bridge.xmpp.offline import fault


@pytest.mark.parametrize("version", ["24.02", "24.10", "24.11.1", "24.02-1~bpo12+1"])
def test_an_ejabberd_that_loses_messages_is_known(version: str) -> None:
    assert "24.12" in fault("ejabberd", version)


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("ejabberd", "23.01"),
        ("ejabberd", "24.12"),
        ("ejabberd", "26.07"),
        ("ejabberd", "unknown"),
        ("Prosody", "0.12.3"),
        ("Prosody", "24.06"),
        ("", ""),
    ],
)
def test_of_others_nothing_is_said(name: str, version: str) -> None:
    assert fault(name, version) == ""
