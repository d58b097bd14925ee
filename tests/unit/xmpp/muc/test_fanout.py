from xml.etree.ElementTree import Element

from bridge.model.delivery import Delivered, Later, Refusal, Refused, Wire
from bridge.model.events import Message
from tests.unit.xmpp.muc.world import (
    ALICE,
    JULIET,
    ROMEO,
    TEA,
    MucWorld,
    message,
    words,
)

DELAY = "{urn:xmpp:delay}delay"
STANZA_ID = "{urn:xmpp:sid:0}stanza-id"


def said_by(stanza: Element) -> list[str]:
    """List by whom it was kept, of what is kept."""
    return [one.get("from", "") for one in stanza.iterfind(DELAY) if one.get("from")]


def names(stanza: Element) -> list[str]:
    return [one.get("id", "") for one in stanza.iterfind(STANZA_ID)]


def wires(world: MucWorld, count: int, text: str = "words") -> list[Wire]:
    made: list[Wire] = []
    for number in range(1, count + 1):
        said: Message = message(ALICE, f"{text} {number}", "Alice", number)
        prepared = world.hosted.prepare(said, world.route())
        assert not isinstance(prepared, Refusal)
        made.extend(prepared)
    return made


async def test_many_messages_share_one_write_and_one_barrier(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")
    await world.joins(JULIET, "juliet")
    world.stream.data.clear()

    outcomes = await world.sends(wires(world, 64))

    assert outcomes == [Delivered()] * 64
    assert len(world.stream.data) == 1
    assert world.stream.barriers == 1
    assert len(world.stream.ids) == 64
    heard = [words(s) for s in world.written(ROMEO)]
    assert heard == [f"words {n}" for n in range(1, 65)]


async def test_large_batches_are_written_in_pieces(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")
    world.stream.data.clear()

    await world.sends(wires(world, 10, "x" * 150_000))

    assert len(world.stream.data) == 2
    assert len(world.written(ROMEO)) == 10


async def test_nothing_is_lost_while_the_stream_is_down(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")
    world.written()
    world.hosted.down()
    world.stream.connected = False
    small, large = wires(world, 1), wires(world, 10, "x" * 150_000)
    assert await world.sends(small) == [Later()]
    assert await world.sends(large) == [Later()]

    world.stream.connected = True
    await world.hosted.up()
    world.stream.passes = False
    assert await world.sends(small) == [Later()]
    world.stream.passes = True
    assert await world.sends(small) == [Delivered()]


async def test_an_empty_room_needs_no_stream(world: MucWorld) -> None:
    world.stream.connected = False

    assert await world.sends(wires(world, 2)) == [Delivered()] * 2


async def test_what_an_earlier_run_had_written_is_not_sent_again(
    world: MucWorld,
) -> None:
    await world.joins(ROMEO, "romeo")
    world.written()
    first, second = (world.parcel(wire) for wire in wires(world, 2))
    world.hosted._fanout._marks = {first.id}

    outcomes = await world.hosted.send([first, second])

    assert outcomes == [Delivered(), Delivered()]
    assert [words(s) for s in world.written()] == ["words 2"]
    await world.joins(JULIET, "juliet")
    assert [words(s) for s in world.written(JULIET) if words(s)] == [
        "words 1",
        "words 2",
    ]


async def test_what_may_have_arrived_comes_again_as_history(world: MucWorld) -> None:
    """XEP-0045 §7.2.15: under the same id, with the time when it was said."""
    doubted: set[int] = set()
    world.hosted._fanout._doubted = doubted
    await world.joins(ROMEO, "romeo")
    world.written()
    parcel = world.parcel(wires(world, 1)[0])
    world.stream.passes = False
    assert await world.hosted.send([parcel]) == [Later()]
    (first,) = world.written(ROMEO)

    doubted.add(parcel.id)
    world.stream.passes = True
    assert await world.hosted.send([parcel]) == [Delivered()]

    (again,) = world.written(ROMEO)
    assert [said_by(stanza) for stanza in (first, again)] == [[], [TEA]]
    assert again.get("id") == first.get("id")
    assert names(again) == names(first) != []


async def test_who_has_come_in_since_has_read_it_in_the_history(
    world: MucWorld,
) -> None:
    await world.joins(ROMEO, "romeo")
    await world.joins(JULIET, "juliet")
    parcel = world.parcel(wires(world, 1)[0])
    world.stream.passes = False
    assert await world.hosted.send([parcel]) == [Later()]

    await world.joins(ROMEO, "romeo")  # anew, as after a restart of their server
    world.written()
    world.stream.passes = True
    assert await world.hosted.send([parcel]) == [Delivered()]

    assert [stanza.get("to") for stanza in world.written()] == [JULIET]


async def test_bytes_of_no_known_format_stop_nothing(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")
    world.written()

    outcomes = await world.sends([Wire("k", b"Hnonsense"), *wires(world, 1)])

    assert outcomes == [Refused(Refusal.MALFORMED), Delivered()]
    assert len(world.written()) == 1


async def test_the_room_itself_says_a_notice(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")
    world.written()

    first = world.hosted.notice(world.route().room, "the link is undone")
    again = world.hosted.notice(world.route().room, "the link is undone")
    await world.sends(first)

    (shown,) = world.written()
    assert (shown.get("from"), words(shown)) == (TEA, "the link is undone")
    assert first[0].key != again[0].key
