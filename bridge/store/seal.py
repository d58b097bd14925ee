"""Seals what people said while it lies on disk.

The key is not in the database, so whoever finds a copy of it reads nothing.
"""

import os
from collections.abc import Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bridge.store.errors import SealError

KEY_BYTES = 32
NONCE_BYTES = 12
NONCES_DRAWN = 256


class Seal:
    """AES-256-GCM under one key, with a random nonce in front of each box.

    *label* says where a box belongs: elsewhere it does not open. Only one thread may
    seal; any may unseal.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise SealError(
                f"the key for the database must have {KEY_BYTES} bytes, not {len(key)}:"
                " restore the key file, or make a new one with a new database"
            )
        self._cipher = AESGCM(key)
        self._nonces = _nonces()

    def close(self, label: bytes, plain: bytes) -> bytes:
        """Seal *plain*."""
        nonce = next(self._nonces)
        return nonce + self._cipher.encrypt(nonce, plain, label)

    def open(self, label: bytes, box: bytes) -> bytes:
        """Unseal *box*."""
        try:
            return self._cipher.decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], label)
        except (InvalidTag, ValueError) as error:
            raise SealError(
                f"what is sealed in {label.decode()} does not open: the key is not the"
                " one the database was made with, or the database is damaged;"
                " restore the key file or a backup"
            ) from error


def _nonces() -> Iterator[bytes]:
    """Draw random nonces, many at a time, as asking the kernel costs most.

    NIST SP 800-38D §8.2.2: they are good for 2^32 boxes under one key.
    """
    while True:
        drawn = os.urandom(NONCE_BYTES * NONCES_DRAWN)
        for start in range(0, len(drawn), NONCE_BYTES):
            yield drawn[start : start + NONCE_BYTES]
