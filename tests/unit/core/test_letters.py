import asyncio
from dataclasses import replace

import pytest

from bridge.core import dispatch
from bridge.core.letters import (
    KEPT_MS,
    LANE_MAX,
    TOTAL_MAX,
    expired,
    is_revivable,
    letter_of,
    parcels_of,
)
from bridge.core.ports import Unit
from bridge.model.delivery import Later, Outcome, Parcel, Refusal, Refused, Wire
from bridge.model.events import Protection
from bridge.model.places import Network, PortalId, Room
from bridge.model.records import DeadLetter, Kind
from tests.conftest import World, said
from tests.fakes import TEA, TEA_MATRIX, TEA_XMPP

PARTS = [
    Parcel(4, Network.MATRIX, "1", Wire("a", b"\x00\xff"), b"r", last=False, seq=9),
    Parcel(5, Network.MATRIX, "1", Wire("b", b"two", archived=True), b"r", seq=9),
]
REJECTED = Refused(Refusal.REJECTED, "413")


def letter(number: int, *, lane: str = "1", died_ms: int = 0) -> DeadLetter:
    made = letter_of(number, PARTS, TEA_MATRIX, REJECTED, died_ms)
    return replace(made, lane=lane)


async def test_what_was_refused_is_kept_whole(world: World) -> None:
    world.matrix.answers = [REJECTED]

    await world.happens(said(TEA_XMPP, "one"))

    (kept,) = await world.store.load(DeadLetter)
    assert (kept.why, kept.detail, kept.room) == (
        "REJECTED",
        b"413",
        TEA_MATRIX.address,
    )
    assert kept.portal == TEA.id


@pytest.mark.parametrize(
    "answer", [Refused(Refusal.NOT_ALLOWED), Refused(Refusal.MALFORMED)]
)
async def test_what_can_never_arrive_is_not_kept(
    world: World, answer: Outcome | Later
) -> None:
    world.matrix.answers = [answer]

    await world.happens(said(TEA_XMPP, "one"))

    assert await world.store.load(DeadLetter) == []


async def test_the_words_of_the_bridge_itself_are_not_kept(world: World) -> None:
    world.matrix.answers = [REJECTED]

    world.dispatch.later(TEA_MATRIX, world.matrix.notice(TEA_MATRIX, "hello"))
    await world.settles()

    assert await world.store.load(DeadLetter) == []


async def test_what_came_back_late_is_kept_too(world: World) -> None:
    await world.happens(said(TEA_MATRIX, "hello"))
    (parcel,) = world.xmpp.sent

    world.dispatch.regret(parcel, Refused(Refusal.UNREACHABLE))
    await world.settles()

    assert [one.why for one in await world.store.load(DeadLetter)] == ["UNREACHABLE"]


def test_a_letter_becomes_the_parcels_that_it_was_made_of() -> None:
    numbers = iter((11, 12))

    made = parcels_of(letter(3), lambda: next(numbers))

    assert made == [replace(PARTS[0], id=11), replace(PARTS[1], id=12)]
    assert is_revivable(PARTS[0], REJECTED)


async def test_what_was_refused_as_it_would_be_exposed_is_sent_when_it_may(
    world: World,
) -> None:
    secrets = [
        replace(said(TEA_MATRIX, f"{n}", number=n), protection=Protection.END_TO_END)
        for n in (1, 2)
    ]
    for secret in secrets:
        await world.happens(secret)
    unit = Unit()

    assert await world.dispatch.retry(TEA, Refusal.WOULD_EXPOSE, unit) == 0
    world.directory.put(replace(TEA, exposed=True), unit)
    assert await world.dispatch.retry(TEA, Refusal.REJECTED, unit) == 0
    assert await world.dispatch.retry(TEA, Refusal.WOULD_EXPOSE, unit) == 2
    await world.dispatch.commit(unit)
    await world.settles()

    assert world.xmpp.said() == ["1", "2"]
    assert [one.wire.key for one in world.xmpp.sent] == ["somebody-1", "somebody-2"]
    assert await world.store.load(DeadLetter) == []
    assert world.dispatch.counters.counts() == {
        "refused WOULD_EXPOSE": 2,
        "dead WOULD_EXPOSE": 2,
        "revived": 2,
    }


@pytest.mark.parametrize("kind", Kind)
async def test_where_it_is_sealed_on_its_way_out_it_is_sent_again(
    world: World, kind: Kind
) -> None:
    world.directory.put(replace(TEA, kind=kind), Unit())
    world.xmpp.protects = Protection.END_TO_END
    world.xmpp.answers = [Refused(Refusal.WOULD_EXPOSE, "only contacts")]
    secret = replace(said(TEA_MATRIX, "hush"), protection=Protection.END_TO_END)
    await world.happens(secret)
    assert len(await world.store.load(DeadLetter)) == 1

    world.dispatch.revive(TEA_XMPP)
    world.dispatch.revive(Room(Network.XMPP, "nowhere"))
    await world.settles()

    assert [one.wire.key for one in world.xmpp.sent] == ["somebody-1"] * 2
    assert await world.store.load(DeadLetter) == []


async def test_where_the_room_is_encrypted_by_now_it_is_sent_again(
    world: World,
) -> None:
    secret = replace(said(TEA_XMPP, "hush"), protection=Protection.END_TO_END)
    await world.happens(secret)
    unit = Unit()
    assert await world.dispatch.retry(TEA, Refusal.WOULD_EXPOSE, unit) == 0

    world.matrix.protects = Protection.END_TO_END
    assert await world.dispatch.retry(TEA, Refusal.WOULD_EXPOSE, unit) == 1
    await world.dispatch.commit(unit)
    await world.settles()

    assert world.matrix.said() == ["hush"]


async def test_what_is_refused_just_as_it_is_allowed_is_sent_after_all(
    world: World,
) -> None:
    """It was on its way when the letters were read."""
    allowed, sent = replace(TEA, exposed=True), asyncio.Event()
    world.matrix.answers = [Later(0.05), Refused(Refusal.WOULD_EXPOSE)]
    world.matrix.on_send = sent.set

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(world.happens(said(TEA_XMPP, "hush")))
        await sent.wait()
        world.directory.put(allowed, Unit())
        await world.dispatch.retry(allowed, Refusal.WOULD_EXPOSE, Unit())
    await world.settles()

    assert world.matrix.said() == ["hush", "hush"]
    assert await world.store.load(DeadLetter) == []


async def test_what_is_refused_is_waited_for_before_letters_are_read(
    world: World,
) -> None:
    allowed, unit = replace(TEA, exposed=True), Unit()
    world.directory.put(allowed, unit)
    refused = replace(letter(7, lane=str(TEA.id)), portal=TEA.id, why="WOULD_EXPOSE")
    burying = world.dispatch.commit(Unit(put=[refused]))

    assert await world.dispatch.retry(allowed, Refusal.WOULD_EXPOSE, unit) == 1
    assert burying.done()


async def test_what_cannot_be_written_down_is_revived_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def mended(_: float) -> None:
        world.store.broken = False

    monkeypatch.setattr(dispatch, "sleep", mended)
    refused = replace(letter(7, lane=str(TEA.id)), portal=TEA.id, why="WOULD_EXPOSE")
    await world.store.commit(Unit(put=[refused]))
    world.matrix.protects = Protection.END_TO_END
    world.store.broken = True

    world.dispatch.revive(TEA_XMPP)
    await asyncio.sleep(0.001)
    await world.settles()

    assert [one.wire.key for one in world.matrix.sent] != []
    assert await world.store.load(DeadLetter) == []


async def test_a_letter_that_two_read_is_sent_once(world: World) -> None:
    world.directory.put(replace(TEA, exposed=True), Unit())
    one = replace(letter(7, lane=str(TEA.id)), portal=TEA.id)
    await world.store.commit(Unit(put=[one]))
    first, second = Unit(), Unit()

    assert await world.dispatch.retry(TEA, Refusal.REJECTED, first) == 1
    assert await world.dispatch.retry(TEA, Refusal.REJECTED, second) == 0
    world.dispatch.letters.spare(first)

    assert await world.dispatch.retry(TEA, Refusal.REJECTED, second) == 1


async def test_what_belongs_to_no_portal_any_more_stays_refused(world: World) -> None:
    made = replace(letter(1), why="WOULD_EXPOSE", portal=PortalId(99))

    assert not world.dispatch.letters.revive(made, Unit())


def test_what_is_too_old_is_thrown_away() -> None:
    old, new = letter(1), letter(2, died_ms=2)

    assert expired([old, new], KEPT_MS + 1) == [old]


def test_one_conversation_does_not_fill_the_office() -> None:
    noisy = [letter(n) for n in range(LANE_MAX + 2)]
    quiet = letter(LANE_MAX + 2, lane="2")

    assert expired([*noisy, quiet], 0) == noisy[:2]


def test_all_of_them_together_do_not_either() -> None:
    letters = [letter(n, lane=str(n)) for n in range(TOTAL_MAX + 1)]

    assert expired(letters, 0) == letters[:1]


async def test_portals_that_are_gone_leave_their_letters(world: World) -> None:
    gone = replace(letter(3), portal=PortalId(99), why="WOULD_EXPOSE")

    assert not world.dispatch.letters.revive(gone, Unit())
    assert world.dispatch.letters.revive(replace(gone, why="REJECTED"), Unit())


async def test_a_broken_letter_ends_nothing_else(world: World) -> None:
    made = letter(7, lane=str(TEA.id))
    broken = replace(made, why="WOULD_EXPOSE", portal=TEA.id, wires=b"{")
    await world.store.commit(Unit(put=[broken]))
    world.matrix.protects = Protection.END_TO_END

    world.dispatch.revive(TEA_MATRIX)
    await world.settles()
    await world.happens(said(TEA_MATRIX, "one"))

    assert [one.wire.key for one in world.xmpp.sent] != []
