"""Keys over HTTP: what a homeserver answers to the devices of an appservice."""

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from bridge.matrix.client import MatrixError
from bridge.matrix.megolm.ports import Batch
from tests.homeserver import Answering, FakeHomeserver
from tests.unit.matrix.megolm.key_server import FakeKeyServer

CLIENT = "/_matrix/client/v3"
SLIDING = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
TICK_S = 0.01


class KeyHomeserver(FakeHomeserver):
    """Serves *keys* over HTTP; *slides* tells whether it knows sliding sync.

    A device that *lost* names is not known. *expired* refuses every position.
    """

    def __init__(self, server_name: str = "hs") -> None:
        super().__init__(server_name)
        self.keys = FakeKeyServer()
        self.slides = True
        self.lost: set[str] = set()
        self.expired = False
        self.changes: list[str] = []
        self._read: dict[tuple[str, str], int] = {}

    def _add_routes(self, app: web.Application) -> None:
        for method, path, answering in (
            ("PUT", CLIENT + "/devices/{device}", self._device),
            ("DELETE", CLIENT + "/devices/{device}", self._delete_device),
            ("POST", CLIENT + "/keys/upload", self._upload),
            ("POST", CLIENT + "/keys/device_signing/upload", self._identity),
            ("POST", CLIENT + "/keys/query", self._query),
            ("POST", CLIENT + "/keys/claim", self._claim),
            ("PUT", CLIENT + "/sendToDevice/{type}/{txn}", self._to_device),
            ("POST", SLIDING, self._slide),
            ("GET", CLIENT + "/sync", self._sync),
        ):
            app.router.add_route(method, path, self._faulty(answering))
        super()._add_routes(app)

    async def _admit(self, request: web.Request, answering: Answering) -> web.Response:
        device = request.query.get("device_id", "")
        if device in self.lost:
            return _refused(MatrixError(400, "M_UNKNOWN_DEVICE", "no such device"))
        try:
            return await super()._admit(request, answering)
        except MatrixError as error:
            return _refused(error)

    async def _device(self, request: web.Request) -> web.Response:
        device, asked = request.match_info["device"], await request.json()
        await self.keys.put_device(self._user(request), device, asked["display_name"])
        self.lost.discard(device)
        return await super()._device(request)

    async def _delete_device(self, request: web.Request) -> web.Response:
        device = request.match_info["device"]
        await self.keys.delete_device(self._user(request), device)
        return web.json_response({})

    async def _upload(self, request: web.Request) -> web.Response:
        user, device = self._user(request), request.query["device_id"]
        body = await request.json()
        counts = await self.keys.upload_keys(user, device, body)
        if "device_keys" in body:
            self.changes.append(user)
        return web.json_response({"one_time_key_counts": dict(counts)})

    async def _identity(self, request: web.Request) -> web.Response:
        await self.keys.upload_cross_signing(self._user(request), await request.json())
        return web.json_response({})

    async def _query(self, request: web.Request) -> web.Response:
        asked = await request.json()
        users = list(asked["device_keys"])
        return web.json_response(await self.keys.query_keys(users))

    async def _claim(self, request: web.Request) -> web.Response:
        asked = await request.json()
        return web.json_response(await self.keys.claim_keys(asked["one_time_keys"]))

    async def _to_device(self, request: web.Request) -> web.Response:
        asked = await request.json()
        batch = Batch(
            self._user(request),
            request.query["device_id"],
            request.match_info["type"],
            request.match_info["txn"],
            msgspec.Raw(msgspec.json.encode(asked["messages"])),
        )
        await self.keys.send_to_device(batch)
        return web.json_response({})

    async def _slide(self, request: web.Request) -> web.Response:
        if not self.slides:
            return _refused(MatrixError(404, "M_UNRECOGNIZED", "unknown"))
        pos, asked = request.query.get("pos", ""), await request.json()
        if pos and self.expired:
            return _refused(MatrixError(400, "M_UNKNOWN_POS", "unknown position"))
        messages = asked["extensions"]["to_device"]
        events, mark = await self._wait(request, messages.get("since", ""))
        changed = self.changes[int(pos) :] if pos else []
        return web.json_response(
            {
                "pos": str(len(self.changes)),
                "lists": {},
                "rooms": {},
                "extensions": {
                    "to_device": {"events": events, "next_batch": mark},
                    "e2ee": {
                        **self._counts(request),
                        "device_lists": {"changed": changed, "left": []},
                    },
                },
            }
        )

    async def _sync(self, request: web.Request) -> web.Response:
        since = request.query.get("since", "")
        if since and self.expired:
            return _refused(MatrixError(400, "M_UNKNOWN", "invalid since"))
        mark, _, pos = since.partition("_")
        events, mark = await self._wait(request, mark)
        changed = self.changes[int(pos) :] if pos else []
        return web.json_response(
            {
                "next_batch": f"{mark}_{len(self.changes)}",
                "to_device": {"events": events},
                "device_lists": {"changed": changed},
                **self._counts(request),
            }
        )

    async def _wait(
        self, request: web.Request, since: str
    ) -> tuple[list[dict[str, Any]], str]:
        """Forget what was read, and return what is new, once there is any."""
        who = self._user(request), request.query["device_id"]
        inbox = self.keys.inboxes[who]
        read = max(int(since or 0), self._read.get(who, 0))
        del inbox[: read - self._read.get(who, 0)]
        self._read[who] = read
        deadline = asyncio.get_running_loop().time()
        deadline += int(request.query["timeout"]) / 1000
        while not inbox and asyncio.get_running_loop().time() < deadline:
            if self._stopping.is_set():
                break
            await asyncio.sleep(TICK_S)
        return list(inbox), str(read + len(inbox))

    def _counts(self, request: web.Request) -> dict[str, Any]:
        who = self._user(request), request.query["device_id"]
        unused = ["signed_curve25519"] if self.keys.fallback_unused[who] else []
        return {
            "device_one_time_keys_count": {
                "signed_curve25519": len(self.keys.one_time[who])
            },
            "device_unused_fallback_key_types": unused,
        }


def _refused(error: MatrixError) -> web.Response:
    said = {"errcode": error.errcode, "error": error.message}
    return web.json_response(said, status=error.status)
