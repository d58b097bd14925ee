import asyncio
from xml.etree.ElementTree import Element

import pytest

from bridge.model.delivery import Description
from bridge.xmpp import turns as module
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.turns import OF_ONE_MAX, Turns
from tests.unit.xmpp.elsewhere import MUC
from tests.unit.xmpp.mucs_world import tea_time


async def test_a_service_that_answers_nothing_keeps_us_out_of_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with tea_time() as world, asyncio.TaskGroup() as tasks:
        real = world.server.iq

        async def iq(
            kind: str, to: str, sender: str, payload: Node, timeout_s: float
        ) -> Element:
            if to.endswith("@slow.example"):
                await asyncio.Event().wait()
            return await real(kind, to, sender, payload, timeout_s)

        monkeypatch.setattr(world.server, "iq", iq)
        slow = [
            tasks.create_task(world.mucs.visit(f"{number}@slow.example"))
            for number in range(10 * OF_ONE_MAX)
        ]
        await world.settle()

        async with asyncio.timeout(5):
            about = await world.mucs.visit(MUC)

        assert isinstance(about, Description)
        for task in slow:
            task.cancel()


async def test_few_are_entered_at_once_wherever_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ALL_MAX", 3)
    monkeypatch.setattr(module, "OF_ONE_MAX", 2)
    turns, inside, most = Turns(), [0], [0]

    async def enter(muc: str) -> None:
        async with turns.of(muc):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            await asyncio.sleep(0)
            inside[0] -= 1

    async with asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(enter(f"room@{number}.example"))
    assert most == [3]

    most[0] = 0
    async with asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(enter(f"{number}@one.example"))
    assert most == [2]


async def test_who_stops_waiting_leaves_both_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ALL_MAX", 1)
    monkeypatch.setattr(module, "OF_ONE_MAX", 1)
    turns = Turns()
    async with turns.of("a@one.example"), asyncio.TaskGroup() as tasks:
        other = turns.of("b@other.example")
        waiting = tasks.create_task(other.__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()

    async with asyncio.timeout(1), other:
        pass
