from dataclasses import replace

from bridge.matrix.megolm import healing
from bridge.matrix.megolm.own import Own
from bridge.matrix.megolm.ports import Unknown
from tests.unit.matrix.megolm.key_server import FakeKeyServer
from tests.unit.matrix.megolm.party import ALICE, BOT, GHOST, Party, room


async def own_of(party: Party, user: str) -> Own:
    return await party.machine._accounts.get(user)


async def test_a_session_that_was_lost_is_replaced_and_words_arrive_again(
    bridge: Party, alice: Party
) -> None:
    await bridge.joins(BOT)
    bot, her = await own_of(bridge, BOT), await own_of(alice, ALICE)
    await alice.says(ALICE, room(BOT), "one")
    await bridge.hears(BOT)
    bot.peers.clear()

    lost = await alice.says(ALICE, replace(room(BOT), id="!second:hs"), "two")
    await bridge.hears(BOT)
    await alice.hears(ALICE)
    event = await alice.says(ALICE, replace(room(BOT), id="!third:hs"), "three")
    await bridge.hears(BOT)

    assert isinstance(await bridge.reads(lost), Unknown)
    assert await bridge.understands(event) == "three"
    assert len(her.peers[bot.curve]) == 2


async def test_a_session_is_not_mended_twice_within_the_hour(
    server: FakeKeyServer, alice: Party, bridge: Party
) -> None:
    await bridge.joins(BOT)
    bot, her = await own_of(bridge, BOT), await own_of(alice, ALICE)
    for _ in range(3):
        bot.broken[her.curve] = ALICE
        await bridge.machine.catch_up(BOT)

    device = await alice.machine.device(ALICE)
    assert device
    assert len(server.inboxes[ALICE, device]) == 1
    assert healing.EVERY_S >= 3600


async def test_a_mended_session_says_so_and_is_used_from_then_on(
    server: FakeKeyServer, alice: Party, bridge: Party
) -> None:
    await bridge.joins(BOT)
    bot, her = await own_of(bridge, BOT), await own_of(alice, ALICE)
    bot.broken[her.curve] = ALICE

    await bridge.machine.catch_up(BOT)
    await alice.hears(ALICE)
    event = await alice.says(ALICE, room(BOT), "hello")
    await bridge.hears(BOT)

    assert await bridge.understands(event) == "hello"
    assert server.asked["claim_keys"] == 1


async def test_nothing_is_mended_with_who_is_not_there(
    server: FakeKeyServer, bridge: Party
) -> None:
    ghost = await own_of(bridge, GHOST)
    ghost.broken["nobody's"] = "@nobody:hs"

    await bridge.machine.catch_up(GHOST)

    assert server.asked["claim_keys"] == server.asked["send_to_device"] == 0


async def test_a_device_without_keys_is_left_as_it_is(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    ghost, her = await own_of(bridge, GHOST), await own_of(alice, ALICE)
    server.one_time.clear()
    server.fallback.clear()
    ghost.broken[her.curve] = ALICE

    await bridge.machine.catch_up(GHOST)

    assert server.asked["send_to_device"] == 0
