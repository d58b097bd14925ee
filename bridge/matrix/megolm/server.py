"""Keys, as they travel to and from the homeserver (Client-Server API, §11.12)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import msgspec

from bridge.matrix.client import Homeserver, MatrixError, join
from bridge.matrix.megolm.ports import Batch, Json

QUERY_TIMEOUT_MS = 10_000
"""How long our homeserver may wait for others."""


class HomeserverKeys:
    """The port ``KeyServer``: asks *homeserver* in the name of each device of ours.

    Nobody of ours ever logs in: the appservice makes and removes devices itself
    (spec 1.17, MSC4190), and acts as them (MSC4326).
    """

    def __init__(self, homeserver: Homeserver, asker: str) -> None:
        self._homeserver = homeserver
        self._asker = asker

    async def put_device(self, user: str, device: str, name: str) -> None:
        """Make a device of *user*, or rename it."""
        path, body = join("devices", device), {"display_name": name}
        await self._homeserver.request("PUT", path, user=user, body=body)

    async def delete_device(self, user: str, device: str) -> None:
        """Remove a device of *user*; one that is not there is no error."""
        path = join("devices", device)
        try:
            await self._homeserver.request("DELETE", path, user=user, body={})
        except MatrixError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise

    async def upload_keys(
        self, user: str, device: str, body: Json
    ) -> Mapping[str, int]:
        """Upload keys as that device; return how many one-time keys there are."""
        answer = await self._homeserver.request(
            "POST", join("keys", "upload"), user=user, device=device, body=body
        )
        counts = answer.get("one_time_key_counts")
        known = counts if isinstance(counts, dict) else {}
        return {k: v for k, v in known.items() if isinstance(v, int)}

    async def upload_cross_signing(self, user: str, body: Json) -> None:
        """Upload the cross-signing keys of *user*."""
        path = join("keys", "device_signing", "upload")
        await self._homeserver.request("POST", path, user=user, body=body)

    async def query_keys(self, users: Sequence[str]) -> Json:
        """Return the answer to ``/keys/query`` for all devices of *users*."""
        body = {
            "device_keys": {user: [] for user in users},
            "timeout": QUERY_TIMEOUT_MS,
        }
        return await self._homeserver.request(
            "POST", join("keys", "query"), user=self._asker, body=body
        )

    async def claim_keys(self, wanted: Mapping[str, Mapping[str, str]]) -> Json:
        """Return the answer to ``/keys/claim``; *wanted*: user, device, algorithm."""
        body = {"one_time_keys": wanted, "timeout": QUERY_TIMEOUT_MS}
        return await self._homeserver.request(
            "POST", join("keys", "claim"), user=self._asker, body=body
        )

    async def send_to_device(self, batch: Batch) -> None:
        """Send *batch* in the name of its user and device, under its txnId."""
        path = join("sendToDevice", batch.type, batch.txn)
        await self._homeserver.request(
            "PUT",
            path,
            user=batch.user,
            device=batch.device,
            body={"messages": msgspec.Raw(batch.messages)},
        )
