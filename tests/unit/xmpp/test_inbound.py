import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from bridge.core.ports import StoreUnavailableError
from bridge.model.delivery import Arrival
from bridge.model.places import Network, Room
from bridge.xmpp.inbound import Inbound
from tests.unit.xmpp.elsewhere_core import Host


@dataclass
class Core(Host):
    kept: list[list[str]] = field(default_factory=list)
    failures: int = 0
    lock: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.lock.set()

    async def keep(self, arrivals: Sequence[Arrival]) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError
        await asyncio.sleep(0)
        await self.lock.wait()
        if any(arrival.key == "bad" for arrival in arrivals):
            raise ValueError("it can never be written")
        self.kept.append([arrival.key for arrival in arrivals])


@dataclass
class Tap:
    turns: list[str] = field(default_factory=list)
    is_shut: asyncio.Event = field(default_factory=asyncio.Event)

    def pause(self) -> None:
        self.turns.append("pause")

    def resume(self) -> None:
        self.turns.append("resume")

    def shut(self) -> None:
        self.turns.append("shut")
        self.is_shut.set()

    def reopen(self) -> None:
        self.turns.append("reopen")


def arrival(key: object) -> Arrival:
    return Arrival(Room(Network.XMPP, "a b"), str(key), b"")


async def run(inbound: Inbound) -> None:
    task = asyncio.get_running_loop().create_task(inbound.run())
    await inbound.wait_empty()
    task.cancel()


async def test_what_comes_in_one_turn_is_kept_together() -> None:
    core = Core()
    inbound = Inbound(core, Tap())
    for key in range(3):
        inbound.add(arrival(key))

    await run(inbound)

    assert core.kept == [["0", "1", "2"]]


async def test_what_must_follow_follows_what_was_added_before() -> None:
    core = Core()
    inbound = Inbound(core, Tap())
    seen: list[list[list[str]]] = []
    inbound.add(arrival(1))
    inbound.after(lambda: seen.append(list(core.kept)))

    await run(inbound)

    assert seen == [[["1"]]]


async def test_the_sender_of_what_can_never_be_kept_is_told() -> None:
    core = Core()
    inbound = Inbound(core, Tap())
    lost: list[str] = []

    async def tell(arrival: Arrival) -> None:
        lost.append(arrival.key)
        raise ValueError("there is no way back either")

    inbound.lost = tell
    for key in (1, "bad", 2):
        inbound.add(arrival(key))

    await run(inbound)

    assert core.kept == [["1"], ["2"]]
    assert lost == ["bad"]


async def test_reading_pauses_while_too_much_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.xmpp.inbound.WAITING_MAX", 2)
    tap = Tap()
    inbound = Inbound(Core(), tap)
    for key in range(3):
        inbound.add(arrival(key))
    inbound.up()

    await run(inbound)
    inbound.up()

    assert tap.turns == ["pause", "pause", "resume"]


async def test_xmpp_is_closed_if_nothing_can_be_written_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.xmpp.inbound.PATIENCE_S", 0)
    monkeypatch.setattr("bridge.xmpp.inbound.RETRY_S", 0)
    core, tap = Core(failures=3), Tap()
    inbound = Inbound(core, tap)
    inbound.add(arrival(1))

    await run(inbound)

    assert core.kept == [["1"]]
    assert tap.turns == ["pause", "shut", "reopen", "resume"]


async def test_xmpp_is_closed_if_the_database_says_nothing_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row 20: it does not fail, it hangs, as behind a lock."""
    monkeypatch.setattr("bridge.xmpp.inbound.HOLD_S", 0)
    monkeypatch.setattr("bridge.xmpp.inbound.PATIENCE_S", 0.001)
    core, tap = Core(), Tap()
    core.lock.clear()
    inbound = Inbound(core, tap)
    inbound.add(arrival(1))
    task = asyncio.get_running_loop().create_task(inbound.run())
    async with asyncio.timeout(10):
        await tap.is_shut.wait()

    core.lock.set()
    await inbound.wait_empty()
    task.cancel()

    assert core.kept == [["1"]]
    assert tap.turns == ["pause", "shut", "reopen", "resume"]


async def test_xmpp_is_opened_again_though_what_came_can_never_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While it is closed nothing else comes that could open it."""
    monkeypatch.setattr("bridge.xmpp.inbound.PATIENCE_S", 0)
    monkeypatch.setattr("bridge.xmpp.inbound.RETRY_S", 0)
    core, tap = Core(failures=3), Tap()
    inbound = Inbound(core, tap)
    inbound.add(arrival("bad"))

    await run(inbound)

    assert core.kept == []
    assert tap.turns == ["pause", "shut", "reopen", "resume"]


async def test_a_short_trouble_only_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.xmpp.inbound.RETRY_S", 0)
    core, tap = Core(failures=1), Tap()
    inbound = Inbound(core, tap)
    inbound.add(arrival(1))

    await run(inbound)

    assert core.kept == [["1"]]
    assert tap.turns == ["pause", "resume"]


async def test_what_can_never_be_written_takes_nothing_with_it() -> None:
    core = Core()
    inbound = Inbound(core, Tap())
    for key in (1, "bad", 2):
        inbound.add(arrival(key))

    await run(inbound)

    assert core.kept == [["1"], ["2"]]
