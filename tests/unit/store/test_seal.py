import pytest

from bridge.store.errors import SealError
from bridge.store.seal import NONCES_DRAWN, Seal

KEY = bytes(range(32))


@pytest.mark.parametrize("plain", [b"", b"wherefore", bytes(100_000)])
def test_what_is_sealed_can_be_opened_again(plain: bytes) -> None:
    box = Seal(KEY).close(b"inbox.raw", plain)

    assert Seal(KEY).open(b"inbox.raw", box) == plain
    assert len(box) == len(plain) + 28


def test_a_box_opens_only_where_it_belongs() -> None:
    box = Seal(KEY).close(b"inbox.raw", b"wherefore")

    with pytest.raises(SealError, match=r"outbox\.data does not open"):
        Seal(KEY).open(b"outbox.data", box)


@pytest.mark.parametrize("box", [b"", b"short", bytes(40)])
def test_what_was_never_sealed_does_not_open(box: bytes) -> None:
    with pytest.raises(SealError):
        Seal(KEY).open(b"inbox.raw", box)


def test_another_key_does_not_open() -> None:
    box = Seal(KEY).close(b"inbox.raw", b"wherefore")

    with pytest.raises(SealError, match="restore the key"):
        Seal(bytes(32)).open(b"inbox.raw", box)


def test_a_nonce_never_comes_twice() -> None:
    seal = Seal(KEY)

    nonces = {seal.close(b"x", b"")[:12] for _ in range(3 * NONCES_DRAWN)}

    assert len(nonces) == 3 * NONCES_DRAWN


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(SealError, match="32 bytes, not 16"):
        Seal(bytes(16))
