from bridge.matrix.client import HomeserverDownError
from bridge.matrix.megolm.ports import Plain, SealedRoom, Unknown
from tests.unit.matrix.megolm.key_server import FakeKeyServer
from tests.unit.matrix.megolm.party import (
    ALICE,
    BOB,
    GHOST,
    ROOM,
    Fuse,
    Party,
    PowerCutError,
    room,
)

STEPS = 9


def waits(*who: str) -> SealedRoom:
    """The room while *who* has not looked around there."""
    return room(GHOST, ALICE, BOB, awaited=frozenset(who))


THERE = waits()


async def test_who_has_not_looked_around_gets_the_key_when_they_have(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    event = await bridge.says(GHOST, waits(ALICE), "hello")
    await alice.hears(ALICE)
    assert await alice.reads(event) == Unknown(event["content"]["session_id"])

    await bridge.machine.admit(waits(ALICE))
    await alice.hears(ALICE)
    assert isinstance(await alice.reads(event), Unknown)

    await bridge.machine.admit(THERE)
    await alice.hears(ALICE)
    assert await alice.understands(event) == "hello"
    assert list(bridge.machine.promised) == []


async def test_the_key_is_that_of_what_was_first_said_to_them(
    bridge: Party, alice: Party
) -> None:
    nobody = room(GHOST)
    early = await bridge.says(GHOST, nobody, "to nobody")
    events = [await bridge.says(GHOST, waits(ALICE), str(n)) for n in range(3)]

    await bridge.machine.admit(THERE)
    await alice.hears(ALICE)

    assert [await alice.understands(one) for one in events] == ["0", "1", "2"]
    assert not isinstance(await alice.reads(early), Plain)


async def test_keys_of_several_sessions_are_kept_over_a_restart(
    bridge: Party, alice: Party
) -> None:
    turning = {"rotation_period_msgs": 1}
    sealed = room(GHOST, ALICE, awaited=frozenset([ALICE]), encryption=turning)
    events = [await bridge.says(GHOST, sealed, str(n)) for n in range(3)]

    await bridge.start()
    assert list(bridge.machine.promised) == [ROOM]
    await bridge.machine.admit(room(GHOST, ALICE))
    await alice.hears(ALICE)

    assert [await alice.understands(one) for one in events] == ["0", "1", "2"]


async def test_what_is_said_later_needs_no_other_key(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    await bridge.says(GHOST, waits(ALICE), "one")
    await bridge.machine.admit(THERE)
    sent = server.asked["send_to_device"]

    event = await bridge.says(GHOST, THERE, "two")

    assert server.asked["send_to_device"] == sent
    await alice.hears(ALICE)
    assert await alice.understands(event) == "two"


async def test_whoever_declines_is_given_nothing(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    await bridge.says(GHOST, waits(ALICE), "hello")

    await bridge.machine.admit(room(GHOST))

    assert list(bridge.machine.promised) == []
    assert server.asked["send_to_device"] == 0


async def test_people_whose_clients_look_up_nobody_get_the_key_at_once(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    del server.identities[ALICE]

    event = await bridge.says(GHOST, waits(ALICE), "hello")

    await alice.hears(ALICE)
    assert await alice.understands(event) == "hello"


async def test_a_homeserver_that_is_down_costs_nobody_a_key(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    event = await bridge.says(GHOST, waits(ALICE), "hello")

    def down(name: str) -> None:
        if name == "before send_to_device":
            raise HomeserverDownError("down")

    server.step = down
    try:
        await bridge.machine.admit(THERE)
    except HomeserverDownError:
        server.step = lambda _: None
    assert list(bridge.machine.promised) == [ROOM]

    await bridge.machine.admit(THERE)

    await alice.hears(ALICE)
    assert await alice.understands(event) == "hello"


async def test_however_the_power_goes_the_promise_is_kept(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    event = await bridge.says(GHOST, waits(ALICE), "hello")
    cuts = 0
    for at in range(1, STEPS + 1):
        bridge.step = server.step = Fuse(at)
        try:
            await bridge.machine.admit(THERE)
        except PowerCutError:
            cuts += 1
        bridge.step = server.step = lambda _: None
        await bridge.start()

    await bridge.machine.admit(THERE)

    assert cuts > STEPS // 2
    await alice.hears(ALICE)
    assert await alice.understands(event) == "hello"
    assert list(bridge.machine.promised) == []
