"""What every store promises, on the fake, SQLite and PostgreSQL."""

import asyncio
from dataclasses import replace

import pytest

from bridge.core.ports import StoreUnavailableError, Unit
from bridge.model.delivery import Arrival, Parcel, Taken, Wire
from bridge.model.places import Network, PortalId, Room
from bridge.model.records import (
    Alias,
    Cursor,
    DeadLetter,
    Ghost,
    Kind,
    Occupant,
    Portal,
    Presence,
    Puppet,
    Record,
    Secret,
    Wish,
)
from tests.contracts.conftest import AnyStore, Place

ROOM = Room(Network.MATRIX, "!room:hs")
CHAT = Room(Network.XMPP, "juliet@capulet.lit alice_hs@bridge.hs")
PORTAL = Portal(PortalId(7), Kind.HOSTED, "!room:hs", "#room#hs@bridge.hs", "@bot:hs")
RECORDS: list[Record] = [
    PORTAL,
    Ghost("@_xmpp_juliet:hs", "juliet@capulet.lit", "Juliet ♥"),
    Presence("!room:hs", "@_xmpp_juliet:hs", "Juliet"),
    Occupant("#room#hs@bridge.hs", "juliet@capulet.lit/balcony", "Juliet"),
    Puppet("garden@muc.lit", "@alice:hs", "alice[m]", joined=True),
    Cursor("archive", "garden@muc.lit", "28482-98726-73623"),
    Alias(Network.XMPP, "garden@muc.lit#1", PortalId(7), 3, "@alice:hs"),
    Secret("olm @bot:hs", "account", b"pickle"),
    DeadLetter(
        9, Network.MATRIX, "7", PortalId(7), "!room:hs", "REJECTED", 1, 3, b"r", b"413"
    ),
    Wish(9, "retry"),
]


def arrival(store: AnyStore, key: str, room: Room = ROOM) -> Taken:
    return Taken(store.number(), Arrival(room, key, key.encode(errors="replace")))


def parcel(store: AnyStore, lane: str = "7", *, archived: bool = False) -> Parcel:
    number = store.number()
    wire = Wire(f"txn {number}", b"<body>wherefore</body>", archived)
    return Parcel(
        number,
        Network.XMPP,
        lane,
        wire,
        receipt=b"receipt",
        last=False,
        seq=3,
        portal=PortalId(7),
    )


async def take(store: AnyStore, *taken: Taken) -> frozenset[int]:
    return await store.commit(Unit(take=list(taken)))


async def test_numbers_only_grow(place: Place) -> None:
    """Row 24: order does not hang on a clock."""
    first = await place.open()
    numbers = [first.number() for _ in range(1500)]
    last = parcel(first)
    await first.commit(Unit(parcels=[last]))
    await first.commit(Unit(sent=[last]))

    again = await place.reopen()

    assert numbers == sorted(set(numbers))
    assert again.number() > last.id


async def test_who_was_succeeded_by_another_writes_nothing_more(place: Place) -> None:
    """It may have slept, and not know: what it still does must not count.

    Row 18: a bridge that was frozen, and woke up.
    """
    zombie = await place.open()
    first = arrival(zombie, "$1")
    await take(zombie, first)

    place.succeed()
    with pytest.raises(StoreUnavailableError):
        await zombie.commit(Unit(done=[first.seq], parcels=[parcel(zombie)]))

    store = await place.reopen()
    assert await store.waiting([ROOM], 0, 9) == [first]
    assert await store.lanes_pending() == []


async def test_an_arrival_is_known_for_ever(place: Place) -> None:
    store = await place.open()
    first = arrival(store, "$1")
    await take(store, first)
    await store.commit(Unit(done=[first.seq]))
    store = await place.reopen()
    again, new = arrival(store, "$1"), arrival(store, "$2")

    known = await take(store, again, new)

    assert known == {again.seq}
    assert await store.waiting([ROOM], 0, 9) == [new]


async def test_a_key_means_something_only_on_its_network(store: AnyStore) -> None:
    here, there = arrival(store, "1"), arrival(store, "1", CHAT)

    known = await take(store, here, there)

    assert known == frozenset()


async def test_the_same_arrival_twice_in_one_unit_is_taken_once(
    store: AnyStore,
) -> None:
    first, second = arrival(store, "$1"), arrival(store, "$1")

    known = await take(store, first, second)

    assert known == {second.seq}


async def test_each_unit_learns_which_of_its_own_arrivals_are_known(
    store: AnyStore,
) -> None:
    old = [arrival(store, f"${n}") for n in range(150)]
    await take(store, *old)
    again = [arrival(store, f"${n}") for n in range(200)]

    answers = await asyncio.gather(*(take(store, one) for one in again))

    assert [bool(answer) for answer in answers] == [True] * 150 + [False] * 50
    assert answers[0] == {again[0].seq}


async def test_units_are_answered_in_the_order_in_which_they_came(
    store: AnyStore,
) -> None:
    answered: list[int] = []
    futures: list[asyncio.Future[frozenset[int]]] = []
    for number in range(200):
        future = store.commit(Unit(put=[Cursor("order", str(number), "")]))
        future.add_done_callback(lambda done: answered.append(futures.index(done)))
        futures.append(future)

    await asyncio.gather(*futures)

    assert answered == list(range(200))


async def test_an_empty_unit_costs_nothing(store: AnyStore) -> None:
    answer = store.commit(Unit())

    assert answer.done()
    assert await answer == frozenset()


async def test_a_unit_that_fails_does_not_fail_its_neighbours(store: AnyStore) -> None:
    old = arrival(store, "$old")
    await take(store, old)
    good, again, late = (arrival(store, key) for key in ("$1", "$old", "$2"))
    bad = arrival(store, "lone \ud800 surrogate")

    answers = await asyncio.gather(
        *(take(store, one) for one in (good, bad, again, late)), return_exceptions=True
    )

    assert isinstance(answers[1], Exception)
    assert [answers[0], *answers[2:]] == [frozenset(), {again.seq}, frozenset()]
    assert await store.waiting([ROOM], 0, 9) == [old, good, late]


async def test_a_unit_is_committed_whole_or_not_at_all(store: AnyStore) -> None:
    good, bad = arrival(store, "$1"), arrival(store, "\udfff")

    with pytest.raises(Exception, match="surrogates"):
        await take(store, good, bad)

    assert await store.waiting([ROOM], 0, 9) == []


async def test_what_is_not_done_waits_in_order_after_a_restart(place: Place) -> None:
    store = await place.open()
    taken = [arrival(store, str(n), (ROOM, CHAT)[n % 2]) for n in range(6)]
    other = arrival(store, "6", Room(Network.XMPP, "elsewhere"))
    await take(store, *taken, other)
    await store.commit(Unit(done=[taken[2].seq]))

    store = await place.reopen()

    assert set(await store.rooms_waiting()) == {ROOM, CHAT, other.arrival.room}
    assert await store.waiting([ROOM, CHAT], 0, 9) == taken[:2] + taken[3:]
    assert await store.waiting([ROOM, CHAT], taken[0].seq, 2) == [taken[1], taken[3]]
    assert await store.waiting([CHAT], 0, 9) == taken[1::2]
    assert await store.waiting([], 0, 9) == []


async def test_what_is_not_sent_is_pending_in_order_after_a_restart(
    place: Place,
) -> None:
    store = await place.open()
    here = [parcel(store) for _ in range(5)]
    there = replace(parcel(store, "xmpp juliet@capulet.lit"), receipt=b"", last=True)
    await store.commit(Unit(parcels=[*here, there]))
    await store.commit(Unit(sent=[here[1]]))

    store = await place.reopen()

    assert set(await store.lanes_pending()) == {
        (Network.XMPP, "7"),
        (Network.XMPP, there.lane),
    }
    assert await store.pending(Network.XMPP, "7", 0, 9) == [here[0], *here[2:]]
    assert await store.pending(Network.XMPP, "7", here[2].id, 1) == [here[3]]
    assert await store.pending(Network.MATRIX, "7", 0, 9) == []
    assert await store.pending(Network.XMPP, there.lane, 0, 9) == [there]


async def test_what_is_sent_stays_as_history_only_if_it_is_archived(
    place: Place,
) -> None:
    store = await place.open()
    kept = [parcel(store, archived=True) for _ in range(3)]
    gone = parcel(store)
    await store.commit(Unit(parcels=[*kept, gone]))
    await store.commit(Unit(sent=[*kept, gone]))

    store = await place.reopen()

    found = await store.archive(Network.XMPP, "7", 2)
    assert [one.wire for one in found] == [one.wire for one in kept[1:]]
    earlier = await store.archive(Network.XMPP, "7", 2, found[0].id)
    assert [one.wire for one in earlier] == [kept[0].wire]
    assert await store.archive(Network.XMPP, "7", 2, earlier[0].id) == []
    assert await store.lanes_pending() == []


async def test_history_is_read_by_its_numbers(place: Place) -> None:
    """Sent or not: a page of it holds all that was asked for."""
    store = await place.open()
    sent = [parcel(store, archived=True) for _ in range(4)]
    waits, gone = parcel(store, archived=True), parcel(store)
    elsewhere = parcel(store, "8", archived=True)
    await store.commit(Unit(parcels=[*sent, waits, gone, elsewhere]))
    await store.commit(Unit(sent=sent))
    asked = [sent[3].id, sent[1].id, waits.id, gone.id, elsewhere.id, 10**9]

    store = await place.reopen()

    found = await store.kept(Network.XMPP, "7", asked)
    assert [one.id for one in found] == [sent[1].id, sent[3].id, waits.id]
    assert [one.wire for one in found] == [one.wire for one in (*sent[1::2], waits)]
    assert await store.kept(Network.MATRIX, "7", asked) == []
    assert await store.kept(Network.XMPP, "7", []) == []


async def test_what_waits_is_counted(store: AnyStore) -> None:
    one, two = arrival(store, "$1"), arrival(store, "$2")
    await take(store, one, two)
    await store.commit(Unit(done=[one.seq], parcels=[parcel(store)]))

    assert await store.counts() == {"waiting": 1, "pending": 1}


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
async def test_a_record_is_put_found_and_dropped(place: Place, record: Record) -> None:
    store = await place.open()
    await store.commit(Unit(put=[record]))
    await store.commit(Unit(put=[record]))
    store = await place.reopen()
    key = [getattr(record, name) for name in record.KEY]

    assert await store.load(type(record)) == [record]
    assert await store.find(type(record), *key) == record

    await store.commit(Unit(drop=[record]))

    assert await store.load(type(record)) == []
    assert await store.find(type(record), *key) is None


async def test_a_record_is_put_whole(store: AnyStore) -> None:
    await store.commit(Unit(put=[PORTAL]))
    changed = replace(PORTAL, name="Garden", encrypted=True)

    await store.commit(Unit(put=[changed]))

    assert await store.find(Portal, PORTAL.id) == changed


async def test_the_last_word_about_a_record_counts(store: AnyStore) -> None:
    old, new = Cursor("k", "x", "1"), Cursor("k", "x", "2")

    await asyncio.gather(
        store.commit(Unit(put=[old])),
        store.commit(Unit(drop=[old])),
        store.commit(Unit(put=[old, new])),
        store.commit(Unit(put=[Cursor("k", "y", "1")])),
        store.commit(Unit(drop=[Cursor("k", "y", "")])),
    )

    assert await store.load(Cursor) == [new]


async def test_many_records_are_put_and_dropped_at_once(store: AnyStore) -> None:
    ghosts = [Ghost(f"@{n}:hs", str(n)) for n in range(300)]

    await store.commit(Unit(put=list(ghosts)))
    await store.commit(Unit(drop=list(ghosts[:150])))

    assert set(await store.load(Ghost)) == set(ghosts[150:])


async def test_an_alias_is_found_as_it_was_last_put(store: AnyStore) -> None:
    alias = Alias(Network.MATRIX, "$1", PortalId(7), 3, "@alice:hs")
    await store.commit(Unit(put=[alias]))
    other = replace(alias, author="@bob:hs")

    await store.commit(Unit(put=[other]))

    assert await store.find(Alias, Network.MATRIX, "$1") == other
    assert await store.find(Alias, Network.XMPP, "$1") is None


async def test_committing_a_unit_again_does_no_harm(store: AnyStore) -> None:
    unit = Unit(done=[1], parcels=[parcel(store)], put=[PORTAL])
    await store.commit(unit)

    await store.commit(unit)

    assert await store.pending(Network.XMPP, "7", 0, 9) == unit.parcels


async def test_the_secrets_of_one_owner_are_read_together(store: AnyStore) -> None:
    mine = [Secret("omemo a@b", "1", b"one"), Secret("omemo a@b", "2", b"two")]
    await store.commit(Unit(put=[*mine, Secret("omemo c@d", "1", b"other")]))

    assert sorted(await store.secrets("omemo a@b"), key=lambda s: s.name) == mine


async def test_what_is_late_is_written_as_it_is_when_handed_in(store: AnyStore) -> None:
    ratchet = [1]
    unit = Unit(late=[lambda: [Cursor("ratchet", "a", str(ratchet[0]))]])
    ratchet[0] = 2
    commit = store.commit(unit)
    ratchet[0] = 3
    await commit

    found = await store.find(Cursor, "ratchet", "a")

    assert found == Cursor("ratchet", "a", "2")


async def test_numbers_can_be_skipped_but_never_come_again(place: Place) -> None:
    store = await place.open()
    before = store.number()

    store.skip(before + 5000)
    store.skip(1)
    taken = arrival(store, "$1")
    await store.commit(Unit(take=[taken]))

    assert taken.seq == before + 5001
    again = await place.reopen()
    assert again.number() > taken.seq


async def test_dead_letters_are_read_by_lane_page_by_page(store: AnyStore) -> None:
    letters = [
        DeadLetter(n, Network.XMPP, lane, PortalId(7), "a@b", "REJECTED", 1, n)
        for n, lane in enumerate(("7", "8", "7", "7"), 1)
    ]
    await store.commit(Unit(put=list(letters)))

    assert await store.letters("7", 0, 2) == [letters[0], letters[2]]
    assert await store.letters("7", 3, 2) == [letters[3]]
    assert await store.letters("", 0, 9) == letters


async def test_a_parcel_gets_its_final_bytes_and_keeps_its_place(
    store: AnyStore,
) -> None:
    first, second = parcel(store), parcel(store)
    await store.commit(Unit(parcels=[first, second]))
    sealed = replace(first, wire=replace(first.wire, data=b"sealed"))
    await store.commit(Unit(final=[sealed]))

    assert await store.pending(first.network, first.lane, 0, 9) == [sealed, second]
