import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from bridge.core.ports import Unit
from bridge.model.places import Network, PortalId, Room
from bridge.model.records import Kind, Portal
from bridge.xmpp import checking
from bridge.xmpp.checking import Checking
from bridge.xmpp.codec.names import chat_address
from bridge.xmpp.endtoend import Device, Trust
from bridge.xmpp.secrecy import Secrecy
from tests.unit.xmpp.elsewhere import DOMAIN, build
from tests.unit.xmpp.test_secrecy import (
    ALICE,
    CHAT_OF_TWO,
    JULIET,
    PORTAL,
    SECRET,
    FakeCipher,
    SecrecyWorld,
    plain,
)

THEIRS = "1a2b3c4d " * 7 + "00000001"
OURS = "ffffffff " * 7 + "00000002"
ROOM = Room(Network.XMPP, CHAT_OF_TWO)
MUC = Portal(PortalId(4), Kind.FOREIGN, "!muc:hs", "tea@muc.example", "@g")


@dataclass
class Devices(FakeCipher):
    """Knows the devices of both."""

    found: Sequence[Device] = ()
    able: bool = True
    decided: list[Trust] = field(default_factory=list)

    async def capable(self, account: str, peer: str) -> bool:
        assert (account, peer) == (ALICE, JULIET)
        return self.able

    async def devices(self, account: str, peer: str) -> Sequence[Device]:
        if account == peer:
            return [Device(2, OURS, Trust.VERIFIED, active=True)]
        return self.found

    async def decide(
        self, account: str, peer: str, fingerprint: str, trust: Trust
    ) -> bool:
        if fingerprint != THEIRS:
            return False
        self.decided.append(trust)
        return True


@dataclass
class CheckingWorld(SecrecyWorld):
    known: Devices
    checking: Checking


@pytest.fixture
async def world() -> AsyncIterator[CheckingWorld]:
    async with asyncio.TaskGroup() as tasks:
        around, cipher = build(tasks), Devices()
        secrecy = Secrecy(around.means, cipher)
        made = Checking(around.store, secrecy, cipher)
        yield CheckingWorld(around, cipher, secrecy, cipher, made)


async def test_how_a_chat_is_guarded_is_told_as_it_is_now(world: CheckingWorld) -> None:
    """What the adapter promises for all chats is not said of one that is bare."""
    sealed = replace(PORTAL, encrypted=True)

    assert await world.checking.state(MUC) == ""
    assert await world.checking.state(PORTAL) == checking.PLAIN
    assert await world.checking.state(sealed) == checking.ANSWERED
    world.known.able = False
    assert await world.checking.state(sealed) == checking.BARE
    world.cipher.opens = plain()
    await world.hears(SECRET)
    assert await world.checking.state(PORTAL) == checking.SEALED


async def test_their_devices_are_shown_as_their_clients_show_them(
    world: CheckingWorld,
) -> None:
    world.known.found = [
        Device(1, THEIRS, Trust.BLIND, active=True, label="Pho\nne" + "x" * 90),
        Device(3, OURS, Trust.WAITING, active=False),
    ]

    shown = (await world.checking.theirs(PORTAL)).split("\n")

    assert shown[0] == f"Devices of {JULIET}:"
    assert shown[1].startswith(f"{THEIRS}: blindly trusted (Phone")
    assert len(shown[1]) < 150
    assert shown[2] == f"{OURS}: {Trust.WAITING.value}, not in use"
    assert shown[3] == f"{ALICE}, as XMPP sees it: {OURS}"


async def test_who_has_no_device_has_none(world: CheckingWorld) -> None:
    assert "none that the bridge can see" in await world.checking.theirs(PORTAL)


async def test_a_device_is_trusted_and_distrusted(world: CheckingWorld) -> None:
    decide = world.checking.decide

    assert "verified" in await decide(PORTAL, THEIRS, trusted=True)
    assert "distrusted" in await decide(PORTAL, THEIRS, trusted=False)
    assert world.known.decided == [Trust.VERIFIED, Trust.DISTRUSTED]
    assert "no device with" in await decide(PORTAL, "ff", trusted=True)


async def test_a_room_is_no_chat(world: CheckingWorld) -> None:
    assert await world.checking.theirs(MUC) == checking.NO_CHAT
    assert await world.checking.decide(MUC, THEIRS, trusted=True) == checking.NO_CHAT
    assert await world.checking.ours(Room(Network.XMPP, MUC.xmpp)) == ""


async def test_the_person_of_xmpp_sees_whom_they_talk_with(
    world: CheckingWorld,
) -> None:
    romeo = chat_address("romeo@montague.lit", ALICE)
    portals = [PORTAL, MUC, replace(PORTAL, id=PortalId(5), xmpp=romeo)]
    await world.around.store.commit(Unit(put=list(portals)))
    bot = Room(Network.XMPP, chat_address(JULIET, f"bridge@{DOMAIN}"))
    stranger = Room(Network.XMPP, chat_address("x@y.example", f"bridge@{DOMAIN}"))

    line = f"{ALICE}, as XMPP sees it: {OURS}\n{checking.COMPARE}"
    assert await world.checking.ours(ROOM) == line
    assert await world.checking.ours(bot) == line
    assert await world.checking.ours(stranger) == ""


async def test_where_omemo_is_off_that_is_said(world: CheckingWorld) -> None:
    off = Checking(world.around.store, world.secrecy, None)

    assert await off.state(PORTAL) == checking.PLAIN
    assert await off.theirs(PORTAL) == checking.NO_OMEMO
    assert await off.decide(PORTAL, THEIRS, trusted=True) == checking.NO_OMEMO
    assert await off.ours(ROOM) == ""
