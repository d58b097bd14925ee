import asyncio

from bridge.xmpp.codec.xml import node
from bridge.xmpp.muc.ports import Means
from tests.unit.xmpp.muc.streams import FakeStream
from tests.unit.xmpp.muc.world import (
    DOMAIN,
    ROMEO,
    TEA,
    FakeHost,
    FakeInbound,
    FakeStore,
)


async def test_what_must_not_leave_does_not() -> None:
    stream = FakeStream()
    async with asyncio.TaskGroup() as tasks:
        means = Means(DOMAIN, stream, FakeHost(), FakeStore(), FakeInbound(), tasks)
        means.write(None)
        means.write(node("message", {"from": "else.example", "to": ROMEO}))
        means.write(node("message", {"from": TEA, "to": ROMEO}))

    assert len(stream.data) == 1
