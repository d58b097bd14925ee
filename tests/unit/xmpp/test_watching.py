import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bridge.core.ports import State, StoreUnavailableError, Unit
from bridge.model.events import Join, Leave, Rename
from bridge.model.records import Ghost, Presence
from bridge.xmpp.codec.presence import Seen
from bridge.xmpp.occupancy import Occupancy
from bridge.xmpp.puppets import Puppets
from bridge.xmpp.watching import Watching
from tests.unit.xmpp.elsewhere import MUC, ROOM, TEA, World, build

HATTER = Seen("Hatter", gone=False, statuses=frozenset(), occupant_id="h")
HARE = Seen("Hare", gone=False, statuses=frozenset(), occupant_id="m")
SELF = Seen("Matrix bridge", gone=False, statuses=frozenset({110}))


class WatchingWorld(World):
    watching: Watching
    occupancy: Occupancy

    def told(self) -> list[tuple[type[State], str]]:
        events = [(type(event), event.sender.id) for event in self.host.told]
        self.host.told.clear()
        return events

    async def looks(self, times: int = 5) -> None:
        """Let some seconds pass."""
        for _ in range(times):
            await self.watching.look()

    async def has_shown(self, *persons: str) -> None:
        """Let an earlier run have left ghosts on Matrix."""
        for number, person in enumerate(persons):
            ghost = Ghost(f"@{number}:hs", person)
            shown = Presence(TEA.matrix, ghost.mxid)
            await self.store.commit(Unit(put=[TEA, ghost, shown]))


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WatchingWorld]:
    monkeypatch.setattr("bridge.xmpp.missing.GRACE_S", 0.0)
    async with asyncio.TaskGroup() as tasks:
        plain = build(tasks)
        made = WatchingWorld(
            plain.means, plain.server, plain.host, plain.intake, plain.store
        )
        made.occupancy = Occupancy(MUC)
        made.occupancy.occupant_ids = True
        made.watching = Watching(ROOM, made.means, made.occupancy)
        made.watching.own = "Matrix bridge"
        made.watching.puppets = Puppets(
            MUC, made.means, made.occupancy, made.watching.puppet_put_out
        )
        yield made


def enter(world: WatchingWorld, *there: Seen, occupants: int = 0) -> None:
    world.watching.outside()
    world.watching.entering()
    for seen in (*there, SELF):
        world.watching.saw(seen)
    world.watching.entered(occupants)
    world.watching.inside()


async def test_those_who_are_there_are_told_of_when_all_are_seen(
    world: WatchingWorld,
) -> None:
    enter(world, HATTER)

    assert world.told() == [(Join, f"{MUC}//h")]


async def test_a_return_tells_only_what_is_new(world: WatchingWorld) -> None:
    enter(world, HATTER)
    world.told()

    enter(world, HARE)
    await world.looks()

    assert world.told() == [(Join, f"{MUC}//m"), (Leave, f"{MUC}//h")]


async def test_whoever_comes_back_a_moment_after_us_never_left(
    world: WatchingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.xmpp.missing.GRACE_S", 60.0)
    await world.has_shown(f"{MUC}//h", f"{MUC}//m")
    enter(world, HATTER)
    enter(world)
    await world.looks()
    assert Leave not in dict(world.told())

    monkeypatch.setattr("bridge.xmpp.missing.GRACE_S", 0.0)
    enter(world)
    world.watching.saw(HATTER)
    world.watching.saw(HARE)
    await world.looks()

    assert world.told() == [(Join, f"{MUC}//h"), (Join, f"{MUC}//m")]


async def test_whom_an_earlier_run_has_shown_and_nobody_sees_any_more_is_gone(
    world: WatchingWorld,
) -> None:
    await world.has_shown("", f"{MUC}//h", "dormouse@wonder.example", f"{MUC}//m")
    enter(world, HATTER)

    await world.looks(10)

    assert world.told() == [
        (Join, f"{MUC}//h"),
        (Leave, "dormouse@wonder.example"),
        (Leave, f"{MUC}//m"),
    ]


async def test_many_who_are_gone_are_told_of_by_and_by(world: WatchingWorld) -> None:
    await world.has_shown(*(f"{MUC}//{number}" for number in range(200)))
    enter(world)

    await world.looks(3)
    assert len(world.host.told) == 2

    await world.looks(300)
    assert len(world.host.told) + len(world.watching._calm) == 200


async def test_whoever_spoke_unseen_is_gone_and_whoever_speaks_so_now_is_there(
    world: WatchingWorld,
) -> None:
    """The archive tells what was said by those who have left."""
    world.watching.entering()
    world.watching.saw(SELF)
    world.watching.entered()
    world.watching.spoke(f"{MUC}//h")
    world.watching.inside()
    await world.looks()
    world.watching.spoke(f"{MUC}//m")
    await world.looks()

    assert world.told() == [(Leave, f"{MUC}//h")]


async def test_nobody_is_gone_from_a_room_that_does_not_show_all(
    world: WatchingWorld,
) -> None:
    """Crowded rooms of ejabberd show nobody."""
    await world.has_shown(f"{MUC}//h")
    enter(world, HARE, occupants=1)
    world.watching.spoke(f"{MUC}//x")
    enter(world, occupants=1000)
    world.watching.spoke(f"{MUC}//y")
    await world.looks()
    assert world.told() == [(Join, f"{MUC}//m")]

    enter(world, HARE, occupants=1)
    await world.looks()
    assert (Leave, f"{MUC}//h") in world.told()


async def test_whoever_is_gone_from_a_small_room_that_counts_devices_is_told_of(
    world: WatchingWorld,
) -> None:
    enter(world, HATTER, HARE, occupants=2)
    world.told()

    enter(world, HARE, occupants=3)
    await world.looks(50)

    assert (Leave, f"{MUC}//h") in world.told()


async def test_nobody_is_gone_as_long_as_we_are_out(world: WatchingWorld) -> None:
    await world.has_shown(f"{MUC}//h")
    enter(world)
    world.watching.outside()
    await world.looks()
    assert world.told() == []

    enter(world)
    await world.looks()
    assert world.told() == [(Leave, f"{MUC}//h")]


async def test_who_is_gone_is_asked_again_if_the_store_was_away(
    world: WatchingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.has_shown(f"{MUC}//h")
    enter(world)
    find = world.store.find

    async def away(*_: object) -> None:
        raise StoreUnavailableError

    monkeypatch.setattr(world.store, "find", away)
    await world.looks()
    monkeypatch.setattr(world.store, "find", find)
    await world.looks()

    assert world.told() == [(Leave, f"{MUC}//h")]


async def test_whom_an_earlier_run_has_shown_counts_in_a_crowd(
    world: WatchingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.xmpp.watching.SMALL_MAX", 0)
    await world.has_shown(f"{MUC}//h")
    enter(world, HATTER, HARE)
    await world.looks()

    world.watching.saw(replace(HATTER, gone=True))
    world.watching.saw(replace(HARE, gone=True))

    assert world.told() == [(Leave, f"{MUC}//h")]


async def test_of_a_crowd_that_leaves_at_once_all_who_have_spoken_are_gone_in_the_end(
    world: WatchingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a server of many is cut off."""
    monkeypatch.setattr("bridge.xmpp.watching.SMALL_MAX", 0)
    crowd = [replace(HATTER, nick=f"{n}", occupant_id=f"{n}") for n in range(200)]
    enter(world, *crowd)
    for seen in crowd:
        world.watching.spoke(f"{MUC}//{seen.nick}")

    for seen in crowd:
        world.watching.saw(replace(seen, gone=True))

    assert len(world.told()) + len(world.watching._calm) == 200


async def test_comings_and_goings_are_told(world: WatchingWorld) -> None:
    enter(world)
    world.watching.saw(HATTER)
    world.watching.saw(replace(HATTER, role="moderator"))
    world.watching.saw(replace(HATTER, gone=True, statuses=frozenset({301})))

    joined, left = world.host.told
    assert isinstance(joined, Join)
    assert isinstance(left, Leave)
    assert left.banned


async def test_a_change_of_nick_is_a_rename(world: WatchingWorld) -> None:
    enter(world, HATTER)
    world.told()

    gone = replace(HATTER, gone=True, statuses=frozenset({303}), new_nick="Mad")
    world.watching.saw(gone)
    world.watching.saw(replace(HATTER, nick="Mad"))

    assert world.told() == [(Rename, f"{MUC}//h")]


async def test_where_the_nick_is_all_we_know_a_new_one_is_no_second_person(
    world: WatchingWorld,
) -> None:
    world.occupancy.occupant_ids = False
    enter(world, HATTER)
    world.told()

    gone = replace(HATTER, gone=True, statuses=frozenset({303}), new_nick="Mad")
    world.watching.saw(gone)
    world.watching.saw(replace(HATTER, nick="Mad"))
    world.watching.saw(HATTER)
    enter(world, replace(HATTER, nick="Mad"), HATTER)
    world.watching.saw(replace(HATTER, nick="Mad", gone=True))

    assert world.told() == [
        (Rename, f"{MUC}/Hatter"),
        (Join, f"{MUC}/Hatter\x7f"),
        (Leave, f"{MUC}/Hatter"),
    ]


async def test_in_a_crowd_only_those_who_speak_count(
    world: WatchingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.xmpp.watching.SMALL_MAX", 0)
    enter(world, HATTER, HARE)
    assert world.told() == []

    world.watching.spoke(f"{MUC}//h")
    world.watching.saw(replace(HATTER, gone=True))
    world.watching.saw(replace(HARE, gone=True))

    assert world.told() == [(Leave, f"{MUC}//h")]


async def test_whoever_was_told_of_before_it_became_a_crowd_is_told_of_as_gone(
    world: WatchingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.xmpp.watching.SMALL_MAX", 2)
    enter(world, HATTER)
    for number in range(5):
        world.watching.saw(replace(HARE, nick=f"{number}", occupant_id=f"{number}"))
    assert world.told() == [(Join, f"{MUC}//h")]

    world.watching.saw(replace(HARE, nick="0", gone=True))
    world.watching.saw(replace(HATTER, gone=True))

    assert world.told() == [(Leave, f"{MUC}//h")]


async def test_only_who_is_there_is_remembered_among_very_many(
    world: WatchingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.xmpp.watching.SPOKEN_MAX", 10)
    monkeypatch.setattr("bridge.xmpp.watching.SMALL_MAX", 0)
    enter(world, HATTER, HARE)
    world.watching.spoke(f"{MUC}//h")

    for number in range(100):
        world.watching.spoke(f"{MUC}//{number}")

    assert len(world.watching._spoken) <= 12
    world.told()
    world.watching.saw(replace(HATTER, gone=True))
    assert world.told() == [(Leave, f"{MUC}//h")]


async def test_a_room_that_shows_ever_more_occupants_does_not_fill_our_memory(
    world: WatchingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.xmpp.watching.CROWD_MAX", 10)
    enter(world, HATTER)

    for number in range(100):
        world.watching.saw(replace(HARE, nick=f"{number}", occupant_id=f"{number}"))
    world.watching.saw(replace(HATTER, gone=True))

    assert len(world.occupancy) < 10
    assert len(world.watching._known or ()) <= 10
    assert (Leave, f"{MUC}//h") in world.told()


async def test_nothing_is_told_of_a_room_that_is_not_linked(
    world: WatchingWorld,
) -> None:
    world.host.portals.clear()
    enter(world, HATTER)
    world.watching.saw(HARE)
    world.watching.saw(replace(HARE, gone=True))
    world.watching.puppet_put_out("@a:b", replace(HARE, statuses=frozenset({307})))

    assert world.told() == []


async def test_our_own_are_not_told_of(world: WatchingWorld) -> None:
    enter(world, replace(HATTER, jid=f"x@{world.means.domain}"))
    enter(world)
    await world.looks()

    assert world.told() == []


async def test_who_put_a_puppet_out_is_named(world: WatchingWorld) -> None:
    enter(world, HATTER)
    world.told()
    seen = Seen("Alice", gone=True, statuses=frozenset({307}), actor="Hatter")

    world.watching.puppet_put_out("@alice:hs.example", seen)
    world.watching.puppet_put_out(
        "@alice:hs.example", replace(seen, statuses=frozenset())
    )

    assert world.told() == [(Leave, f"{MUC}//h")]


async def test_a_puppet_put_out_of_a_room_just_linked_is_told_of(
    world: WatchingWorld,
) -> None:
    """Who else is there is told of a little later."""
    portals = dict(world.host.portals)
    world.host.portals.clear()
    enter(world, HATTER)
    world.host.portals |= portals
    seen = Seen("Alice", gone=True, statuses=frozenset({307}), actor="Hatter")

    world.watching.puppet_put_out("@alice:hs.example", seen)

    assert world.told() == [(Leave, f"{MUC}//h")]
