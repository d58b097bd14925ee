import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bridge.core.ports import State
from bridge.model.events import Join, Leave, Rename
from bridge.xmpp.codec.presence import Seen
from bridge.xmpp.occupancy import Occupancy
from bridge.xmpp.puppets import Puppets
from bridge.xmpp.watching import Watching
from tests.unit.xmpp.elsewhere import MUC, ROOM, World, build

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


@pytest.fixture
async def world() -> AsyncIterator[WatchingWorld]:
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


def enter(world: WatchingWorld, *there: Seen) -> None:
    world.watching.entering()
    for seen in (*there, SELF):
        world.watching.saw(seen)
    world.watching.entered()


async def test_those_who_are_there_are_told_of_when_all_are_seen(
    world: WatchingWorld,
) -> None:
    enter(world, HATTER)

    assert world.told() == [(Join, f"{MUC}//h")]


async def test_a_return_tells_only_what_is_new(world: WatchingWorld) -> None:
    enter(world, HATTER)
    world.told()

    enter(world, HARE)

    assert world.told() == [(Leave, f"{MUC}//h"), (Join, f"{MUC}//m")]


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
