import asyncio

import pytest

from bridge.matrix.megolm.waiting import Waiting

KEY = ("!room:hs", "session")


async def test_all_who_wait_for_a_key_are_woken() -> None:
    waiting = Waiting()
    async with asyncio.TaskGroup() as tasks:
        waiters = [tasks.create_task(waiting.wait(KEY)) for _ in range(3)]
        await asyncio.sleep(0)

        waiting.wake([("!other:hs", "session")])
        assert not any(one.done() for one in waiters)
        waiting.wake([KEY])

    assert waiting._waiters == {}


async def test_who_gave_up_is_forgotten() -> None:
    waiting = Waiting()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await waiting.wait(KEY)

    assert waiting._waiters == {}
