import asyncio
import logging

import pytest

from bridge.core.ports import Unit
from bridge.matrix.client import HomeserverDownError, MatrixError
from bridge.matrix.megolm import account
from bridge.matrix.megolm.ports import Feed, Role
from tests.unit.matrix.megolm.key_server import FakeKeyServer, Wild
from tests.unit.matrix.megolm.party import (
    ALICE,
    BOT,
    GHOST,
    Fuse,
    Party,
    PowerCutError,
    room,
)

STEPS = 12


async def used_up(party: Party, user: str, **counts: Wild) -> None:
    """Let the feed of *user* say what is left."""
    unit = Unit()
    await party.machine.received(unit, user, Feed(**counts))
    await party.store.commit(unit)
    await party.machine.catch_up(user)


@pytest.mark.parametrize(
    ("role", "one_time", "fallback"),
    [(Role.BOT, 50, 1), (Role.CONTACT, 0, 1), (Role.OCCUPANT, 0, 0)],
)
async def test_a_device_has_the_keys_that_its_role_needs(
    server: FakeKeyServer, role: Role, one_time: int, fallback: int
) -> None:
    party = await Party(server, bridge=True).start()

    device = await party.joins(GHOST, role)

    assert len(server.one_time[GHOST, device]) == one_time
    assert len(server.fallback[GHOST, device]) == fallback
    assert server.names == {(GHOST, device): "XMPP bridge"}


async def test_who_can_be_written_to_later_on_keeps_the_device(
    server: FakeKeyServer, bridge: Party
) -> None:
    before = await bridge.machine.device(GHOST)

    after = await bridge.joins(GHOST, Role.CONTACT)

    assert after == before
    assert server.fallback[GHOST, after]


async def test_a_device_that_can_more_keeps_its_role(
    server: FakeKeyServer, alice: Party
) -> None:
    asked = dict(server.asked)

    await alice.joins(ALICE, Role.OCCUPANT)

    assert server.asked == asked


async def test_many_who_ask_at_once_get_one_device(server: FakeKeyServer) -> None:
    party = await Party(server, bridge=True).start()

    devices = await asyncio.gather(*(party.joins(GHOST) for _ in range(20)))

    assert len(set(devices)) == 1
    assert server.asked["upload_cross_signing"] == server.asked["upload_keys"] == 1


@pytest.mark.parametrize("at", range(1, STEPS + 1))
async def test_a_set_up_that_was_cut_goes_on_as_if_nothing_was(
    server: FakeKeyServer, at: int
) -> None:
    fuse = Fuse(at)
    party = await Party(server, step=fuse).start()
    server.step = fuse
    with pytest.raises(PowerCutError):
        await party.joins(ALICE)
    identity = server.identities.get(ALICE)
    await party.start()

    device = await party.joins(ALICE)

    assert server.refused == []
    assert list(server.names) == [(ALICE, device)]
    assert identity in (None, server.identities[ALICE])
    assert len(server.one_time[ALICE, device]) == 50
    for key in server.one_time[ALICE, device]:
        assert key.startswith("signed_curve25519:")


async def test_the_steps_of_a_set_up_are_as_many_as_are_tried(
    server: FakeKeyServer,
) -> None:
    fuse = Fuse(0)
    party = await Party(server, step=fuse).start()
    server.step = fuse

    await party.joins(ALICE)

    assert fuse.steps == STEPS


async def test_one_time_keys_are_brought_up_to_stock(
    server: FakeKeyServer, alice: Party
) -> None:
    """E65."""
    device = await alice.machine.device(ALICE)
    assert device
    for name in list(server.one_time[ALICE, device])[:30]:
        del server.one_time[ALICE, device][name]

    await used_up(alice, ALICE, one_time=20)

    assert len(server.one_time[ALICE, device]) == 50


@pytest.mark.parametrize("count", [25, 50, 10**9])
async def test_enough_one_time_keys_are_enough(
    server: FakeKeyServer, alice: Party, count: int
) -> None:
    await used_up(alice, ALICE, one_time=count)

    assert server.asked["upload_keys"] == 1


@pytest.mark.parametrize("at", range(1, 7))
async def test_keys_that_were_lost_on_the_way_are_uploaded_again_as_they_were(
    server: FakeKeyServer, at: int
) -> None:
    """Row 32."""
    party = await Party(server).start()
    device = await party.joins(ALICE)
    server.one_time[ALICE, device].clear()
    party.step = server.step = Fuse(at)
    with pytest.raises(PowerCutError):
        await used_up(party, ALICE, one_time=0)
    party.step = server.step = lambda _: None
    await party.start()

    there = len(server.one_time[ALICE, device])
    await used_up(party, ALICE, one_time=there)

    assert server.refused == []
    assert len(server.one_time[ALICE, device]) == 50
    assert await party.machine.device(ALICE) == device


async def test_a_used_fallback_key_is_replaced(
    server: FakeKeyServer, alice: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await alice.machine.device(ALICE)
    assert device
    before = dict(server.fallback[ALICE, device])
    monkeypatch.setattr(account, "FALLBACK_S", 0)

    await used_up(alice, ALICE, fallback=False)

    assert server.fallback[ALICE, device] != before


async def test_a_fallback_key_is_not_replaced_twice_within_the_hour(
    server: FakeKeyServer, alice: Party
) -> None:
    await used_up(alice, ALICE, fallback=False)

    assert server.asked["upload_keys"] == 1


async def clash(server: FakeKeyServer, party: Party, count: int) -> None:
    """Let a copy of *party* upload *count* more keys than it, and *party* then."""
    copy = await Party(server).start()
    copy.disk.records.update(party.disk.records)
    await copy.start()
    device = await party.machine.device(ALICE)
    assert device
    for start in range(0, count, 50):
        server.one_time[ALICE, device].clear()
        await used_up(copy, ALICE, one_time=max(0, 50 - (count - start)))
    await used_up(party, ALICE, one_time=0)


async def test_keys_that_clash_are_tried_once_more_with_others(
    server: FakeKeyServer, alice: Party, caplog: pytest.LogCaptureFixture
) -> None:
    """E65."""
    before = await alice.machine.device(ALICE)

    await clash(server, alice, 50)

    assert len(server.refused) == 1
    assert await alice.machine.device(ALICE) == before
    assert "clash" in caplog.text


async def test_a_device_that_somebody_else_uses_is_left_for_a_new_one(
    server: FakeKeyServer, alice: Party, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 32."""
    before = await alice.machine.device(ALICE)
    identity = server.identities[ALICE]

    await clash(server, alice, 50)
    await clash(server, alice, 50)

    after = await alice.machine.device(ALICE)
    assert after != before
    assert list(server.names) == [(ALICE, after)]
    assert server.identities[ALICE] == identity
    assert len(server.refused) == 2
    assert [r.levelno for r in caplog.records].count(logging.ERROR) == 1


async def test_another_refusal_is_not_taken_for_a_clash(
    server: FakeKeyServer, alice: Party
) -> None:
    def refuse(name: str) -> None:
        if name == "before upload_keys":
            raise MatrixError(400, "M_BAD_JSON", "no")

    server.step = refuse

    with pytest.raises(MatrixError):
        await used_up(alice, ALICE, one_time=0)

    assert server.asked["upload_keys"] == 2


async def test_after_a_restored_backup_all_devices_are_new_and_sign_as_before(
    server: FakeKeyServer, bridge: Party, alice: Party
) -> None:
    """Row 33."""
    before = await bridge.machine.device(GHOST)
    await bridge.says(GHOST, room(ALICE), "one")
    identity = server.identities[GHOST]
    await bridge.start()

    await bridge.machine.recover()
    event = await bridge.says(GHOST, room(ALICE), "two")

    after = await bridge.machine.device(GHOST)
    assert after != before
    assert server.identities[GHOST] == identity
    assert (GHOST, before) not in server.names
    unit = Unit()
    await alice.machine.received(unit, ALICE, Feed(changed=[GHOST]))
    await alice.hears(ALICE)
    assert await alice.understands(event) == "two"


async def test_recovery_lasts_beyond_the_next_start(
    server: FakeKeyServer, bridge: Party
) -> None:
    await bridge.joins(BOT)
    before = await bridge.machine.device(BOT)
    await bridge.machine.recover()
    await bridge.start()

    assert await bridge.machine.device(BOT) is None
    assert await bridge.joins(BOT) != before
    await bridge.start()
    assert await bridge.machine.device(BOT)


async def test_a_homeserver_that_takes_no_keys_at_all_ends_in_no_loop(
    server: FakeKeyServer, alice: Party, caplog: pytest.LogCaptureFixture
) -> None:
    """E65: a device that is new cannot clash with a copy: it is no use to go on."""
    identity = server.identities[ALICE]

    def refuse(name: str) -> None:
        if name == "before upload_keys":
            raise MatrixError(400, "M_UNKNOWN", "One time key x already exists")

    server.step = refuse
    for _ in range(20):
        with pytest.raises(MatrixError, match="already exists"):
            await used_up(alice, ALICE, one_time=0)

    assert server.asked["upload_keys"] <= 6
    assert len(server.names) == 2  # what it was, and what it is to be
    assert server.identities[ALICE] == identity
    assert [r.levelno for r in caplog.records].count(logging.ERROR) == 1
    server.step = lambda _: None
    alice.machine._accounts._now = lambda: 4e12
    assert await alice.joins(ALICE) in server.device_keys[ALICE]
    assert len(server.names) == 1


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        (HomeserverDownError("down"), 1),
        (MatrixError(429, "M_LIMIT_EXCEEDED"), 1),
        (MatrixError(401, "M_X"), 2),
    ],
)
async def test_a_device_that_cannot_be_removed_stops_nobody(
    server: FakeKeyServer, alice: Party, gone: Exception, left: int
) -> None:
    def refuse(name: str) -> None:
        if name == "before delete_device":
            raise gone

    server.step = refuse
    await alice.machine.replace(ALICE)

    after = await alice.joins(ALICE)

    assert len(server.names) == 2
    server.step = lambda _: None
    assert await alice.joins(ALICE) == after
    assert len(server.names) == left
