import asyncio
from collections.abc import AsyncIterator

import pytest

from bridge.model.delivery import Later, Refusal, Refused
from bridge.model.records import Puppet
from bridge.xmpp.codec.names import Jid
from bridge.xmpp.codec.presence import Seen
from bridge.xmpp.occupancy import Occupancy
from bridge.xmpp.puppets import Puppets
from tests.unit.xmpp.elsewhere import ALICE, ALICES, BOB, BOBS, MUC, World, build

BARE = ALICES.partition("/")[0]


class PuppetsWorld(World):
    puppets: Puppets
    occupancy: Occupancy
    out: list[tuple[str, Seen]]


@pytest.fixture
async def world() -> AsyncIterator[PuppetsWorld]:
    async with asyncio.TaskGroup() as tasks:
        plain = build(tasks)
        made = PuppetsWorld(
            plain.means, plain.server, plain.host, plain.intake, plain.store
        )
        made.out = []
        made.occupancy = Occupancy(MUC)
        made.puppets = fresh(made)
        made.server.received = lambda stanza, sender, to: made.puppets.received(
            stanza, to.bare, sender.resource
        )
        yield made


def fresh(world: PuppetsWorld) -> Puppets:
    def put_out(mxid: str, seen: Seen) -> None:
        world.out.append((mxid, seen))

    return Puppets(MUC, world.means, world.occupancy, put_out)


def joins(world: World) -> list[str]:
    return [one.get("to", "").partition("/")[2] for one in world.server.written]


async def test_a_puppet_comes_in_once(world: PuppetsWorld) -> None:
    results = await asyncio.gather(
        *(world.puppets.ensure(ALICE.id, "Alice") for _ in range(3))
    )

    assert results == [None] * 3
    assert joins(world) == ["Alice"]


async def test_two_of_one_name_never_compete(world: PuppetsWorld) -> None:
    await asyncio.gather(
        world.puppets.ensure(ALICE.id, "Sam"), world.puppets.ensure(BOB.id, "Sam")
    )

    assert world.server.occupants == {"Sam": ALICES, "Sam[m]": BOBS}


async def test_after_three_suffixes_we_give_up(world: PuppetsWorld) -> None:
    for suffix in ("", "[m]", "[m]2", "[m]3"):
        world.server.occupants[f"Alice{suffix}"] = "other@else.example/x"

    trouble = await world.puppets.ensure(ALICE.id, "Alice")

    assert trouble == Refused(
        Refusal.REJECTED, "somebody else in the room bears your name"
    )
    assert joins(world) == ["Alice", "Alice[m]", "Alice[m]2", "Alice[m]3"]


@pytest.mark.parametrize(
    ("condition", "why", "words"),
    [
        ("forbidden", Refusal.NOT_ALLOWED, "banned"),
        ("registration-required", Refusal.NOT_ALLOWED, "members"),
        ("not-authorized", Refusal.NOT_ALLOWED, "password"),
        ("service-unavailable", Refusal.NOT_ALLOWED, "full"),
        ("item-not-found", Refusal.NO_SUCH_ROOM, "not open"),
        ("jid-malformed", Refusal.NO_SUCH_PERSON, "jid malformed"),
    ],
)
async def test_why_somebody_may_not_come_in_is_said(
    world: PuppetsWorld, condition: str, why: Refusal, words: str
) -> None:
    """XEP-0045 §7.2."""
    world.server.refuses[BARE] = condition

    trouble = await world.puppets.ensure(ALICE.id, "Alice")

    assert isinstance(trouble, Refused)
    if why is not Refusal.NO_SUCH_PERSON:
        assert trouble.why is why
    assert words in trouble.detail


async def test_without_a_stream_nobody_comes_in_yet(world: PuppetsWorld) -> None:
    world.server.connected = False

    assert await world.puppets.ensure(ALICE.id, "Alice") == Later(1.0)


async def test_a_room_that_does_not_answer_is_tried_later(
    world: PuppetsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.xmpp.puppets.JOIN_TIMEOUT_S", 0.01)
    world.server.swallows.add(ALICES)

    assert await world.puppets.ensure(ALICE.id, "Alice") == Later(1.0)


async def test_a_lost_stream_ends_the_waiting(world: PuppetsWorld) -> None:
    world.server.swallows.add(ALICES)
    joining = asyncio.get_running_loop().create_task(
        world.puppets.ensure(ALICE.id, "Alice")
    )
    await world.settle()

    world.puppets.doubt()

    assert await joining == Later(1.0)


async def test_nobody_comes_in_before_it_is_written_down(world: PuppetsWorld) -> None:
    """Or after a fall their words in the archive would not be known for ours."""
    world.store.broken = True

    assert await world.puppets.ensure(ALICE.id, "Alice") == Later(1.0)
    assert world.server.written == []


async def test_after_a_restart_whoever_is_still_in_is_asked_and_not_joined(
    world: PuppetsWorld,
) -> None:
    world.server.occupants["Alice"] = ALICES
    world.occupancy.enter(Seen("Alice", gone=False, statuses=frozenset()))
    world.puppets.restore(Puppet(MUC, ALICE.id, "Alice", joined=True))

    assert await world.puppets.ensure(ALICE.id, "Alice") is None
    assert world.server.written == []
    assert world.server.asked == [("ping", f"{MUC}/Alice")]


async def test_whoever_is_not_in_any_more_comes_in_under_the_old_nick(
    world: PuppetsWorld,
) -> None:
    world.puppets.restore(Puppet(MUC, ALICE.id, "Alice[m]", joined=True))

    assert await world.puppets.ensure(ALICE.id, "Alice") is None
    assert world.server.occupants == {"Alice[m]": ALICES}


async def test_a_former_puppets_words_are_known_by_their_ids(
    world: PuppetsWorld,
) -> None:
    world.puppets.restore(Puppet(MUC, ALICE.id, "Alice", joined=False))

    assert world.puppets.ours("Alice", "$event")
    assert not world.puppets.ours("Alice", "x1")
    assert not world.puppets.ours("Hatter", "$event")


async def test_while_a_nick_is_asked_for_it_is_still_its_owners(
    world: PuppetsWorld,
) -> None:
    world.server.swallows.add(ALICES)
    joining = asyncio.get_running_loop().create_task(
        world.puppets.ensure(ALICE.id, "Alice")
    )
    await world.settle()

    assert world.puppets.bears("Alice")
    assert not world.puppets.ours("Alice", "x1")
    world.puppets.doubt()
    await joining


async def test_a_nick_that_the_room_gives_is_borne(world: PuppetsWorld) -> None:
    """XEP-0045 §7.2.3: status 210."""
    world.server.swallows.add(ALICES)
    joining = asyncio.get_running_loop().create_task(
        world.puppets.ensure(ALICE.id, "Alice")
    )
    await world.settle()
    world.server.occupants["alice_"] = ALICES
    own = "<status code='110'/><status code='210'/>"
    world.server.deliver(world.server._presence("alice_", ALICES, extra=own))

    assert await joining is None
    assert world.puppets.ours("alice_", "x")
    assert not world.puppets.ours("Alice", "x")


async def test_a_kicked_puppet_is_out_and_says_why(world: PuppetsWorld) -> None:
    await world.puppets.ensure(ALICE.id, "Alice")

    world.server.leaves("Alice", status="<status code='307'/>")
    await world.settle()

    ((mxid, seen),) = world.out
    assert (mxid, seen.statuses) == (ALICE.id, frozenset({307, 110}))
    assert not world.puppets.ours("Alice", "x")


async def test_what_others_do_says_nothing_to_a_puppet(world: PuppetsWorld) -> None:
    await world.puppets.ensure(ALICE.id, "Alice")
    world.server.enters("Hatter", "hatter@wonder.example/x")
    world.server.leaves("Hatter")
    await world.settle()
    to = Jid("nobody", "bridge.example", "matrix")
    presence = world.server.written[0]
    world.puppets.received(presence, to.bare, "Hatter")

    assert world.out == []
    assert [seat.within for seat in world.puppets] == [True]


async def test_a_taken_new_name_gets_a_suffix_too(world: PuppetsWorld) -> None:
    await world.puppets.ensure(ALICE.id, "Alice")
    world.server.occupants["Queen"] = "queen@wonder.example/x"

    await world.puppets.rename(ALICE.id, "Queen")
    await world.puppets.rename(BOB.id, "Queen")

    assert world.server.occupants["Queen[m]"] == ALICES
    assert world.puppets.ours("Queen[m]", "x")


async def test_who_is_not_in_has_nothing_to_leave(world: PuppetsWorld) -> None:
    assert world.puppets.farewell(ALICE.id) == b""
