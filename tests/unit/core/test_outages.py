import asyncio
from dataclasses import dataclass, field

import pytest

from bridge.core import outages
from bridge.core.outages import BLOCKED_S_MAX, NOTICE_S, Key, Outages
from bridge.model.delivery import (
    HOMESERVER,
    Later,
    Parcel,
    Refusal,
    Refused,
    Wire,
)
from bridge.model.places import Network
from tests.conftest import World, said
from tests.fakes import TEA_XMPP

AWAY = Later(0.0, HOMESERVER)
FAR = Later(0.0, "muc.example")
TEA: Key = (Network.MATRIX, "tea")
BOOKS: Key = (Network.MATRIX, "books")


def parcel(lane: str = "tea", number: int = 1) -> Parcel:
    return Parcel(number, Network.MATRIX, lane, Wire("k", b""), seq=number)


@dataclass
class Asked:
    """Outages, and what those who wait were told."""

    told: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.outages = Outages(lambda p, words: self.told.append((p.lane, words)))


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "PAUSE_S_MIN", 0.001)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "PAUSE_S_MIN", 1000.0)
    monkeypatch.setattr(outages, "PAUSE_S_MAX", 1000.0)


async def rest() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_nobody_waits_while_nothing_is_away() -> None:
    here = Asked().outages

    await here.turn(TEA, parcel())
    here.passed(TEA)

    assert not here


@pytest.mark.usefixtures("fast")
async def test_one_at_a_time_asks_whether_it_is_back() -> None:
    here = Asked().outages
    here.failed(TEA, parcel(), AWAY)

    async with asyncio.TaskGroup() as tasks:
        turns = [
            tasks.create_task(here.turn(key, parcel(key[1]))) for key in (TEA, BOOKS)
        ]
        await turns[0]
        await rest()
        assert not turns[1].done()
        here.passed(TEA)

    assert not here
    assert here.away() == {}


@pytest.mark.usefixtures("fast")
async def test_who_asks_in_vain_lets_the_next_one_ask() -> None:
    here = Asked().outages
    here.failed(TEA, parcel(), AWAY)
    await here.turn(TEA, parcel())

    here.failed(TEA, parcel(), AWAY)

    await here.turn(BOOKS, parcel("books"))
    assert list(here.away()) == [HOMESERVER]
    here.close()


@pytest.mark.usefixtures("fast")
async def test_who_finds_something_else_lets_the_next_one_ask_too() -> None:
    here = Asked().outages
    here.failed(TEA, parcel(), AWAY)
    await here.turn(TEA, parcel())

    assert here.failed(TEA, parcel(), Later(0.0)) is None

    await here.turn(BOOKS, parcel("books"))
    here.close()


async def test_who_gets_as_far_as_a_muc_has_found_the_server_there() -> None:
    """Else all of XMPP would wait for a MUC that a fallen server has forgotten."""
    here = Asked().outages
    here.failed(TEA, parcel(), AWAY)
    here.hasten(Network.MATRIX)
    await here.turn(TEA, parcel())

    here.failed(TEA, parcel(), FAR)

    assert list(here.away()) == ["muc.example"]
    await here.turn(BOOKS, parcel("books"))
    here.close()


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("found", [AWAY, Later(0.0)])
async def test_who_asks_for_a_muc_and_finds_no_server_asks_for_both_again(
    found: Later,
) -> None:
    here = Asked().outages
    here.failed(TEA, parcel(), FAR)
    await here.turn(TEA, parcel())
    here.failed(BOOKS, parcel("books"), AWAY)
    here.failed(TEA, parcel(), found)

    await here.turn(BOOKS, parcel("books"))
    here.passed(BOOKS)
    await here.turn(TEA, parcel())

    assert list(here.away()) == ["muc.example"]
    here.close()


@pytest.mark.usefixtures("slow")
async def test_signs_that_it_is_back_end_the_wait() -> None:
    here = Asked().outages
    here.failed(TEA, parcel(), AWAY)

    async with asyncio.TaskGroup() as tasks:
        turn = tasks.create_task(here.turn(TEA, parcel()))
        await rest()
        assert not turn.done()
        here.hasten(Network.XMPP)
        await rest()
        assert not turn.done()
        here.hasten(Network.MATRIX)

    here.close()


@pytest.mark.usefixtures("slow")
async def test_a_muc_that_is_back_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outages, "FAR_PAUSE_S_MAX", 1000.0)
    here = Asked().outages
    here.failed(TEA, parcel(), FAR)

    async with asyncio.TaskGroup() as tasks:
        turn = tasks.create_task(here.turn(TEA, parcel()))
        await rest()
        here.back("another.example")
        await rest()
        assert not turn.done()
        here.back("muc.example")

    here.close()


@pytest.mark.usefixtures("slow")
async def test_a_far_server_that_is_away_holds_up_only_who_wants_it() -> None:
    here = Asked().outages
    here.failed(TEA, parcel(), FAR)

    await here.turn(BOOKS, parcel("books"))

    assert list(here.away()) == ["muc.example"]
    here.passed(TEA)
    assert not here


async def test_all_who_wait_for_a_far_server_go_on_when_it_is_back() -> None:
    here = Asked().outages
    here.failed(TEA, parcel(), FAR)
    here.failed(BOOKS, parcel("books"), FAR)

    here.passed(BOOKS)

    await here.turn(TEA, parcel())
    assert not here


@pytest.mark.usefixtures("slow")
async def test_who_waits_for_long_is_told_once_in_each_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Asked()
    monkeypatch.setattr(outages, "NOTICE_S", 0.005)
    asked.outages.failed(TEA, parcel(), AWAY)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asked.outages.turn(TEA, parcel()))
        await asyncio.sleep(0.02)
        tasks.create_task(asked.outages.turn(BOOKS, parcel("books")))
        quiet: Key = (Network.MATRIX, "quiet")
        tasks.create_task(asked.outages.turn(quiet, None))
        await asyncio.sleep(0.02)
        asked.outages.close()

    assert [lane for lane, _ in asked.told] == ["tea", "books"]
    assert "the homeserver has been away" in asked.told[0][1]


@pytest.mark.usefixtures("slow")
async def test_what_is_away_again_at_once_was_never_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Asked()
    monkeypatch.setattr(outages, "NOTICE_S", 0.0)
    for _ in range(3):
        asked.outages.failed(TEA, parcel(), AWAY)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asked.outages.turn(TEA, parcel()))
            await rest()
            asked.outages.passed(TEA)

    assert len(asked.told) == 1


async def test_of_very_many_that_were_away_the_first_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outages, "ENDED_MAX", 3)
    here = Asked().outages
    for number in range(10):
        here.failed(TEA, parcel(), Later(0.0, f"{number}@muc.example"))
        here.passed(TEA)

    assert list(here._ended) == [f"{n}@muc.example" for n in (7, 8, 9)]


async def test_what_is_put_off_for_too_long_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Asked()
    loop = asyncio.get_running_loop()
    began = loop.time()
    now = [began]
    monkeypatch.setattr(loop, "time", lambda: now[0])

    def put_off(at_s: float, number: int = 1) -> Refused | None:
        now[0] = began + at_s
        return asked.outages.failed(TEA, parcel(number=number), Later(0.0))

    assert put_off(0) is None
    assert put_off(NOTICE_S - 1) is None
    assert asked.told == []
    assert put_off(NOTICE_S) is None
    assert put_off(NOTICE_S + 1) is None
    assert len(asked.told) == 1
    assert put_off(BLOCKED_S_MAX - 1, number=2) is None
    assert put_off(BLOCKED_S_MAX, number=2) is None
    given_up = put_off(2 * BLOCKED_S_MAX, number=2)
    assert given_up == Refused(Refusal.UNREACHABLE, "it was put off for too long")
    assert not asked.outages


@pytest.mark.usefixtures("fast")
async def test_what_waits_for_the_homeserver_arrives_in_order(world: World) -> None:
    world.matrix.answers = [AWAY, AWAY, AWAY]

    for number in (1, 2, 3):
        await world.comes(said(TEA_XMPP, str(number), number=number))
    await world.settles()

    assert world.matrix.said() == ["1", "2", "3"]
    assert world.dispatch.away() == {}


@pytest.mark.usefixtures("slow")
async def test_once_closed_nobody_waits_for_what_is_away(world: World) -> None:
    world.matrix.answers = [AWAY]
    await world.comes(said(TEA_XMPP, "one"))
    await rest()
    assert list(world.dispatch.away()) == [HOMESERVER]

    world.dispatch.close()
    await world.settles()

    assert world.matrix.said() == []
    assert len(await world.store.lanes_pending()) == 1


async def test_a_message_that_blocks_its_room_dies_and_its_sender_hears_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "BLOCKED_S_MAX", 0.0)
    world.matrix.answers = [Later(0.0)]

    await world.comes(said(TEA_XMPP, "one", number=1))
    await world.comes(said(TEA_XMPP, "two", number=2))
    await world.settles()

    assert world.matrix.said() == ["two"]
    assert world.xmpp.said() == [Refusal.UNREACHABLE.value]
    assert len(await world.store.letters("", 0, 9)) == 1


async def test_those_who_wait_read_it_in_their_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "NOTICE_S", 0.0)
    monkeypatch.setattr(outages, "PAUSE_S_MIN", 0.001)
    world.matrix.answers = [AWAY, AWAY]

    await world.comes(said(TEA_XMPP, "one"))
    await world.settles()

    (words,) = world.xmpp.said()
    assert words.startswith("Waiting: the homeserver has been away for 0 minutes.")
    assert world.matrix.said() == ["one"]
