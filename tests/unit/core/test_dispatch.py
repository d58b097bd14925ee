import asyncio
from collections.abc import Sequence

import pytest

from bridge.core import dispatch, outages
from bridge.core.dispatch import Dispatch
from bridge.core.lanes import BATCH_MAX
from bridge.core.ports import Adapter, StoreUnavailableError, Unit
from bridge.model.delivery import (
    Delivered,
    Later,
    Outcome,
    Parcel,
    Refusal,
    Refused,
    Wire,
)
from bridge.model.places import Network, Ref, Room
from bridge.model.records import Cursor
from tests.conftest import World, said
from tests.fakes import TEA, TEA_MATRIX, TEA_XMPP


async def test_what_cannot_be_sent_yet_is_sent_again_in_order(world: World) -> None:
    world.matrix.answers = [Later(0.001), Later(0.001)]

    await world.comes(said(TEA_XMPP, "one", number=1))
    await world.comes(said(TEA_XMPP, "two", number=2))
    await world.settles()

    assert world.matrix.said() == ["one", "two"]


async def test_what_is_noted_does_not_overtake_what_could_not_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = asyncio.Event()

    async def wait(_: float) -> None:
        await again.wait()

    monkeypatch.setattr(dispatch, "sleep", wait)
    cursor = Cursor("muc", "tea", "2")
    world.store.broken = True
    world.dispatch.later(TEA_XMPP, [Wire("key", b"words")])
    await asyncio.sleep(0.001)
    world.store.broken = False

    world.dispatch.note(cursor)
    await asyncio.sleep(0.001)
    before = await world.store.load(Cursor)
    again.set()
    await world.settles()

    assert before == []
    assert await world.store.load(Cursor) == [cursor]
    assert world.xmpp.said() == ["words"]


async def test_one_message_that_is_refused_does_not_stop_the_next(
    world: World,
) -> None:
    """Row 11."""
    world.matrix.answers = [Refused(Refusal.REJECTED, "413")]

    await world.comes(said(TEA_XMPP, "one", number=1))
    await world.comes(said(TEA_XMPP, "two", number=2))
    await world.settles()

    assert world.matrix.said() == ["one", "two"]
    assert world.xmpp.said() == [Refusal.REJECTED.value]


async def test_what_was_not_sent_for_sure_is_sent_after_a_crash(world: World) -> None:
    unit = Unit()
    wires = world.xmpp.prepare(said(TEA_MATRIX, "hello"), None)  # type: ignore[arg-type]
    assert not isinstance(wires, Refusal)
    world.dispatch.add(unit, TEA_XMPP, wires, receipt=b"receipt")
    await world.store.commit(unit)

    await world.dispatch.start()
    await world.settles()

    assert world.xmpp.said() == ["hello"]


async def test_the_sender_hears_of_what_came_back_late(world: World) -> None:
    await world.happens(said(TEA_MATRIX, "hello"))

    (parcel,) = world.xmpp.sent
    world.dispatch.regret(parcel, Refused(Refusal.UNREACHABLE))
    await world.settles()

    assert world.matrix.said() == [Refusal.UNREACHABLE.value]


async def test_nothing_is_left_on_disk_when_all_has_arrived(world: World) -> None:
    await world.happens(said(TEA_XMPP, "hello"))

    assert await world.store.lanes_pending() == []
    assert await world.store.rooms_waiting() == []


async def test_the_words_of_the_bridge_itself_are_safe_on_disk_too(
    world: World,
) -> None:
    world.dispatch.later(TEA_XMPP, world.xmpp.notice(TEA_XMPP, "good morning"))
    await world.settles()

    assert world.xmpp.said() == ["good morning"]
    assert world.dispatch.depth() == 0
    assert world.xmpp.sent[0].network is Network.XMPP


async def test_the_people_of_the_other_side_are_told_of_what_did_not_come(
    world: World,
) -> None:
    world.dispatch.warn(TEA_XMPP, "something is lost")
    world.dispatch.warn(Room(Network.XMPP, "nowhere@muc.example"), "nobody asks")
    await world.settles()

    assert world.matrix.said() == ["something is lost"]
    assert world.xmpp.said() == []


async def test_what_an_earlier_run_left_goes_first(world: World) -> None:
    """Both sides may write to us before we have looked at what lies on disk."""
    async with asyncio.TaskGroup() as tasks:
        adapters: dict[Network, Adapter] = {Network.XMPP: world.xmpp}
        made = Dispatch(adapters, world.store, world.directory, tasks)
        earlier = Unit()
        made.add(earlier, TEA_XMPP, world.xmpp.notice(TEA_XMPP, "one"))
        await world.store.commit(earlier)

        made.later(TEA_XMPP, world.xmpp.notice(TEA_XMPP, "two"))
        for _ in range(5):
            await asyncio.sleep(0)
        await made.start()
        await made.wait_empty()

    assert world.xmpp.said() == ["one", "two"]


async def test_what_cannot_be_written_down_is_written_later_and_settled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def mended(_: float) -> None:
        world.matrix.on_send = lambda: None
        world.store.broken = False

    monkeypatch.setattr(dispatch, "sleep", mended)
    world.matrix.answers = [Refused(Refusal.REJECTED)]
    world.matrix.on_send = world.store.break_down
    await world.happens(said(TEA_XMPP, "hello"))
    await world.settles()

    assert await world.store.lanes_pending() == []
    assert world.xmpp.said() == [Refusal.REJECTED.value]


async def at_once(_: float) -> None:
    await asyncio.sleep(0)


async def test_what_breaks_its_sender_is_tried_again_then_refused_in_words(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "sleep", at_once)
    world.matrix.poison = "poison"
    for number, words in enumerate(("one", "poison", "two"), 1):
        await world.comes(said(TEA_XMPP, words, number=number))
    await world.settles()

    assert world.matrix.said() == ["one", "two"]
    assert world.xmpp.said() == [Refusal.REJECTED.value]
    assert await world.store.lanes_pending() == []


async def test_a_sender_that_cannot_read_the_disk_is_asked_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "sleep", at_once)
    world.matrix.failures = [StoreUnavailableError("gone")] * 5
    await world.happens(said(TEA_XMPP, "hello"))

    assert world.matrix.said() == ["hello"]


async def test_what_waits_for_code_that_was_replaced_is_never_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A library that is loaded late is another one after an upgrade."""
    monkeypatch.setattr(dispatch, "LOADED_AGAIN_S", 0.0)
    monkeypatch.setattr(outages, "PAUSE_S_MIN", 0.001)
    monkeypatch.setattr(outages, "FAR_PAUSE_S_MAX", 0.001)
    world.matrix.failures = [ImportError("no such name")] * (dispatch.TRIES_MAX + 2)
    await world.happens(said(TEA_XMPP, "hello"))

    assert world.matrix.said() == ["hello"]
    assert world.xmpp.said() == []
    assert "restart the bridge" in caplog.text


async def test_a_sender_that_says_nothing_is_asked_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "sleep", at_once)
    send = world.matrix.send
    silences = [1, 1]

    async def silent(parcels: Sequence[Parcel]) -> Sequence[Outcome | Later]:
        return [] if silences and silences.pop() else await send(parcels)

    monkeypatch.setattr(world.matrix, "send", silent)

    await world.happens(said(TEA_XMPP, "hello"))

    assert world.matrix.said() == ["hello"]


async def test_once_closed_it_does_not_wait_for_the_disk(world: World) -> None:
    world.dispatch.close()
    world.store.broken = True

    world.dispatch.later(TEA_XMPP, world.xmpp.notice(TEA_XMPP, "too late"))
    for _ in range(5):
        await asyncio.sleep(0)

    async with asyncio.timeout(1):
        await world.dispatch.wait_empty()


async def test_once_closed_what_relies_on_what_was_not_written_is_not_either(
    world: World,
) -> None:
    """A mark behind what a MUC has shown would have it sent again (seed 61275)."""
    world.dispatch.close()
    world.store.broken = True
    world.dispatch.later(TEA_XMPP, world.xmpp.notice(TEA_XMPP, "too late"))
    for _ in range(5):
        await asyncio.sleep(0)
    world.store.broken = False

    world.dispatch.note(Cursor("muc", "tea", "2"))
    for _ in range(5):
        await asyncio.sleep(0)

    assert await world.store.load(Cursor) == []


async def test_once_closed_nothing_is_sent_that_waited_for_the_disk(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it was sent could not be written down: the next run would do it again."""
    again = asyncio.Event()

    async def wait(_: float) -> None:
        await again.wait()

    monkeypatch.setattr(dispatch, "sleep", wait)
    world.store.broken = True
    world.dispatch.later(TEA_XMPP, world.xmpp.notice(TEA_XMPP, "first"))
    for _ in range(5):
        await asyncio.sleep(0)
    world.store.broken = False
    unit = Unit()
    world.dispatch.add(unit, TEA_XMPP, world.xmpp.notice(TEA_XMPP, "second"))
    await world.dispatch.commit(unit)
    for _ in range(5):
        await asyncio.sleep(0)

    world.store.broken = True
    world.dispatch.close()
    again.set()
    await world.dispatch.wait_empty()

    assert world.xmpp.said() == []
    assert await world.store.lanes_pending() == [(Network.XMPP, str(TEA.id))]


IN_PARTS = (Wire("part-1", b"one"), Wire("part-2", b"two"), Wire("part-3", b"three"))


async def send_in_parts(world: World) -> None:
    """Let a message in three parts go out to Matrix, and one behind it."""
    unit = Unit()
    world.dispatch.add(unit, TEA_MATRIX, IN_PARTS, receipt=b"receipt", seq=7)
    world.dispatch.add(unit, TEA_MATRIX, [Wire("next", b"next")], seq=8)
    await world.dispatch.commit(unit)
    await world.settles()


@pytest.mark.parametrize(
    ("answers", "arrives"),
    [
        ([Refused(Refusal.REJECTED)], ["one", "next"]),
        ([Delivered(), Refused(Refusal.REJECTED)], ["one", "two", "next"]),
        ([Later(0.001), Refused(Refusal.REJECTED)], ["one", "next"]),
        (
            [Delivered(), Delivered(), Refused(Refusal.REJECTED)],
            ["one", "two", "three", "next"],
        ),
    ],
)
async def test_of_a_message_in_parts_nothing_follows_a_part_that_was_refused(
    world: World, answers: list[Outcome | Later], arrives: list[str]
) -> None:
    world.matrix.answers = answers

    await send_in_parts(world)

    assert world.matrix.said() == arrives
    assert world.xmpp.said() == [Refusal.REJECTED.value]
    assert await world.store.lanes_pending() == []


async def test_parts_are_sent_one_by_one_so_that_a_refusal_can_stop_them(
    world: World,
) -> None:
    """Whoever sends several at once hears of a refusal when all have left."""
    batches: list[int] = []
    world.matrix.on_send = lambda: batches.append(len(world.matrix.sent))

    await send_in_parts(world)

    assert batches == [0, 1, 2]
    assert world.matrix.said() == ["one", "two", "three", "next"]
    assert [outcome for _, outcome in world.xmpp.settled] == [
        Delivered((Ref(Network.MATRIX, "far-part-3"),))
    ]


async def test_the_parts_left_are_given_up_in_the_commit_of_the_refusal(
    world: World,
) -> None:
    """A crash right after it must not deliver them."""
    world.matrix.answers = [Refused(Refusal.REJECTED)]

    await send_in_parts(world)

    (given_up,) = [unit for unit in world.store.units if len(unit.sent) == 3]
    assert [parcel.wire.key for parcel in given_up.sent] == [
        "part-1",
        "part-2",
        "part-3",
    ]


async def test_a_refused_part_is_sent_again_if_its_rest_cannot_be_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "sleep", at_once)
    readings = [StoreUnavailableError("gone")]
    read = world.store.pending

    async def pending(
        network: Network, lane: str, after: int, limit: int
    ) -> Sequence[Parcel]:
        if readings:
            raise readings.pop()
        return await read(network, lane, after, limit)

    monkeypatch.setattr(world.store, "pending", pending)
    world.matrix.answers = [Refused(Refusal.REJECTED), Refused(Refusal.REJECTED)]

    await send_in_parts(world)

    assert world.matrix.said() == ["one", "one", "next"]
    assert world.xmpp.said() == [Refusal.REJECTED.value]


async def test_no_part_is_forgotten_however_many_there_are(world: World) -> None:
    world.matrix.answers = [Refused(Refusal.REJECTED)]
    unit = Unit()
    many = [Wire(f"part-{number}", b"part") for number in range(3 * BATCH_MAX)]
    world.dispatch.add(unit, TEA_MATRIX, many, receipt=b"receipt", seq=7)
    world.dispatch.add(unit, TEA_MATRIX, [Wire("next", b"next")], seq=8)
    await world.dispatch.commit(unit)
    await world.settles()

    assert world.matrix.said() == ["part", "next"]
    assert await world.store.lanes_pending() == []


async def test_what_comes_late_behind_parts_given_up_is_not_left_out(
    world: World,
) -> None:
    """Its number is older than theirs, as it could not be written down at first."""
    world.matrix.answers = [Refused(Refusal.REJECTED)]
    older, unit = Unit(), Unit()
    world.dispatch.add(older, TEA_MATRIX, [Wire("older", b"older")])
    world.dispatch.add(unit, TEA_MATRIX, IN_PARTS, receipt=b"receipt", seq=7)

    await asyncio.gather(world.dispatch.commit(unit), world.dispatch.commit(older))
    await world.settles()

    assert world.matrix.said() == ["one", "older"]
    assert await world.store.lanes_pending() == []
