import asyncio

import pytest

from bridge.xmpp.omemo import turns as module
from bridge.xmpp.omemo.turns import AT_ONCE_MAX, Turns

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
            async with self.turns.turn(jid):
                self.asked.append(jid)
                await self.answer.wait()
        except TimeoutError:
            self.given_up.append(jid)


async def test_only_so_many_ask_one_server_at_once() -> None:
    desk = Desk()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE_MAX + 3):
            tasks.create_task(desk.ask(ROMEO))
        tasks.create_task(desk.ask(JULIET))
        await asyncio.sleep(0)
        at_once = list(desk.asked)
        desk.answer.set()

    assert at_once == [ROMEO] * AT_ONCE_MAX + [JULIET]
    assert desk.asked.count(ROMEO) == AT_ONCE_MAX + 3
    assert desk.given_up == []


async def test_who_waited_for_a_server_that_answers_nobody_does_not_ask_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.01)
    desk = Desk()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE_MAX):
            tasks.create_task(desk.ask(ROMEO))
        tasks.create_task(desk.ask(NURSE))

    assert desk.asked == [ROMEO] * AT_ONCE_MAX
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
        async with desk.turns.turn(ROMEO):
            raise ZeroDivisionError
    desk.answer.set()

    await desk.ask(NURSE)

    assert desk.asked == [NURSE]
