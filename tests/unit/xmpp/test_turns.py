import asyncio
from xml.etree.ElementTree import Element

import pytest

from bridge.model.delivery import Description
from bridge.xmpp import turns as module
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.turns import OF_ONE_MAX, Turns
from tests.unit.xmpp.elsewhere import MUC
from tests.unit.xmpp.mucs_world import tea_time

ROMEO, NURSE, JULIET = "romeo@a.example", "nurse@a.example", "juliet@b.example"


class Desk:
    """Asks, and is never answered before *answer* is set."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.answer = asyncio.Event()
        self.asked: list[str] = []
        self.given_up: list[str] = []

    async def ask(self, jid: str) -> None:
        try:
            async with self.turns.question(jid):
                self.asked.append(jid)
                await self.answer.wait()
        except TimeoutError:
            self.given_up.append(jid)


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
    monkeypatch.setattr(module, "OF_ONE_MAX", 2)
    turns, inside, most = Turns(3), [0], [0]

    async def enter(muc: str) -> None:
        async with turns.turn(muc):
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
    monkeypatch.setattr(module, "OF_ONE_MAX", 1)
    turns = Turns(1)

    async def wait() -> None:
        async with turns.turn("b@other.example"):
            pass

    async with turns.turn("a@one.example"), asyncio.TaskGroup() as tasks:
        # Keeps what is known of the other server, as whoever waits there does.
        other = turns._server("b@other.example")
        waiting = tasks.create_task(wait())
        await asyncio.sleep(0)
        assert other.gate.locked()
        waiting.cancel()

    assert not other.gate.locked()
    async with asyncio.timeout(1):
        await wait()


async def test_only_so_many_ask_one_server_at_once() -> None:
    desk = Desk()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(OF_ONE_MAX + 3):
            tasks.create_task(desk.ask(ROMEO))
        tasks.create_task(desk.ask(JULIET))
        await asyncio.sleep(0)
        at_once = list(desk.asked)
        desk.answer.set()

    assert at_once == [ROMEO] * OF_ONE_MAX + [JULIET]
    assert desk.asked.count(ROMEO) == OF_ONE_MAX + 3
    assert desk.given_up == []


async def test_who_waited_for_a_server_that_answers_nobody_does_not_ask_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.01)
    desk = Desk()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(OF_ONE_MAX):
            tasks.create_task(desk.ask(ROMEO))
        tasks.create_task(desk.ask(NURSE))

    assert desk.asked == [ROMEO] * OF_ONE_MAX
    assert desk.given_up == [*desk.asked, NURSE]


async def test_who_comes_later_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.01)
    desk = Desk()
    await desk.ask(ROMEO)
    desk.answer.set()

    await desk.ask(NURSE)

    assert desk.asked == [ROMEO, NURSE]
    assert desk.given_up == [ROMEO]


async def test_what_is_refused_keeps_nobody_from_asking() -> None:
    desk = Desk()
    with pytest.raises(ZeroDivisionError):
        async with desk.turns.question(ROMEO):
            raise ZeroDivisionError
    desk.answer.set()

    await desk.ask(NURSE)

    assert desk.asked == [NURSE]
