"""A homeserver as far as keys go, in memory, as strict as Synapse where it matters."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from bridge.matrix.client import MatrixError
from bridge.matrix.megolm.ports import Batch, Json

Device = tuple[str, str]
Wild = Any
"""JSON as strangers send it."""


class FakeKeyServer:
    """The port ``KeyServer`` in memory, for all users of a test.

    *step* is called before and after everything it is asked; what it raises ends the
    caller. *asked* counts what was asked, by name.
    """

    def __init__(self) -> None:
        self.names: dict[Device, str] = {}
        self.device_keys: dict[str, dict[str, Any]] = defaultdict(dict)
        self.one_time: dict[Device, dict[str, Any]] = defaultdict(dict)
        self.fallback: dict[Device, dict[str, Any]] = defaultdict(dict)
        self.fallback_unused: dict[Device, bool] = defaultdict(bool)
        self.identities: dict[str, Any] = {}
        self.inboxes: dict[Device, list[dict[str, Any]]] = defaultdict(list)
        self.failing: set[str] = set()
        self.asked: dict[str, int] = defaultdict(int)
        self.refused: list[str] = []
        self.txns: dict[str, Batch] = {}
        self.step: Callable[[str], None] = lambda _: None

    async def put_device(self, user: str, device: str, name: str) -> None:
        self._begin("put_device")
        self.names[user, device] = name
        self.step("after put_device")

    async def delete_device(self, user: str, device: str) -> None:
        self._begin("delete_device")
        self.names.pop((user, device), None)
        self.device_keys[user].pop(device, None)
        self.one_time.pop((user, device), None)
        self.fallback.pop((user, device), None)
        self.step("after delete_device")

    async def upload_keys(
        self, user: str, device: str, body: Json
    ) -> Mapping[str, int]:
        self._begin("upload_keys")
        if (user, device) not in self.names:
            raise self._refusal(400, "M_UNKNOWN_DEVICE", "no such device")
        self._check(user, device, body)
        if "device_keys" in body:
            self.device_keys[user][device] = _copy(body["device_keys"])
        self.one_time[user, device].update(_copy(body.get("one_time_keys", {})))
        if body.get("fallback_keys"):
            self.fallback[user, device] = _copy(body["fallback_keys"])
            self.fallback_unused[user, device] = True
        self.step("after upload_keys")
        return {"signed_curve25519": len(self.one_time[user, device])}

    def _check(self, user: str, device: str, body: Json) -> None:
        there = self.one_time[user, device]
        for name, key in body.get("one_time_keys", {}).items():
            if name in there and there[name] != key:
                words = f"One time key {name} already exists. Old key: …"
                raise self._refusal(400, "M_UNKNOWN", words)

    async def upload_cross_signing(self, user: str, body: Json) -> None:
        self._begin("upload_cross_signing")
        self.identities[user] = _copy(body)
        self.step("after upload_cross_signing")

    async def query_keys(self, users: Sequence[str]) -> Json:
        self._begin("query_keys")
        answer: dict[str, Any] = {
            "device_keys": {},
            "failures": {},
            "master_keys": {},
            "self_signing_keys": {},
        }
        for user in users:
            server = user.partition(":")[2]
            if server in self.failing:
                answer["failures"][server] = {}
                continue
            answer["device_keys"][user] = _copy(self.device_keys[user])
            if identity := self.identities.get(user):
                answer["master_keys"][user] = identity["master_key"]
                answer["self_signing_keys"][user] = identity["self_signing_key"]
        self.step("after query_keys")
        return answer

    async def claim_keys(self, wanted: Mapping[str, Mapping[str, str]]) -> Json:
        self._begin("claim_keys")
        claimed: dict[str, Any] = {}
        for user, devices in wanted.items():
            for device in devices:
                if key := self._claim((user, device)):
                    claimed.setdefault(user, {})[device] = key
        self.step("after claim_keys")
        return {"one_time_keys": claimed}

    def _claim(self, device: Device) -> dict[str, Any] | None:
        if there := self.one_time[device]:
            name = next(iter(there))
            return {name: there.pop(name)}
        if there := self.fallback[device]:
            self.fallback_unused[device] = False
            return dict(there)
        return None

    async def send_to_device(self, batch: Batch) -> None:
        self._begin("send_to_device")
        if (batch.user, batch.device) not in self.names:
            raise self._refusal(400, "M_UNKNOWN_DEVICE", "no such device")
        known = self.txns.setdefault(batch.txn, batch)
        assert known == batch, "a txnId came again with something else"
        if known is batch:
            self._deliver(batch)
        self.step("after send_to_device")

    def _deliver(self, batch: Batch) -> None:
        messages = msgspec.json.decode(batch.messages)
        for user, devices in messages.items():
            for device, content in devices.items():
                event = {"type": batch.type, "sender": batch.user, "content": content}
                self.inboxes[user, device].append(event)

    def take(self, user: str, device: str) -> list[dict[str, Any]]:
        """Empty the inbox of a device."""
        return self.inboxes.pop((user, device), [])

    def _begin(self, name: str) -> None:
        self.asked[name] += 1
        self.step(f"before {name}")

    def _refusal(self, status: int, code: str, words: str) -> MatrixError:
        self.refused.append(words)
        return MatrixError(status, code, words)


def _copy(value: Wild) -> Wild:
    """Take *value* over the wire."""
    return msgspec.json.decode(msgspec.json.encode(value))
