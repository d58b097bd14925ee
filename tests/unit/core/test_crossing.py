from dataclasses import replace

import pytest

from bridge.core.crossing import Crossing
from bridge.core.guard import Guard, Limits
from bridge.core.ports import Adapter, Unit
from bridge.model.delivery import Arrival, Refusal, Taken
from bridge.model.events import Message, Protection
from bridge.model.places import Network
from tests.conftest import World, said
from tests.fakes import TEA, TEA_MATRIX, TEA_XMPP


def crossing(world: World, limits: Limits | None = None) -> Crossing:
    world.matrix.clear = world.xmpp.clear = True
    adapters: dict[Network, Adapter] = {
        Network.MATRIX: world.matrix,
        Network.XMPP: world.xmpp,
    }
    guard = Guard(limits or Limits())
    return Crossing(adapters, world.directory, world.dispatch, guard)


def taken(world: World, event: Message, seq: int = 7) -> Taken:
    near = world.matrix if event.room.network is Network.MATRIX else world.xmpp
    near.script[event.ref.id] = event
    return Taken(seq, Arrival(event.room, event.ref.id, b"raw"))


async def test_a_plain_message_crosses_at_once(world: World) -> None:
    unit = crossing(world).at_once(taken(world, said(TEA_XMPP, "hello")))

    assert unit is not None
    assert unit.done == [7]
    (parcel,) = unit.parcels
    assert (parcel.seq, parcel.receipt) == (7, b"somebody-1")
    assert [record.KEY for record in unit.put] == [("network", "ref")]


async def test_what_is_said_where_nothing_is_bridged_needs_the_whole_chain(
    world: World,
) -> None:
    elsewhere = TEA_MATRIX._replace(address="!other:hs.example")

    assert crossing(world).at_once(taken(world, said(elsewhere, "hello"))) is None


@pytest.mark.parametrize("why", ["verdict", "blocked", "too large", "hardened"])
async def test_what_may_be_refused_needs_the_whole_chain(
    world: World, why: str
) -> None:
    event = said(TEA_XMPP, "hello")
    limits = Limits()
    match why:
        case "verdict":
            event = replace(event, protection=Protection.END_TO_END)
        case "blocked":
            limits = Limits(blocked=frozenset({event.sender.id}))
        case "too large":
            world.matrix.mute = True
        case _:
            world.matrix.protects = Protection.END_TO_END

    assert crossing(world, limits).at_once(taken(world, event)) is None


async def test_what_claims_to_be_from_elsewhere_is_not_believed(world: World) -> None:
    """The lane is that of the arrival's room, and no other."""
    made = crossing(world)
    item = taken(world, said(TEA_MATRIX, "hello"))
    forged = replace(item, arrival=replace(item.arrival, room=TEA_XMPP))
    world.xmpp.script[item.arrival.key] = said(TEA_MATRIX, "hello")

    assert made.at_once(forged) is None


async def test_what_may_not_leave_in_the_clear_is_buried(world: World) -> None:
    made = crossing(world)
    event = replace(said(TEA_MATRIX, "secret"), protection=Protection.END_TO_END)
    unit = Unit()

    made.message(event, TEA, b"receipt", 7, unit)

    assert Refusal.WOULD_EXPOSE.value.encode() in [
        parcel.wire.data for parcel in unit.parcels
    ]
    assert len(unit.put) > 0  # the dead letter, until somebody allows it
