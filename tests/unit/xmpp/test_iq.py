import asyncio
from xml.etree.ElementTree import Element, SubElement

import pytest

from bridge.xmpp.iq import Barrier, Questions, key, refusal
from bridge.xmpp.replies import STANZAS


def answer(**attributes: str) -> Element:
    return Element("{jabber:component:accept}iq", attributes)


async def test_an_answer_finds_whoever_asked() -> None:
    questions = Questions()
    name = questions.name()

    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(questions.answer(key(name, "A@X", "b@y"), 5))
        await asyncio.sleep(0)
        given = answer(id=name, to="b@y", **{"from": "a@x"})
        assert questions.settle(given)
        assert not questions.settle(given)

    assert asked.result() is given
    assert not questions.settle(given)


async def test_an_answer_of_somebody_else_is_none() -> None:
    questions = Questions()
    name = questions.name()

    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(questions.answer(key(name, "a@x", "b@y"), 5))
        await asyncio.sleep(0)
        assert not questions.settle(answer(id=name, to="b@y", **{"from": "evil@x"}))
        assert not questions.settle(answer(id=name, to="c@y", **{"from": "a@x"}))
        questions.fail()
        questions.fail()

    assert asked.result() is None


async def test_silence_ends_in_time() -> None:
    questions = Questions()

    with pytest.raises(TimeoutError):
        await questions.answer(key("1", "a b@x", "b@y"), 0)


def test_a_refusal_names_its_condition() -> None:
    iq = answer(type="error")
    error = SubElement(iq, "{jabber:component:accept}error", type="auth")
    SubElement(error, "{urn:x}app-condition")
    SubElement(error, f"{{{STANZAS}}}forbidden")
    SubElement(error, f"{{{STANZAS}}}text").text = "no"

    found = refusal(iq)

    assert (found.condition, found.kind, found.text) == ("forbidden", "auth", "no")
    assert refusal(answer(type="error")).condition == "undefined-condition"


class Flights:
    """Where a barrier's pings go, and who hears that one is lost."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.stalled = asyncio.Event()
        self.barrier = Barrier(self.sent.append, self.stall)

    def stall(self) -> None:
        self.stalled.set()


async def test_one_ping_flies_and_who_comes_meanwhile_waits_for_the_next() -> None:
    flights = Flights()
    barrier = flights.barrier

    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(barrier.passed())
        await asyncio.sleep(0)
        late = [tasks.create_task(barrier.passed()) for _ in range(2)]
        await asyncio.sleep(0)
        assert len(flights.sent) == 1
        late[0].cancel()
        assert barrier.came(flights.sent[0])
        assert await first
        assert not late[1].done()
        assert len(flights.sent) == 2
        assert barrier.came(flights.sent[1])

    assert late[1].result()


async def test_an_old_or_foreign_ping_opens_nothing() -> None:
    flights = Flights()

    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(flights.barrier.passed())
        await asyncio.sleep(0)
        assert not flights.barrier.came("foreign")
        assert flights.barrier.came(flights.sent[0] + "9")
        await asyncio.sleep(0)
        assert not waiting.done()
        flights.barrier.fail()

    assert not waiting.result()


async def test_all_who_wait_learn_that_the_stream_is_lost() -> None:
    flights = Flights()

    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(flights.barrier.passed()) for _ in range(3)]
        await asyncio.sleep(0)
        flights.barrier.fail()

    assert [task.result() for task in waiting] == [False] * 3


async def test_a_server_that_routes_nothing_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.xmpp.iq.BARRIER_S", 0.0)
    flights = Flights()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(flights.barrier.passed())
        await flights.stalled.wait()
        flights.barrier.fail()
