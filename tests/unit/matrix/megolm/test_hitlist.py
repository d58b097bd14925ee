"""What goes wrong between clients that encrypt: the list of Complement-Crypto.

It is retold as far as it is about us: a bridge keeps no backup of keys at the
homeserver, and verifies nobody by QR codes. What ends in the middle is in
``test_every_step``.
"""

import asyncio

import pytest

from bridge.core.ports import Unit
from bridge.matrix.client import HomeserverDownError, MatrixError
from bridge.matrix.megolm import account, devices
from bridge.matrix.megolm.ports import Feed, Plain, Unknown
from tests.unit.matrix.megolm.key_server import FakeKeyServer
from tests.unit.matrix.megolm.party import ALICE, BOB, BOT, GHOST, Party, room
from tests.unit.matrix.megolm.ratchets import spoken, used_twice

HERE = room(GHOST, ALICE)
ALL = room(GHOST, ALICE, BOB)


@pytest.fixture
async def bot(bridge: Party) -> Party:
    await bridge.joins(BOT)
    return bridge


async def legacy(server: FakeKeyServer, user: str) -> Party:
    """Bring in a device of somebody who has no cross-signing."""
    party = await Party(server).start()
    await party.joins(user)
    del server.identities[user]
    return party


async def hears(bridge: Party, **feed: object) -> None:
    unit = Unit()
    await bridge.machine.received(unit, BOT, Feed(**feed))  # type: ignore[arg-type]
    await bridge.store.commit(unit)
    await bridge.machine.catch_up(BOT)


def down_once(server: FakeKeyServer, where: str) -> None:
    """Let the homeserver be away, once, at a step."""
    left = [where]

    def step(name: str) -> None:
        if name in left:
            left.remove(name)
            raise HomeserverDownError("down")

    server.step = step


async def test_who_was_away_reads_nothing_of_what_was_said_meanwhile(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    bob = await Party(server).start()
    await bob.joins(BOB)

    before = await bridge.says(GHOST, ALL, "before")
    meanwhile = await bridge.says(GHOST, HERE, "meanwhile")
    after = await bridge.says(GHOST, ALL, "after")

    await bob.hears(BOB)
    await alice.hears(ALICE)
    assert await bob.understands(before) == "before"
    assert not isinstance(await bob.reads(meanwhile), Plain)
    assert await bob.understands(after) == "after"
    for event, words in ((before, "before"), (meanwhile, "meanwhile")):
        assert await alice.understands(event) == words


async def test_a_device_reads_what_is_said_while_it_is_there_and_no_more(
    server: FakeKeyServer, bridge: Party
) -> None:
    """Not what was said before it came, nor once it is logged out."""
    phone, here = await legacy(server, BOB), room(GHOST, BOB)
    one = await bridge.says(GHOST, here, "one")
    device = await phone.machine.device(BOB)
    assert device
    await server.delete_device(BOB, device)
    await hears(bridge, changed=[BOB])
    two = await bridge.says(GHOST, here, "two")
    laptop = await legacy(server, BOB)
    await hears(bridge, changed=[BOB])

    three = await bridge.says(GHOST, here, "three")

    await phone.hears(BOB)
    await laptop.hears(BOB)
    assert await phone.understands(one) == "one"
    assert await laptop.understands(three) == "three"
    for reader, events in ((phone, (two, three)), (laptop, (one, two))):
        for event in events:
            assert not isinstance(await reader.reads(event), Plain)


async def test_who_comes_in_by_another_device_than_was_invited_reads_it(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    """The one that Complement-Crypto expects to fail."""
    waiting = room(GHOST, ALICE, awaited=frozenset([ALICE]))
    event = await bridge.says(GHOST, waiting, "hello")
    await alice.machine.replace(ALICE)
    await alice.joins(ALICE)
    await hears(bridge, changed=[ALICE])

    await bridge.machine.admit(HERE)

    await alice.hears(ALICE)
    assert await alice.understands(event) == "hello"


async def test_what_was_written_by_the_fallback_key_before_it_was_replaced_is_read(
    server: FakeKeyServer, bot: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "FALLBACK_S", 0)
    device = await bot.machine.device(BOT)
    assert device
    server.one_time[BOT, device].clear()
    events = []
    for user in (ALICE, BOB):
        party = await Party(server).start()
        await party.joins(user)
        server.one_time[BOT, device].clear()
        events.append(await party.says(user, room(BOT, user), user))
    before = dict(server.fallback[BOT, device])

    await hears(bot, fallback=False)
    await bot.hears(BOT)

    assert server.fallback[BOT, device] != before
    assert [await bot.understands(one) for one in events] == [ALICE, BOB]


@pytest.mark.parametrize("restart", [False, True])
async def test_a_one_time_key_serves_once(
    server: FakeKeyServer,
    bot: Party,
    alice: Party,
    restart: bool,  # noqa: FBT001
) -> None:
    """A homeserver that gives it to a second one cannot have that be believed."""
    device = await bot.machine.device(BOT)
    assert device
    name, key = next(iter(server.one_time[BOT, device].items()))
    first = await alice.says(ALICE, room(BOT, ALICE), "first")
    server.one_time[BOT, device] = {name: key}
    bob = await Party(server).start()
    await bob.joins(BOB)
    second = await bob.says(BOB, room(BOT, BOB), "second")
    by_alice, by_bob = server.take(BOT, device)

    await bot.takes(BOT, [by_alice])
    if restart:
        await bot.start()
    await bot.takes(BOT, [by_bob])

    assert await bot.understands(first) == "first"
    assert await bot.reads(second) == Unknown(second["content"]["session_id"])
    theirs = await bob.machine.device(BOB)
    assert theirs
    senders = [one["sender"] for one in server.inboxes[BOB, theirs]]
    assert senders.count(BOT) == 1  # a session by which Bob's next letters are read


ASKED = (
    "put_device",
    "upload_cross_signing",
    "upload_keys",
    "query_keys",
    "claim_keys",
    "send_to_device",
)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ASKED)
async def test_whatever_fails_on_the_way_is_tried_again(
    server: FakeKeyServer, alice: Party, name: str, when: str
) -> None:
    """What the homeserver did not get, and what it did not answer."""
    bridge = await Party(server, bridge=True).start()
    down_once(server, f"{when} {name}")
    with pytest.raises(HomeserverDownError):
        await bridge.says(GHOST, HERE, "never said")

    event = await bridge.says(GHOST, HERE, "hello")

    await alice.hears(ALICE)
    assert await alice.understands(event) == "hello"
    assert server.refused == []
    assert len(server.names) == 2
    assert len(server.txns) == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_one_time_keys_that_did_not_arrive_are_uploaded_again_as_they_were(
    server: FakeKeyServer, bot: Party, when: str
) -> None:
    device = await bot.machine.device(BOT)
    assert device
    server.one_time[BOT, device].clear()
    down_once(server, f"{when} upload_keys")
    with pytest.raises(HomeserverDownError):
        await hears(bot, one_time=0)

    await hears(bot)

    assert len(server.one_time[BOT, device]) == 50
    assert server.refused == []


async def test_after_a_gap_everybodys_devices_are_asked_for_anew(
    server: FakeKeyServer, bridge: Party
) -> None:
    """What an earlier run was told of, and did not write down, is not lost."""
    phone, here = await legacy(server, BOB), room(GHOST, BOB)
    await bridge.says(GHOST, here, "one")
    laptop = await legacy(server, BOB)
    await bridge.machine.received(Unit(), BOT, Feed(changed=[BOB]))  # and it fell
    await bridge.start()

    await hears(bridge, gap=True)
    event = await bridge.says(GHOST, here, "two")

    for device in (phone, laptop):
        await device.hears(BOB)
        assert await device.understands(event) == "two"


async def test_a_key_that_comes_behind_many_letters_outlives_a_restart(
    server: FakeKeyServer, bot: Party, alice: Party
) -> None:
    letters = [{"type": "m.x", "sender": BOB, "content": {"n": n}} for n in range(300)]
    event = await alice.says(ALICE, room(BOT, ALICE), "hello")
    device = await bot.machine.device(BOT)
    assert device

    await bot.takes(BOT, [*letters, *server.take(BOT, device)])
    await bot.start()

    assert await bot.understands(event) == "hello"


async def test_a_session_that_was_mended_outlives_a_restart(
    server: FakeKeyServer, bot: Party, alice: Party
) -> None:
    turning = room(BOT, ALICE, encryption={"rotation_period_msgs": 1})
    await alice.says(ALICE, turning, "one")
    await bot.hears(BOT)
    theirs = await alice.machine._accounts.get(ALICE)
    (await bot.machine._accounts.get(BOT)).broken[theirs.curve] = ALICE
    await bot.machine.catch_up(BOT)
    await alice.hears(ALICE)
    await bot.start()

    event = await alice.says(ALICE, turning, "two")
    await bot.hears(BOT)

    assert await bot.understands(event) == "two"


async def test_a_homeserver_that_could_not_be_asked_for_devices_is_asked_again(
    server: FakeKeyServer,
    bridge: Party,
    alice: Party,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "FAILED_S", 0.0)
    carol = "@carol:far"
    theirs = await Party(server).start()
    await theirs.joins(carol)
    server.failing.add("far")
    here = room(GHOST, ALICE, carol)
    await bridge.says(GHOST, here, "one")

    server.failing.clear()
    event = await bridge.says(GHOST, here, "two")

    await theirs.hears(carol)
    assert await theirs.understands(event) == "two"


@pytest.mark.parametrize("name", ["query_keys", "claim_keys", "send_to_device"])
async def test_a_session_that_could_not_be_mended_is_mended_later(
    server: FakeKeyServer, bot: Party, alice: Party, name: str
) -> None:
    theirs = await alice.machine._accounts.get(ALICE)
    own = await bot.machine._accounts.get(BOT)
    own.broken[theirs.curve] = ALICE
    down_once(server, f"before {name}")
    with pytest.raises(HomeserverDownError):
        await bot.machine.catch_up(BOT)

    await bot.machine.catch_up(BOT)

    device = await alice.machine.device(ALICE)
    assert device
    assert len(server.inboxes[ALICE, device]) == 1
    assert own.broken == {}


async def test_a_session_that_nobody_lets_us_mend_stops_nothing_else(
    server: FakeKeyServer, bot: Party, alice: Party
) -> None:
    theirs = await alice.machine._accounts.get(ALICE)
    own = await bot.machine._accounts.get(BOT)
    own.broken[theirs.curve] = ALICE

    def refuse(name: str) -> None:
        if name == "before claim_keys":
            raise MatrixError(403, "M_FORBIDDEN")

    server.step = refuse

    for _ in "12":
        await bot.machine.catch_up(BOT)

    assert own.broken == {}
    assert server.asked["claim_keys"] == 1


async def test_devices_may_come_and_go_in_the_middle_of_a_burst(
    server: FakeKeyServer, bot: Party, alice: Party
) -> None:
    """Each reads what is said while it is there, however many ghosts speak at once."""
    ghosts = [f"@_xmpp_{number}:hs" for number in range(4)]
    here = room(ALICE, BOB, *ghosts)
    phone = await legacy(server, BOB)

    async def burst(words: str) -> list[dict[str, object]]:
        said = (bot.says(ghost, here, words) for ghost in ghosts for _ in range(5))
        return list(await asyncio.gather(*said))

    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(burst("first"))
        laptop = await legacy(server, BOB)
        await hears(bot, changed=[BOB])
    both = await burst("both")
    device = await phone.machine.device(BOB)
    assert device
    async with asyncio.TaskGroup() as tasks:
        amid = tasks.create_task(burst("amid"))
        await server.delete_device(BOB, device)
        await hears(bot, changed=[BOB])
    last = await burst("last")

    for party, user in ((alice, ALICE), (phone, BOB), (laptop, BOB)):
        await party.hears(user)
    everything = [*await first, *both, *await amid, *last]
    assert all([isinstance(await alice.reads(one), Plain) for one in everything])
    for reader, events in ((phone, both), (laptop, both), (laptop, last)):
        assert all([isinstance(await reader.reads(one), Plain) for one in events])
    assert not any([isinstance(await phone.reads(one), Plain) for one in last])
    places = list(map(spoken, everything))
    assert len(set(places)) == len(places)
    assert used_twice(server.txns.values()) == []
