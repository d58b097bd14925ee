from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bridge.matrix.megolm.ports import Unknown
from bridge.matrix.sending import ROOMS_AT_ONCE_MAX
from bridge.matrix.wires import Says, Stands, content, order, wire
from bridge.model.delivery import Delivered, Later, Refusal, Refused
from bridge.model.records import Kind
from tests.homeserver import Fault
from tests.unit.matrix.megolm.party import Party
from tests.unit.matrix.secret import SecretWorld, secret_world
from tests.unit.matrix.world import ALICE, BOB, BOT, GHOST, HALL, opened, parcel


@pytest.fixture
async def secret() -> AsyncIterator[SecretWorld]:
    async with secret_world() as world:
        world.room()
        world.matrix.link()
        await world.matrix.adapter._sealed.add(HALL)
        yield world


def says(words: str, **more: object) -> Says:
    said = content({"msgtype": "m.text", "body": words})
    return Says(GHOST, HALL, said, "Juliet", "juliet@capulet.lit", **more)  # type: ignore[arg-type]


async def test_what_was_encrypted_once_is_sent_again_as_it_is(
    secret: SecretWorld,
) -> None:
    one = parcel(wire(says("hello")))
    secret.matrix.server.faults.append(Fault("/send/", 502, "bad gateway"))

    (first,) = await secret.matrix.adapter.send([one])
    (second,) = await secret.matrix.adapter.send([one])

    assert isinstance(first, Later)
    assert isinstance(second, Delivered)
    (final,) = [p for unit in secret.matrix.store.units for p in unit.final]
    said = order(final.wire.data)
    assert isinstance(said, Says)
    assert said.type == "m.room.encrypted"
    assert final.wire.key == one.wire.key


async def test_after_a_crash_the_same_ciphertext_leaves(secret: SecretWorld) -> None:
    one = parcel(wire(says("hello")))
    secret.matrix.server.faults.append(Fault("/send/", 502, "bad gateway", after=True))
    await secret.matrix.adapter.send([one])
    (final,) = [p for unit in secret.matrix.store.units for p in unit.final]

    await secret.matrix.restarts()
    (outcome,) = await secret.matrix.adapter.send([final])

    assert isinstance(outcome, Delivered)
    assert [c["body"] for c in await secret.alice_reads()] == ["hello"]


async def test_nothing_leaves_before_the_ratchet_is_on_disk(
    secret: SecretWorld,
) -> None:
    await secret.matrix.adapter.send([parcel(wire(says("one")))])
    sent = len(secret.matrix.server.asked("/send/"))
    secret.matrix.store.broken = True

    with pytest.raises(Exception, match="full"):
        await secret.matrix.adapter.send([parcel(wire(says("two")))])

    assert len(secret.matrix.server.asked("/send/")) == sent


async def test_reactions_and_redactions_stay_as_they_are(secret: SecretWorld) -> None:
    await secret.matrix.adapter.send([parcel(wire(says("x", type="m.reaction")))])

    types = [e["type"] for e in secret.matrix.server.rooms[HALL].events]
    assert types[-1] == "m.reaction"


async def test_an_unknown_encryption_is_refused_in_words(secret: SecretWorld) -> None:
    secret.matrix.adapter._sealed._rooms[HALL] = {"algorithm": "m.future"}

    (outcome,) = await secret.matrix.adapter.send([parcel(wire(says("x")))])

    assert isinstance(outcome, Refused)
    assert outcome.why is Refusal.UNENCRYPTABLE
    assert "does not know" in outcome.detail


async def test_a_homeserver_without_devices_is_named(secret: SecretWorld) -> None:
    error = {"errcode": "M_X", "error": "no devices"}
    fault = Fault("keys/upload", 400, error, times=2)
    secret.matrix.server.faults.append(fault)

    (outcome,) = await secret.matrix.adapter.send([parcel(wire(says("x")))])

    assert outcome == Refused(Refusal.UNENCRYPTABLE, "no devices")


@pytest.mark.parametrize(
    ("status", "code"), [(429, "M_LIMIT_EXCEEDED"), (500, "M_UNKNOWN")]
)
async def test_what_passes_is_waited_for(
    secret: SecretWorld, status: int, code: str
) -> None:
    secret.matrix.server.faults.append(
        Fault("keys/upload", status, {"errcode": code}, times=2)
    )

    (outcome,) = await secret.matrix.adapter.send([parcel(wire(says("x")))])

    assert isinstance(outcome, Later)


async def test_a_device_that_is_gone_stops_no_message(secret: SecretWorld) -> None:
    await secret.matrix.adapter.send([parcel(wire(says("one")))])
    (device,) = secret.matrix.server.keys.device_keys[GHOST]
    secret.matrix.server.lost.add(device)

    (two,) = await secret.matrix.adapter.send([parcel(wire(says("two")))])
    (three,) = await secret.matrix.adapter.send([parcel(wire(says("three")))])

    assert isinstance(two, Delivered)
    assert isinstance(three, Delivered)
    bodies = [c["body"] for c in await secret.alice_reads()]
    assert bodies == ["one", "two", "three"]


async def test_words_of_our_own_go_to_those_who_have_not_changed(
    secret: SecretWorld,
) -> None:
    secret.matrix.joins(HALL, BOB)
    await secret.alice.joins(BOB)
    (notice,) = secret.matrix.adapter._bot.notice(HALL, "listen")
    machine = secret.secrecy.machine
    await secret.matrix.adapter.send([parcel(wire(says("before")))])
    person = await machine._devices.person(BOB)
    person.pinned = "another"
    machine._devices.version += 1

    (said,) = await secret.matrix.adapter.send([parcel(wire(says("x")))])
    (told,) = await secret.matrix.adapter.send([parcel(notice)])

    assert isinstance(said, Refused)
    assert "!xmpp confirm" in said.detail
    assert BOB in said.detail
    assert isinstance(told, Delivered)
    assert [c["body"] for c in await secret.alice_reads()] == ["before", "listen"]


async def test_in_a_chat_nobody_hears_of_devices_so_it_is_asked(
    secret: SecretWorld,
) -> None:
    gone = {"membership": "leave"}
    secret.matrix.server.add(HALL, BOT, "m.room.member", gone, state_key=BOT)
    secret.matrix.host.portals[HALL] = replace(
        secret.matrix.host.portals[HALL], kind=Kind.DIRECT, agent=GHOST
    )
    secret.matrix.joins(HALL, GHOST)
    secret.matrix.server.users.add(GHOST)

    await secret.matrix.adapter.send([parcel(wire(says("one")))])
    await secret.matrix.adapter.send([parcel(wire(says("two")))])

    assert len(secret.matrix.server.asked("simplified")) == 1
    (device,) = secret.matrix.server.keys.device_keys[GHOST]
    assert secret.matrix.server.keys.fallback[GHOST, device]
    assert secret.matrix.server.keys.one_time[GHOST, device] == {}
    assert [c["body"] for c in await secret.alice_reads()] == ["one", "two"]
    assert ALICE in secret.alice.server.device_keys


async def test_a_room_that_was_encrypted_while_nobody_told_us_is_noticed(
    secret: SecretWorld,
) -> None:
    secret.matrix.adapter._sealed._rooms.clear()

    await secret.matrix.adapter.send([parcel(wire(says("hidden")))])

    assert secret.matrix.server.bodies(HALL) == []
    assert [c["body"] for c in await secret.alice_reads()] == ["hidden"]


async def test_a_room_is_looked_at_once_and_again_after_an_outage(
    secret: SecretWorld,
) -> None:
    room = secret.matrix.room("!plain:hs", ALICE)
    one = Says(BOT, room, content({"msgtype": "m.text", "body": "one"}), own=True)

    for _ in range(2):
        await secret.matrix.adapter.send([parcel(wire(one))])
    once = len(secret.matrix.server.asked("m.room.encryption"))
    secret.matrix.adapter.doubt()
    await secret.matrix.adapter.send([parcel(wire(one))])

    assert once == 1
    assert len(secret.matrix.server.asked("m.room.encryption")) == 2
    assert secret.matrix.server.bodies(room) == ["one"] * 3


async def test_what_cannot_be_looked_at_now_waits(secret: SecretWorld) -> None:
    secret.matrix.adapter._sealed._rooms.clear()
    error = {"errcode": "M_UNKNOWN"}
    secret.matrix.server.faults.append(Fault("m.room.encryption", 500, error))

    (outcome,) = await secret.matrix.adapter.send([parcel(wire(says("x")))])

    assert isinstance(outcome, Later)


async def test_who_comes_in_has_a_device_before_they_speak(
    secret: SecretWorld,
) -> None:
    stands = Stands(GHOST, HALL, GHOST, "join", "Juliet", "juliet@capulet.lit")

    await secret.matrix.adapter.send([parcel(wire(stands))])

    asked = [path for _, path, *_ in secret.matrix.server.requests]
    uploaded = next(n for n, path in enumerate(asked) if "keys/upload" in path)
    joined = next(n for n, path in enumerate(asked) if "m.room.member" in path)
    assert uploaded < joined


async def test_clients_have_time_to_look_up_who_is_new_and_others_speak_meanwhile(
    secret: SecretWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret.secrecy.audiences.pause_s = 5.0
    slots = secret.matrix.adapter._sending._slots
    pauses: list[tuple[float, int]] = []

    async def pause(seconds: float) -> None:
        pauses.append((seconds, slots._value))

    monkeypatch.setattr("bridge.matrix.sending.asyncio.sleep", pause)

    for words in ("one", "two"):
        await secret.matrix.adapter.send([parcel(wire(says(words)))])

    ((wait_s, free),) = pauses
    assert 4.0 < wait_s <= 5.0
    assert free == ROOMS_AT_ONCE_MAX
    assert slots._value == ROOMS_AT_ONCE_MAX


@pytest.mark.parametrize("end", ["leave", "ban"])
async def test_who_left_or_was_put_out_reads_nothing_more(
    secret: SecretWorld, end: str
) -> None:
    """S20."""
    bob = await Party(secret.matrix.server.keys).start()
    await bob.joins(BOB)
    secret.matrix.joins(HALL, BOB)
    await secret.matrix.adapter.send([parcel(wire(says("before")))])
    gone = {"membership": end}
    event = secret.matrix.server.add(HALL, ALICE, "m.room.member", gone, state_key=BOB)
    secret.matrix.adapter.arrivals([opened(event)])

    await secret.matrix.adapter.send([parcel(wire(says("after")))])

    await bob.hears(BOB)
    events = secret.matrix.server.rooms[HALL].events
    before, after = [e for e in events if e["type"] == "m.room.encrypted"]
    assert await bob.understands(before) == "before"
    assert isinstance(await bob.reads(after), Unknown)
    assert [c["body"] for c in await secret.alice_reads()] == ["before", "after"]


async def test_who_left_unheard_reads_nothing_once_the_homeserver_was_away(
    secret: SecretWorld,
) -> None:
    """S20, F2: what it had to push is lost with it, and said again only later."""
    bob = await Party(secret.matrix.server.keys).start()
    await bob.joins(BOB)
    secret.matrix.joins(HALL, BOB)
    await secret.matrix.adapter.send([parcel(wire(says("before")))])
    gone = {"membership": "ban"}
    secret.matrix.server.add(HALL, ALICE, "m.room.member", gone, state_key=BOB)

    secret.matrix.adapter.doubt()
    await secret.matrix.adapter.send([parcel(wire(says("after")))])

    await bob.hears(BOB)
    after = secret.matrix.server.rooms[HALL].events[-1]
    assert isinstance(await bob.reads(after), Unknown)
