"""Letters on their way: Olm sessions opened by claimed keys, batches of final bytes."""

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import msgspec

from bridge.matrix.megolm.olm import begin
from bridge.matrix.megolm.own import Own
from bridge.matrix.megolm.persons import Device
from bridge.matrix.megolm.ports import Batch, Json, KeyServer

ENCRYPTED, WITHHELD = "m.room.encrypted", "m.room_key.withheld"
BATCH_MAX = 100
"""Devices per request: proxies limit bodies to 1 MB, and EDUs are to stay small."""

_ALGORITHM = "signed_curve25519"
_encode = msgspec.json.Encoder().encode

T = TypeVar("T")


async def open_sessions(
    server: KeyServer, own: Own, devices: Iterable[Device]
) -> list[Device]:
    """Open a new Olm session with each of *devices*; return where that failed.

    The caller holds ``own.lock``: no key is claimed twice.
    """
    failed: list[Device] = []
    for some in chunks(devices):
        wanted: dict[str, dict[str, str]] = {}
        for one in some:
            wanted.setdefault(one.user, {})[one.id] = _ALGORITHM
        claimed = (await server.claim_keys(wanted)).get("one_time_keys")
        failed += [one for one in some if not begin(own, one, _key(claimed, one))]
    return failed


def batches(own: Own, kind: str, letters: Iterable[tuple[Device, Json]]) -> list[Batch]:
    """Pack *letters* of one type, each with a txnId of its own."""
    packed = []
    for some in chunks(letters):
        messages: dict[str, dict[str, Json]] = {}
        for to, content in some:
            messages.setdefault(to.user, {})[to.id] = content
        raw = msgspec.Raw(_encode(messages))
        packed.append(Batch(own.user, own.device, kind, secrets.token_hex(16), raw))
    return packed


def chunks(items: Iterable[T]) -> Iterator[Sequence[T]]:
    """Cut *items* into pieces that fit a request."""
    rest = iter(items)
    while some := tuple(islice(rest, BATCH_MAX)):
        yield some


def _key(claimed: object, device: Device) -> Any:  # noqa: ANN401 - JSON of strangers
    """Find the one key claimed of *device*."""
    found = claimed
    for name in (device.user, device.id):
        found = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        return None
    return next((v for k, v in found.items() if k.startswith(_ALGORITHM)), None)
