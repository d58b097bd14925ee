import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from bridge.core.ports import Unit
from bridge.model.places import Network, Person, PortalId, Room
from bridge.model.records import Kind, Portal
from bridge.xmpp import checking
from bridge.xmpp.checking import Checking, Company
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
ROMEO = "romeo@montague.lit"
BOT = f"bridge@{DOMAIN}"
BOBS = f"bob_hs.example@{DOMAIN}"
ALICES = Person(Network.MATRIX, "@alice:hs.example")
CAROLS = Person(Network.MATRIX, "@carol:hs.example")
ROOM = Room(Network.XMPP, CHAT_OF_TWO)
MUC = Portal(PortalId(4), Kind.FOREIGN, "!muc:hs", "tea@muc.example", "@g")


@dataclass
class Devices(FakeCipher):
    """Knows the devices of both."""

    found: Sequence[Device] = ()
    able: bool = True
    decided: list[tuple[str, str, Trust]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    of: str = JULIET

    async def capable(self, account: str, peer: str) -> bool:
        assert (account, peer) == (ALICE, JULIET)
        return self.able

    async def devices(self, account: str, peer: str) -> Sequence[Device]:
        self.asked.append((account, peer))
        if account == peer:
            own = [Device(2, OURS, Trust.VERIFIED, active=True)]
            return [] if account.startswith("carol") else own
        return self.found

    async def decide(
        self, account: str, peer: str, fingerprint: str, trust: Trust
    ) -> bool:
        if fingerprint != THEIRS or peer != self.of:
            return False
        self.decided.append((account, peer, trust))
        return True


@dataclass
class CheckingWorld(SecrecyWorld):
    known: Devices
    checking: Checking
    company: list[Company]


@pytest.fixture
async def world() -> AsyncIterator[CheckingWorld]:
    async with asyncio.TaskGroup() as tasks:
        around, cipher = build(tasks), Devices()
        secrecy = Secrecy(around.means, cipher)
        company = [Company(BOT, (JULIET, ROMEO), (BOBS, ALICE))]
        made = Checking(around.store, secrecy, cipher, DOMAIN, lambda _: company[0])
        yield CheckingWorld(around, cipher, secrecy, cipher, made, company)


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
    world.known.found = [Device(1, THEIRS, Trust.VERIFIED, active=True)]
    told = f"{checking.SEALED}; 1 of 1 verified"
    assert await world.checking.state(PORTAL) == told


async def test_their_devices_are_shown_as_their_clients_show_them(
    world: CheckingWorld,
) -> None:
    world.known.found = [
        Device(1, THEIRS, Trust.BLIND, active=True, label="Pho\nne" + "x" * 90),
        Device(3, OURS, Trust.WAITING, active=False),
    ]

    shown = (await world.checking.theirs(PORTAL, ALICES)).split("\n")

    assert shown[0] == f"Devices of {JULIET} (0 of 1 verified):"
    assert shown[1].startswith(f"{THEIRS}: blindly trusted (Phone")
    assert len(shown[1]) < 150
    assert shown[2] == f"{OURS}: {Trust.WAITING.value}, not in use"
    assert shown[3] == f"{ALICE}, as XMPP sees it: {OURS}"


async def test_who_has_no_device_has_none(world: CheckingWorld) -> None:
    assert "none that the bridge can see" in await world.checking.theirs(PORTAL, ALICES)


async def test_a_device_is_trusted_and_distrusted(world: CheckingWorld) -> None:
    decide = world.checking.decide

    assert "verified" in await decide(PORTAL, ALICES, THEIRS, trusted=True)
    assert "distrusted" in await decide(PORTAL, ALICES, THEIRS, trusted=False)
    assert world.known.decided == [
        (ALICE, JULIET, Trust.VERIFIED),
        (ALICE, JULIET, Trust.DISTRUSTED),
    ]
    assert "no device with" in await decide(PORTAL, ALICES, "ff", trusted=True)


async def test_in_a_room_the_devices_of_all_are_shown(world: CheckingWorld) -> None:
    world.known.found = [Device(1, THEIRS, Trust.VERIFIED, active=True)]

    shown = (await world.checking.theirs(MUC, ALICES)).split("\n")

    assert shown == [
        f"Devices of {JULIET} (1 of 1 verified):",
        f"{THEIRS}: verified",
        f"Devices of {ROMEO} (1 of 1 verified):",
        f"{THEIRS}: verified",
        f"{ALICE}, as XMPP sees it: {OURS}",
        checking.COMPARE,
    ]
    assert (ALICE, ROMEO) in world.known.asked


async def test_who_has_not_spoken_yet_sees_what_the_bridge_sees(
    world: CheckingWorld,
) -> None:
    await world.checking.theirs(MUC, CAROLS)

    assert (BOT, ROMEO) in world.known.asked
    decided = await world.checking.decide(MUC, CAROLS, THEIRS, trusted=True)
    assert decided == checking.NO_DEVICE
    assert world.known.decided == []


async def test_of_a_large_room_not_all_is_shown(world: CheckingWorld) -> None:
    crowd = [f"{number}@capulet.lit" for number in range(30)]
    world.company[0] = Company(BOT, crowd, ())

    shown = (await world.checking.theirs(MUC, ALICES)).split("\n")

    assert "and more" in shown
    assert len(shown) < checking.LINES_MAX


async def test_of_an_empty_room_that_is_said(world: CheckingWorld) -> None:
    world.company[0] = Company(BOT, (), ())

    assert "Nobody of XMPP" in await world.checking.theirs(MUC, ALICES)


async def test_in_a_room_somebody_decides_for_what_they_write(
    world: CheckingWorld,
) -> None:
    world.known.of = ROMEO
    decide = world.checking.decide

    assert await decide(MUC, ALICES, THEIRS, trusted=True) == checking.VERIFIED
    assert world.known.decided == [(ALICE, ROMEO, Trust.VERIFIED)]
    assert "nobody here has a device" in await decide(MUC, ALICES, "ff", trusted=True)


async def test_people_of_xmpp_see_who_reads_and_who_writes_in_a_room(
    world: CheckingWorld,
) -> None:
    shown = await world.checking.ours(Room(Network.XMPP, MUC.xmpp), MUC)

    accounts = [line.partition(",")[0] for line in shown.split("\n")[:-1]]
    assert accounts == [BOT, BOBS, ALICE]
    assert await world.checking.ours(Room(Network.XMPP, "x@y.example"), None) == ""


async def test_the_person_of_xmpp_sees_whom_they_talk_with(
    world: CheckingWorld,
) -> None:
    romeo = chat_address("romeo@montague.lit", ALICE)
    portals = [PORTAL, MUC, replace(PORTAL, id=PortalId(5), xmpp=romeo)]
    await world.around.store.commit(Unit(put=list(portals)))
    bot = Room(Network.XMPP, chat_address(JULIET, f"bridge@{DOMAIN}"))
    stranger = Room(Network.XMPP, chat_address("x@y.example", f"bridge@{DOMAIN}"))

    line = f"{ALICE}, as XMPP sees it: {OURS}\n{checking.COMPARE}"
    assert await world.checking.ours(ROOM, PORTAL) == line
    assert await world.checking.ours(bot, None) == line
    assert await world.checking.ours(stranger, None) == ""


async def test_where_omemo_is_off_that_is_said(world: CheckingWorld) -> None:
    off = Checking(
        world.around.store, world.secrecy, None, DOMAIN, lambda _: world.company[0]
    )

    assert await off.state(PORTAL) == checking.PLAIN
    assert await off.theirs(PORTAL, ALICES) == checking.NO_OMEMO
    assert await off.decide(PORTAL, ALICES, THEIRS, trusted=True) == checking.NO_OMEMO
    assert await off.ours(ROOM, PORTAL) == ""
