import asyncio
from dataclasses import replace

import pytest

from bridge.core import office
from bridge.core.letters import KEPT_MS, now_ms
from bridge.core.office import SHOWN_MAX, Office
from bridge.core.ports import Unit
from bridge.model.delivery import Refusal, Refused
from bridge.model.events import Protection, Rank
from bridge.model.places import Network
from bridge.model.records import DeadLetter, Kind, Wish
from tests.conftest import World, said
from tests.fakes import TEA, TEA_MATRIX, TEA_XMPP
from tests.unit.core.test_commands import command

REJECTED = Refused(Refusal.REJECTED, "413")


def office_of(world: World) -> Office:
    return Office(world.store, world.directory, world.dispatch)


async def die(world: World, count: int = 1, start: int = 1) -> list[int]:
    """Let some messages from XMPP die, and name their letters."""
    for number in range(start, start + count):
        world.matrix.answers = [REJECTED]
        await world.happens(said(TEA_XMPP, f"words {number}", number=number))
    world.matrix.sent.clear()
    world.xmpp.sent.clear()
    return [letter.id for letter in await world.store.letters("", 0, 999)]


async def ask(world: World, words: str, rank: Rank = Rank.ADMIN) -> str:
    world.matrix.sent.clear()
    await world.happens(command(TEA_MATRIX, words, rank))
    return world.matrix.said()[0]


async def test_what_did_not_arrive_is_listed_without_what_it_says(
    world: World,
) -> None:
    one, two = await die(world, 2)

    listed = await ask(world, "dead list")

    assert f"{one}: to {TEA_MATRIX.address}, 0 min ago" in listed
    assert f"{two}: " in listed
    assert "rejected the message (413)" in listed
    assert "words" not in listed
    assert "!xmpp dead list" in listed


async def test_only_the_newest_are_shown(world: World) -> None:
    numbers = await die(world, SHOWN_MAX + 1)

    listed = await ask(world, "dead")

    assert listed.startswith(f"The newest {SHOWN_MAX} of {SHOWN_MAX + 1}:")
    assert f"\n{numbers[0]}: " not in listed


async def test_nothing_is_listed_where_all_arrived(world: World) -> None:
    assert await ask(world, "dead list") == "Nothing of this room waits undelivered."


async def test_a_letter_goes_to_the_end_of_its_lane_under_its_old_key(
    world: World,
) -> None:
    numbers = await die(world, 2)

    await world.happens(command(TEA_MATRIX, f"dead retry {numbers[0]}"))

    assert [p.wire.key for p in world.matrix.sent] == [
        "somebody-1",
        "notice 1 of 1 will be sent again.",
    ]
    assert [one.id for one in await world.store.load(DeadLetter)] == numbers[1:]


async def test_all_of_a_room_are_sent_again_or_dropped_at_once(world: World) -> None:
    await die(world, 2)
    await world.happens(command(TEA_MATRIX, "dead retry all"))
    said_again = world.matrix.said()[:2]
    await die(world, 2, start=3)
    dropped = await ask(world, "dead drop all")

    assert said_again == ["words 1", "words 2"]
    assert dropped == "2 of 2 dropped."
    assert await world.store.load(DeadLetter) == []


async def test_only_admins_may_see_them(world: World) -> None:
    await die(world)

    answer = await ask(world, "dead retry all", Rank.MODERATOR)

    assert answer == "Only admins of this room may see what did not arrive."
    assert len(await world.store.load(DeadLetter)) == 1


async def test_whoever_writes_from_xmpp_may_see_those_of_their_chat(
    world: World,
) -> None:
    world.directory.put(replace(TEA, kind=Kind.DIRECT), Unit())
    await die(world)

    await world.happens(command(TEA_XMPP, "dead list", Rank.GUEST))
    answer = await ask(world, "dead list", Rank.GUEST)

    assert "!matrix dead list" in world.xmpp.said()[0]
    assert answer.startswith("Only admins")


async def test_what_is_asked_wrongly_is_explained(world: World) -> None:
    assert "dead list, dead retry NUMBER" in await ask(world, "dead eat 7")
    assert "There is no undelivered message 7" in await ask(world, "dead retry 7")


async def test_no_retry_lets_anything_leave_in_the_clear(world: World) -> None:
    secret = said(TEA_MATRIX, "secret")
    await world.happens(replace(secret, protection=Protection.END_TO_END))

    answer = await ask(world, "dead retry all")

    assert answer.startswith("0 of 1 will be sent again. 1 would go on in the clear")
    assert world.xmpp.sent == []


async def test_what_the_command_line_wishes_is_done_once(world: World) -> None:
    one, two, three = await die(world, 3)
    wishes = [Wish(one, "retry"), Wish(two, "drop"), Wish(999, "retry")]
    await world.store.commit(Unit(put=list(wishes)))

    await office_of(world).grant()
    await world.settles()

    assert world.matrix.said() == ["words 1"]
    assert [letter.id for letter in await world.store.load(DeadLetter)] == [three]
    assert await world.store.load(Wish) == []


async def test_a_wish_that_cannot_be_written_down_is_granted_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (letter,) = await die(world)
    await world.store.commit(Unit(put=[Wish(letter, "retry")]))
    pauses = 0

    async def mended(_: float) -> None:
        nonlocal pauses
        pauses += 1
        world.store.broken = pauses < 3
        await asyncio.sleep(0)

    monkeypatch.setattr(office, "sleep", mended)
    world.store.broken = True

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(office_of(world).run())
        while await world.store.load(Wish):  # noqa: ASYNC110 - no event comes of it
            await asyncio.sleep(0)
        running.cancel()
    await world.settles()

    assert world.matrix.said() == ["words 1"]
    assert await world.store.load(DeadLetter) == []


async def test_a_wish_about_a_broken_letter_does_not_end_the_bridge(
    world: World,
) -> None:
    (number,) = await die(world)
    (letter,) = await world.store.load(DeadLetter)
    broken = replace(letter, wires=b"{")
    await world.store.commit(Unit(put=[broken, Wish(number, "retry")]))

    await office_of(world).grant()

    assert await world.store.load(Wish) == []
    assert await world.store.load(DeadLetter) == [broken]


async def test_letters_that_cannot_be_read_do_not_end_the_bridge(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unread(*_: object) -> None:
        raise ValueError("no such thing")

    looked = asyncio.Event()

    async def looks(_: float) -> None:
        looked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(world.store, "letters", unread)
    monkeypatch.setattr(office, "sleep", looks)

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(office_of(world).run())
        await looked.wait()
        running.cancel()


async def test_what_is_too_old_is_swept_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await die(world)
    await office_of(world).sweep()
    assert len(await world.store.load(DeadLetter)) == 1
    later = now_ms() + KEPT_MS + 1
    monkeypatch.setattr(office, "now_ms", lambda: later)

    await office_of(world).sweep()

    assert await world.store.load(DeadLetter) == []


async def test_it_sweeps_each_hour_and_when_many_have_died(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(office, "LANE_MAX", 3)
    here = office_of(world)
    assert here._sweep_due()

    await here.sweep()
    assert not here._sweep_due()
    await die(world, 3)

    assert here._sweep_due()


async def test_it_looks_again_and_again_even_if_the_disk_fails(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = 0

    async def at_once(_: float) -> None:
        nonlocal rounds
        rounds += 1
        world.store.broken = rounds < 3
        await asyncio.sleep(0)

    monkeypatch.setattr(office, "sleep", at_once)
    await world.store.commit(Unit(put=[Wish(1, "drop")]))
    world.store.broken = True

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(office_of(world).run())
        while await world.store.load(Wish):  # noqa: ASYNC110 - no event comes of it
            await asyncio.sleep(0)
        running.cancel()

    assert rounds >= 3


def test_old_letters_are_described_by_hours_and_days() -> None:
    letter = DeadLetter(7, Network.XMPP, "1", TEA.id, "a@b", "GONE_BY_NOW", 0, 1)

    assert office.describe(letter, 2 * 3600_000) == "7: to a@b, 2 h ago: GONE_BY_NOW"
    assert "3 days ago" in office.describe(letter, 3 * 24 * 3600_000)
