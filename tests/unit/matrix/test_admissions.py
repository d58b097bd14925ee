import asyncio
import io
from collections.abc import AsyncIterator

import pytest

from bridge.matrix.admissions import Admissions
from bridge.matrix.megolm.ports import SealedRoom
from bridge.matrix.wires import Says, content, wire
from tests.homeserver import Fault
from tests.unit.matrix.secret import SecretWorld, secret_world
from tests.unit.matrix.world import ALICE, GHOST, HALL, opened, parcel

INVITE = {"membership": "invite"}


@pytest.fixture
async def secret() -> AsyncIterator[SecretWorld]:
    """A room into which Alice is invited, and where nobody else is."""
    async with secret_world() as world:
        world.room()
        world.matrix.server.add(HALL, GHOST, "m.room.member", INVITE, state_key=ALICE)
        world.matrix.link()
        await world.matrix.adapter._sealed.add(HALL)
        yield world


async def hello(secret: SecretWorld) -> None:
    said = content({"msgtype": "m.text", "body": "hello"})
    says = Says(GHOST, HALL, said, "Juliet", "juliet@capulet.lit")
    await secret.matrix.adapter.send([parcel(wire(says))])


def comes_in(secret: SecretWorld) -> None:
    secret.matrix.adapter.arrivals([opened(secret.matrix.joins(HALL, ALICE))])


async def admitted(admissions: Admissions) -> None:
    """Let promises be kept until none is left."""
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(admissions.run())
        while admissions._machine.promised:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        running.cancel()


async def test_who_accepts_is_given_the_key_then(
    secret: SecretWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.matrix.admissions.MARGIN_S", 0.01)
    await hello(secret)
    assert list(secret.secrecy.machine.promised) == [HALL]
    assert secret.matrix.server.asked("sendToDevice") == []

    comes_in(secret)
    await admitted(secret.secrecy.admissions)

    assert [c["body"] for c in await secret.alice_reads()] == ["hello"]


async def test_what_fails_is_tried_again(
    secret: SecretWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.matrix.admissions.MARGIN_S", 0.01)
    monkeypatch.setattr("bridge.matrix.admissions.RETRY_S", 0.01)
    await hello(secret)
    secret.matrix.server.faults.append(Fault("sendToDevice", 502, "bad gateway"))

    comes_in(secret)
    await admitted(secret.secrecy.admissions)

    assert [c["body"] for c in await secret.alice_reads()] == ["hello"]


async def test_what_an_earlier_run_promised_is_kept(
    secret: SecretWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.matrix.admissions.MARGIN_S", 0.01)
    await hello(secret)
    secret.matrix.joins(HALL, ALICE)

    await secret.matrix.restarts()
    secret.secrecy.audiences.pause_s = 0.0
    await admitted(secret.secrecy.admissions)

    assert [c["body"] for c in await secret.alice_reads()] == ["hello"]


async def test_a_room_that_we_are_no_longer_in_is_not_asked_about_for_ever(
    secret: SecretWorld,
) -> None:
    await hello(secret)
    secret.secrecy.audiences.forget(HALL)
    out = {"errcode": "M_FORBIDDEN", "error": "you are not in the room"}
    secret.matrix.server.faults.append(Fault("/members", 403, out))
    admissions = secret.secrecy.admissions
    admissions._due.clear()

    await admissions._admit(HALL)

    assert admissions._due == {}
    assert list(secret.secrecy.machine.promised) == [HALL]  # should we come back


async def test_what_breaks_over_one_room_stops_no_keys_of_others(
    secret: SecretWorld, monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    async def broken(_: SealedRoom) -> None:
        raise ValueError("nobody had thought of that")

    await hello(secret)
    admissions = secret.secrecy.admissions
    monkeypatch.setattr(admissions._machine, "admit", broken)

    await admissions._admit(HALL)

    assert f"room {HALL}: who came in lacks keys" in log.getvalue()
