from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import vodozemac

from bridge.core.ports import Unit
from bridge.matrix.client import HomeserverDownError, MatrixError
from bridge.matrix.megolm.letters import BATCH_MAX
from bridge.matrix.megolm.outgoing import PERIOD_MS
from bridge.matrix.megolm.ports import (
    Feed,
    Plain,
    Role,
    Stopped,
    Strictness,
    Unknown,
)
from tests.unit.matrix.megolm.key_server import FakeKeyServer, Wild
from tests.unit.matrix.megolm.party import (
    ALICE,
    BOB,
    GHOST,
    Fuse,
    Party,
    PowerCutError,
    room,
    text,
)

HERE = room(GHOST, ALICE)
ALL = room(GHOST, ALICE, BOB)
STEPS = 14


@pytest.fixture
async def bob(server: FakeKeyServer) -> Party:
    party = await Party(server).start()
    await party.joins(BOB)
    return party


def session(event: dict[str, Any]) -> str:
    return str(event["content"]["session_id"])


def index(event: dict[str, Any]) -> tuple[str, int]:
    message = vodozemac.MegolmMessage.from_base64(event["content"]["ciphertext"])
    return session(event), message.message_index()


async def changes(party: Party, *users: str) -> None:
    """Let the homeserver announce that devices of *users* changed."""
    unit = Unit()
    await party.machine.received(unit, GHOST, Feed(changed=users))
    await party.store.commit(unit)


async def test_the_key_is_sent_once_and_before_the_words(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    events = [await bridge.says(GHOST, HERE, str(n)) for n in range(5)]

    assert server.asked["send_to_device"] == 1
    await alice.hears(ALICE)
    assert [await alice.understands(one) for one in events] == list("01234")


async def test_a_session_goes_on_after_a_restart(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    first = await bridge.says(GHOST, HERE, "one")
    await bridge.start()

    second = await bridge.says(GHOST, HERE, "two")

    assert session(first) == session(second)
    assert server.asked["send_to_device"] == 1
    await alice.hears(ALICE)
    assert await alice.understands(second) == "two"


async def test_olm_sessions_are_let_go_and_go_on_where_they_were(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    rooms = [replace(HERE, id=f"!{number}:hs") for number in range(5)]

    events = [await bridge.says(GHOST, one, one.id) for one in rooms]

    assert (await bridge.machine._accounts.get(GHOST)).peers == {}
    assert server.asked["claim_keys"] == 1
    await alice.hears(ALICE)
    assert [await alice.understands(one) for one in events] == [r.id for r in rooms]


async def test_who_comes_in_reads_what_is_said_from_now_on(
    bridge: Party, alice: Party, bob: Party
) -> None:
    before = await bridge.says(GHOST, HERE, "before")
    after = await bridge.says(GHOST, ALL, "after")

    await bob.hears(BOB)

    assert session(before) == session(after)
    assert await bob.understands(after) == "after"
    assert not isinstance(await bob.reads(before), Plain)


async def test_who_left_reads_nothing_more(
    bridge: Party, alice: Party, bob: Party
) -> None:
    before = await bridge.says(GHOST, ALL, "before")
    after = await bridge.says(GHOST, HERE, "after")
    await bob.hears(BOB)
    await alice.hears(ALICE)

    assert session(before) != session(after)
    assert await bob.reads(after) == Unknown(session(after))
    assert await alice.understands(after) == "after"


async def test_a_device_that_is_gone_ends_the_session(
    server: FakeKeyServer, bridge: Party, alice: Party, bob: Party
) -> None:
    before = await bridge.says(GHOST, ALL, "before")
    device = await bob.machine.device(BOB)
    assert device
    await server.delete_device(BOB, device)
    await changes(bridge, BOB)

    after = await bridge.says(GHOST, ALL, "after")

    assert session(before) != session(after)


async def test_a_new_device_gets_the_key_without_ending_the_session(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    before = await bridge.says(GHOST, ALL, "before")
    bob = await Party(server).start()
    await bob.joins(BOB)
    await changes(bridge, BOB)

    after = await bridge.says(GHOST, ALL, "after")

    assert session(before) == session(after)
    await bob.hears(BOB)
    assert await bob.understands(after) == "after"


async def test_a_session_ends_after_a_week(bridge: Party, alice: Party) -> None:
    before = await bridge.says(GHOST, HERE, "before")
    now_ms = bridge.machine._outbound.now_ms()
    bridge.machine._outbound.now_ms = lambda: now_ms + PERIOD_MS

    after = await bridge.says(GHOST, HERE, "after")

    assert session(before) != session(after)


async def test_a_session_ends_after_a_hundred_messages(
    bridge: Party, alice: Party
) -> None:
    events = [await bridge.says(GHOST, HERE, str(n)) for n in range(201)]
    await alice.hears(ALICE)

    assert len(set(map(session, events))) == 3
    assert [await alice.understands(one) for one in events] == list(
        map(str, range(201))
    )


@pytest.mark.parametrize(
    "change", [{"visibility": "joined"}, {"encryption": {"rotation_period_msgs": 1}}]
)
async def test_a_session_ends_when_the_room_changes(
    bridge: Party, alice: Party, change: dict[str, Any]
) -> None:
    before = await bridge.says(GHOST, HERE, "before")

    after = await bridge.says(GHOST, room(GHOST, ALICE, **change), "after")

    assert session(before) != session(after)


async def test_a_device_that_the_homeserver_injects_gets_no_key(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    """S18."""
    await bridge.says(GHOST, HERE, "one")
    mallory = await Party(server).start()
    identity = server.identities[ALICE]
    device = await mallory.joins(ALICE)
    server.identities[ALICE] = identity
    await changes(bridge, ALICE)

    event = await bridge.says(GHOST, HERE, "two")

    told = server.inboxes[ALICE, device]
    assert [one["type"] for one in told] == ["m.room_key.withheld"]
    assert told[0]["content"]["code"] == "m.unverified"
    await alice.hears(ALICE)
    assert await alice.understands(event) == "two"


async def test_who_is_told_that_they_get_no_key_is_told_once(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    identity = server.identities[ALICE]
    mallory = await Party(server).start()
    device = await mallory.joins(ALICE)
    server.identities[ALICE] = identity
    for number in range(3):
        await bridge.says(GHOST, HERE, str(number))
        await changes(bridge, ALICE)

    assert len(server.inboxes[ALICE, device]) == 1


async def test_another_identity_stops_the_words_until_it_is_confirmed(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    await bridge.says(GHOST, HERE, "one")
    anew = await Party(server).start()
    await anew.joins(ALICE)
    await changes(bridge, ALICE)

    assert await bridge.writes(GHOST, HERE, text("two")) == Stopped((ALICE,))
    assert await bridge.machine.changed([ALICE, BOB]) == [ALICE]
    assert await bridge.machine.confirm(ALICE)

    event = await bridge.says(GHOST, HERE, "three")
    await anew.hears(ALICE)
    assert await anew.understands(event) == "three"


async def legacy(server: FakeKeyServer, user: str) -> Party:
    """Make somebody who has no cross-signing."""
    party = await Party(server).start()
    await party.joins(user)
    del server.identities[user]
    return party


async def test_people_without_an_identity_get_keys(
    server: FakeKeyServer, bridge: Party
) -> None:
    bob = await legacy(server, BOB)

    event = await bridge.says(GHOST, room(GHOST, BOB), "hello")

    await bob.hears(BOB)
    assert await bob.understands(event) == "hello"


async def test_the_strict_give_keys_to_signed_devices_only(
    server: FakeKeyServer, alice: Party
) -> None:
    bob = await legacy(server, BOB)
    strict = await Party(server, Strictness.SIGNED, bridge=True).start()

    event = await strict.says(GHOST, ALL, "hello")

    await bob.hears(BOB)
    await alice.hears(ALICE)
    assert not isinstance(await bob.reads(event), Plain)
    assert await alice.understands(event) == "hello"


async def test_a_device_without_keys_is_told_and_not_asked_at_every_word(
    server: FakeKeyServer, bridge: Party
) -> None:
    dumb = await Party(server).start()
    device = await dumb.joins(BOB, Role.OCCUPANT)

    for number in range(3):
        await bridge.says(GHOST, ALL, str(number))

    assert server.asked["claim_keys"] == 1
    told = server.inboxes[BOB, device]
    assert [one["content"]["code"] for one in told] == ["m.no_olm"]


async def test_keys_go_out_in_pieces(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    users = [f"@{number}:hs" for number in range(BATCH_MAX + 5)]
    for user in users:
        await alice.joins(user, Role.CONTACT)

    await bridge.says(GHOST, room(*users), "hello")

    assert server.asked["send_to_device"] == server.asked["claim_keys"] == 2
    assert server.asked["query_keys"] == 1


async def test_ghosts_give_no_keys_to_ghosts(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    device = await bridge.joins("@_xmpp_romeo:hs", Role.CONTACT)

    await bridge.says(GHOST, room(GHOST, ALICE, "@_xmpp_romeo:hs"), "hello")

    assert server.inboxes["@_xmpp_romeo:hs", device] == []


async def test_where_nobody_tells_of_changes_devices_are_asked_for(
    server: FakeKeyServer,
    bridge: Party,
    alice: Party,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.matrix.megolm.outbound.UNWATCHED_S", 0)
    unwatched = room(GHOST, ALICE, watched=False)

    for number in range(3):
        await bridge.says(GHOST, unwatched, str(number))

    assert server.asked["query_keys"] == 3


async def test_a_homeserver_that_is_down_is_asked_again(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    def down(name: str) -> None:
        if name == "before send_to_device":
            raise HomeserverDownError("down")

    server.step = down
    for _ in range(2):
        with pytest.raises(HomeserverDownError):
            await bridge.says(GHOST, HERE, "never said")
    server.step = lambda _: None

    event = await bridge.says(GHOST, HERE, "hello")

    assert len(server.txns) == 1
    await alice.hears(ALICE)
    assert await alice.understands(event) == "hello"


async def test_keys_that_no_homeserver_will_ever_take_stop_nobody(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    def refuse(name: str) -> None:
        if name == "before send_to_device":
            raise MatrixError(413, "M_TOO_LARGE")

    server.step = refuse

    assert await bridge.says(GHOST, HERE, "hello")


async def cut(
    bridge: Party, server: FakeKeyServer, at: int, say: Callable[[], Any]
) -> Wild:
    """Say something while the power goes at step *at*; None if it went."""
    bridge.step = server.step = Fuse(at)
    try:
        return await say()
    except PowerCutError:
        return None
    finally:
        bridge.step = server.step = lambda _: None


@pytest.mark.parametrize("at", range(1, STEPS + 1))
async def test_however_the_power_goes_all_that_is_said_is_read_and_no_key_used_twice(
    server: FakeKeyServer, bridge: Party, alice: Party, bob: Party, at: int
) -> None:
    said = [await bridge.says(GHOST, HERE, "before")]
    cut_one = await cut(
        bridge, server, at, lambda: bridge.says(GHOST, ALL, "meanwhile")
    )
    said += [cut_one] if cut_one else []
    await bridge.start()

    said.append(await bridge.says(GHOST, ALL, "after"))

    for party, user in ((alice, ALICE), (bob, BOB)):
        await party.hears(user)
        assert await party.understands(said[-1]) == "after"
        own = await party.machine._accounts.get(user)
        assert own.broken == {}
    for event in said:
        assert isinstance(await alice.reads(event), Plain)
    assert len(set(map(index, said))) == len(said)


async def test_the_power_was_cut_at_every_step(
    server: FakeKeyServer, bridge: Party, alice: Party, bob: Party
) -> None:
    await bridge.says(GHOST, HERE, "before")
    fuse = Fuse(0)
    bridge.step = server.step = fuse

    await bridge.says(GHOST, ALL, "meanwhile")

    assert fuse.steps == STEPS
