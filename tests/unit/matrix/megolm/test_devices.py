import asyncio

import pytest

from bridge.core.ports import Unit
from bridge.matrix.client import HomeserverDownError
from bridge.matrix.megolm.devices import Devices
from bridge.matrix.megolm.persons import Person
from bridge.matrix.megolm.vault import Vault
from tests.fakes_store import Disk, FakeStore
from tests.unit.matrix.megolm.key_server import FakeKeyServer, Wild
from tests.unit.matrix.megolm.party import ALICE, BOB, Party

CAROL = "@carol:far"


@pytest.fixture
def devices(server: FakeKeyServer) -> Devices:
    return Devices(server, Vault(FakeStore()))


async def test_many_who_ask_at_once_ask_once(
    server: FakeKeyServer, devices: Devices, alice: Party
) -> None:
    found = await asyncio.gather(*(devices.of([ALICE, BOB]) for _ in range(20)))

    assert all(len(persons[ALICE].devices) == 1 for persons in found)
    assert server.asked["query_keys"] == 1


async def test_what_is_known_is_not_asked_again_before_it_changes(
    server: FakeKeyServer, devices: Devices, alice: Party
) -> None:
    await devices.of([ALICE])
    version = devices.version
    await devices.of([ALICE])
    assert server.asked["query_keys"] == 1
    assert devices.version == version

    await devices.announce(Unit(), [ALICE])
    await devices.of([ALICE])

    assert server.asked["query_keys"] == 2
    assert devices.version != version


async def test_a_change_that_is_announced_while_we_ask_is_asked_for_again(
    server: FakeKeyServer, devices: Devices, alice: Party
) -> None:
    class Slow(FakeKeyServer):
        async def query_keys(self, users: Wild) -> Wild:
            await devices.announce(Unit(), users)
            return await super().query_keys(users)

    devices._server = Slow()
    await devices.of([ALICE])
    devices._server = server

    assert (await devices.of([ALICE]))[ALICE].devices


async def test_an_announcement_outlives_a_restart(
    server: FakeKeyServer, alice: Party
) -> None:
    disk = Disk()
    store = FakeStore(disk)
    devices = Devices(server, Vault(store))
    await devices.of([ALICE])
    unit = Unit()
    await devices.announce(unit, [ALICE])
    await store.commit(unit)

    again = Devices(server, Vault(FakeStore(disk)))

    assert (await again.person(ALICE)).outdated
    assert (await again.person(ALICE)).devices


async def test_what_was_known_outlives_a_restart_and_the_identity_stays_pinned(
    server: FakeKeyServer, alice: Party
) -> None:
    disk = Disk()
    await Devices(server, Vault(FakeStore(disk))).of([ALICE])
    await (await Party(server).start()).joins(ALICE)

    again = Devices(server, Vault(FakeStore(disk)))
    persons = await again.of([ALICE])

    assert server.asked["query_keys"] == 1
    assert len(persons[ALICE].devices) == 1
    assert (await again.refresh(ALICE)).changed


async def test_after_a_gap_all_are_asked_for_again(
    server: FakeKeyServer, devices: Devices, alice: Party
) -> None:
    await devices.of([ALICE])
    version = devices.version

    devices.doubt()
    await devices.of([ALICE])
    await devices.of([ALICE])

    assert server.asked["query_keys"] == 2
    assert devices.version > version


async def test_nothing_is_kept_of_people_nobody_asked_for(devices: Devices) -> None:
    unit = Unit()

    await devices.announce(unit, [ALICE])

    assert unit == Unit()


async def test_a_homeserver_that_is_silent_is_left_in_peace(
    server: FakeKeyServer, devices: Devices
) -> None:
    server.failing.add("far")

    await devices.of([CAROL])
    await devices.of([CAROL])

    assert server.asked["query_keys"] == 1
    assert (await devices.person(CAROL)).outdated


async def test_a_homeserver_that_stays_silent_is_asked_ever_more_seldom(
    server: FakeKeyServer, devices: Devices
) -> None:
    server.failing.add("far")
    waits = []
    for _ in range(9):
        await devices.of([CAROL])
        _, wait_s = devices._silent.get(CAROL) or (0.0, 0.0)
        waits.append(wait_s)
        devices._silent.put(CAROL, (0.0, wait_s))

    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert server.asked["query_keys"] == 9


async def test_what_was_known_of_a_silent_homeserver_still_holds(
    server: FakeKeyServer, devices: Devices
) -> None:
    await (await Party(server).start()).joins(CAROL)
    await devices.of([CAROL])
    server.failing.add("far")

    person = await devices.refresh(CAROL)

    assert len(person.devices) == 1


async def test_what_nobody_watches_is_asked_again_after_a_while(
    server: FakeKeyServer, devices: Devices
) -> None:
    await devices.of([ALICE], 3600)
    await devices.of([ALICE], 3600)
    assert server.asked["query_keys"] == 1

    await devices.of([ALICE], 0)

    assert server.asked["query_keys"] == 2


async def test_a_failed_question_can_be_asked_again(
    server: FakeKeyServer, devices: Devices, alice: Party
) -> None:
    def down(_: str) -> None:
        raise HomeserverDownError("down")

    server.step = down
    with pytest.raises(HomeserverDownError):
        await devices.of([ALICE])
    server.step = lambda _: None

    assert (await devices.of([ALICE]))[ALICE].devices


async def test_only_a_changed_identity_is_confirmed(
    server: FakeKeyServer, devices: Devices, alice: Party
) -> None:
    await devices.of([ALICE])
    assert not await devices.confirm(ALICE)
    await (await Party(server).start()).joins(ALICE)
    changed = await devices.refresh(ALICE)
    assert changed.changed

    assert await devices.confirm(ALICE)

    assert not (await devices.person(ALICE)).changed


async def test_many_people_are_asked_for_in_pieces(
    server: FakeKeyServer, devices: Devices
) -> None:
    await devices.of([f"@{number}:hs" for number in range(600)])

    assert server.asked["query_keys"] == 3


async def test_who_is_not_known_has_nothing(devices: Devices) -> None:
    assert await devices.person(BOB) == Person(BOB)
