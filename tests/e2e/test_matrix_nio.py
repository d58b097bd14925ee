"""Another Matrix client, which shares no code with the other tests: matrix-nio."""

import asyncio
from collections.abc import AsyncIterator

import nio
import pytest

from deploy.lab.world import World
from tests.e2e.conftest import Company


@pytest.fixture
async def client(world: World, word: str) -> AsyncIterator[nio.AsyncClient]:
    user = await asyncio.to_thread(world.synapse.register, f"nio-{word}", "secret")
    client = nio.AsyncClient(world.synapse.url, user)
    await client.login("secret")
    yield client
    await client.close()


async def test_a_direct_chat(
    world: World, company: Company, client: nio.AsyncClient
) -> None:
    juliet = await company.on_xmpp("juliet")
    localpart = client.user_id.partition(":")[0].removeprefix("@")
    puppet = f"{localpart}_{world.synapse.server_name}@{world.xmpp.component}"
    ghost = world.ghost(juliet)

    room = await client.room_create(is_direct=True, invite=[ghost])
    assert isinstance(room, nio.RoomCreateResponse)
    content = {"msgtype": "m.text", "body": "hello from nio"}
    await client.room_send(room.room_id, "m.room.message", content)
    await juliet.hears("hello from nio", puppet, puppet)
    await juliet.says(puppet, "hello to nio")

    heard = await _next_text(client, room.room_id, ghost)
    assert heard == "hello to nio"


async def test_a_muc_by_its_alias(
    world: World, company: Company, client: nio.AsyncClient, word: str
) -> None:
    juliet = await company.on_xmpp("juliet")
    muc = f"{word}@{world.xmpp.muc}"
    await juliet.joins(muc, "Juliet")

    joined = await client.join(world.muc_alias(muc))
    assert isinstance(joined, nio.JoinResponse)
    await juliet.says_in(muc, "welcome")

    heard = await _next_text(client, joined.room_id, "")
    assert heard == "welcome"


async def _next_text(client: nio.AsyncClient, room: str, sender: str) -> str:
    async with asyncio.timeout(20):
        while True:
            answer = await client.sync(timeout=1000)
            assert isinstance(answer, nio.SyncResponse)
            joined = answer.rooms.join.get(room)
            for event in joined.timeline.events if joined else ():
                mine = event.sender == client.user_id
                if isinstance(event, nio.RoomMessageText) and not mine:
                    assert sender in {"", event.sender}
                    return str(event.body)
