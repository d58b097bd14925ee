"""The machine talks with matrix-nio, which others wrote."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from nio import KeysClaimResponse, KeysQueryResponse, MegolmEvent, ToDeviceEvent
from nio.crypto import Olm
from nio.store import SqliteMemoryStore

from bridge.matrix.megolm.ports import Batch, Plain, Trust
from tests.unit.matrix.megolm.key_server import FakeKeyServer
from tests.unit.matrix.megolm.party import BOB, BOT, GHOST, ROOM, Party, room, text

DEVICE = "NIODEVICE"


class Nio:
    """Bob, who uses matrix-nio."""

    def __init__(self, server: FakeKeyServer) -> None:
        self.server = server
        self.store = SqliteMemoryStore(BOB, DEVICE)
        self.olm = Olm(BOB, DEVICE, self.store)

    async def joins(self) -> None:
        await self.server.put_device(BOB, DEVICE, "nio")
        await self.server.upload_keys(BOB, DEVICE, self.olm.share_keys())
        self.olm.account.shared = True
        self.olm.mark_keys_as_published()

    async def meets(self, user: str) -> None:
        answer = dict(await self.server.query_keys([user]))
        self.olm.handle_response(KeysQueryResponse.from_dict(answer))

    async def hears(self) -> None:
        for event in self.server.take(BOB, DEVICE):
            self.olm.handle_to_device_event(ToDeviceEvent.parse_event(event))

    def reads(self, event: dict[str, Any]) -> Any:  # noqa: ANN401 - nio has no types
        raw = event | {"origin_server_ts": 1, "type": "m.room.encrypted"}
        return self.olm.decrypt_megolm_event(MegolmEvent.from_dict(raw), ROOM)

    async def says(self, to: str, words: str) -> dict[str, Any]:
        await self.meets(to)
        missing = self.olm.get_missing_sessions([to])
        wanted = {
            user: dict.fromkeys(devices, "signed_curve25519")
            for user, devices in missing.items()
        }
        claimed = {"failures": {}, **await self.server.claim_keys(wanted)}
        self.olm.handle_response(KeysClaimResponse.from_dict(claimed, ROOM))
        users = [BOB, to]
        _, sealed = self.olm.share_group_session(
            ROOM, users, ignore_unverified_devices=True
        )
        self.olm.outbound_group_sessions[ROOM].shared = True
        raw = msgspec.Raw(msgspec.json.encode(sealed["messages"]))
        await self.server.send_to_device(
            Batch(BOB, DEVICE, "m.room.encrypted", words, raw)
        )
        said = {"type": "m.room.message", "content": text(words)}
        content = self.olm.group_encrypt(ROOM, said)
        return {
            "event_id": f"${words}",
            "sender": BOB,
            "room_id": ROOM,
            "content": content,
        }


@pytest.fixture
async def nio(server: FakeKeyServer) -> AsyncIterator[Nio]:
    bob = Nio(server)
    await bob.joins()
    yield bob
    bob.store.database.close()


async def test_nio_reads_what_a_ghost_says(bridge: Party, nio: Nio) -> None:
    await nio.meets(GHOST)
    events = [await bridge.says(GHOST, room(GHOST, BOB), str(n)) for n in range(3)]

    await nio.hears()

    assert [nio.reads(one).body for one in events] == ["0", "1", "2"]


async def test_what_is_said_by_nio_is_read(bridge: Party, nio: Nio) -> None:
    await bridge.joins(BOT)

    event = await nio.says(BOT, "hello")
    await bridge.hears(BOT)

    assert await bridge.reads(event) == Plain(
        "m.room.message", text("hello"), Trust.LEGACY
    )


async def test_they_talk_to_and_fro_over_one_session(
    server: FakeKeyServer, bridge: Party, nio: Nio
) -> None:
    await bridge.joins(BOT)
    await nio.says(BOT, "hello")
    await bridge.hears(BOT)

    event = await bridge.says(BOT, room(BOT, BOB), "hello yourself")
    await nio.hears()

    assert nio.reads(event).body == "hello yourself"
    assert server.asked["claim_keys"] == 1
