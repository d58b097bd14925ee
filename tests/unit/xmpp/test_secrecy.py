import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from xml.etree.ElementTree import Element

import pytest

from bridge.core.ports import Unit
from bridge.model.delivery import Later, Parcel, Refusal, Refused, Wire
from bridge.model.places import Network, PortalId, Room
from bridge.model.records import Kind, Portal
from bridge.xmpp import sealed, secrecy
from bridge.xmpp.codec.names import chat_address
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.endtoend import (
    Device,
    Empty,
    Failed,
    NotForUs,
    Opened,
    Passage,
    Plain,
    Sealed,
    Trust,
    Unsealable,
)
from bridge.xmpp.muc.stanza import to_node
from bridge.xmpp.packing import (
    AS_IT_IS,
    AS_THE_CHAT,
    CHAT,
    GUARDED,
    Letter,
    Post,
    pack,
    unpack,
)
from bridge.xmpp.sealed import AGAIN_S
from bridge.xmpp.secrecy import CLEAR_NOW, Bare, Secrecy
from tests.unit.xmpp.elsewhere import World, build, stanza

JULIET = "juliet@capulet.lit"
ALICE = "alice_hs.example@bridge.example"
CHAT_OF_TWO = chat_address(JULIET, ALICE)
PORTAL = Portal(PortalId(3), Kind.DIRECT, "!dm:hs", CHAT_OF_TWO, agent="@g")
CIPHERTEXT = node("encrypted", {"xmlns": "eu.siacs.conversations.axolotl"})
SECRET = "<encrypted xmlns='eu.siacs.conversations.axolotl'><payload/></encrypted>"


@dataclass
class FakeCipher:
    """Opens to *opens*; seals, or does not, as *seals* says."""

    opens: Opened = field(default_factory=Empty)
    seals: Sealed | Unsealable = field(default_factory=lambda: Sealed((CIPHERTEXT,)))
    content: list[Sequence[Node]] = field(default_factory=list)
    doubted: list[str] = field(default_factory=list)
    name: str = "fake"
    namespaces: frozenset[str] = frozenset()

    async def decrypt(
        self, stanza: Element, passage: Passage, unit: Unit, key: str = ""
    ) -> Opened:
        assert (passage.account, passage.peer) == (ALICE, JULIET)
        return self.opens

    async def encrypt(
        self,
        content: Sequence[Node],
        passage: Passage,
        recipients: Sequence[str],
        unit: Unit,
    ) -> Sealed | Unsealable:
        assert list(recipients) == [JULIET]
        self.content.append(content)
        return self.seals

    async def capable(self, account: str, peer: str) -> bool:
        return isinstance(self.seals, Sealed)

    def doubt(self, peer: str) -> None:
        self.doubted.append(peer)

    async def devices(self, account: str, peer: str) -> Sequence[Device]:
        raise NotImplementedError

    async def decide(
        self, account: str, peer: str, fingerprint: str, trust: Trust
    ) -> bool:
        raise NotImplementedError


@dataclass
class SecrecyWorld:
    around: World
    cipher: FakeCipher
    secrecy: Secrecy

    async def hears(self, inside: str) -> Bare | Refusal | None:
        text = f"<message from='{JULIET}/x' to='{ALICE}' id='m1'>{inside}</message>"
        element = stanza(text)
        letter = Letter(f"{JULIET}/x", ALICE, 1_700_000_000_000, to_node(element))
        unit = Unit()
        found = await self.secrecy.open(letter, element, "key", unit)
        await self.around.store.commit(unit)
        return found

    async def writes(self, guard: int, number: int = 1) -> Parcel | Refused | Later:
        made = parcel(guard, number)
        if made.id not in self.around.store.disk.outbox:
            await self.around.store.commit(Unit(parcels=[made]))
        post = unpack(Post, made.wire.data)
        assert post is not None
        return await self.secrecy.seal(post, made)

    def allows(self) -> None:
        room = Room(Network.XMPP, CHAT_OF_TWO)
        self.around.host.portals[room] = replace(PORTAL, exposed=True)


def parcel(guard: int, number: int, receipt: bytes = b"receipt") -> Parcel:
    text = (
        f"<message type='chat' from='{ALICE}/matrix' to='{JULIET}' id='$1'>"
        "<body>soft &amp; low</body></message>"
    )
    post = Post(JULIET, f"{ALICE}/matrix", text.encode(), guard=guard)
    return Parcel(number, Network.XMPP, "3", Wire("$1", pack(CHAT, post)), receipt)


def plain(words: str = "soft!") -> Plain:
    body = node("body", None, words)
    return Plain((body,), JULIET, 1, Trust.BLIND, "eu.siacs.conversations.axolotl")


def written(made: object) -> bytes:
    assert isinstance(made, Parcel)
    post = unpack(Post, made.wire.data)
    assert post is not None
    return post.stanza


@pytest.fixture
async def world() -> AsyncIterator[SecrecyWorld]:
    async with asyncio.TaskGroup() as tasks:
        around, cipher = build(tasks), FakeCipher()
        yield SecrecyWorld(around, cipher, Secrecy(around.means, cipher))


async def test_what_came_sealed_is_opened_and_counts_as_guarded(
    world: SecrecyWorld,
) -> None:
    world.cipher.opens = plain()
    found = await world.hears(f"{SECRET}<body>I sent you an OMEMO message</body>")

    assert isinstance(found, Bare)
    assert found.sealed
    assert "".join(found.stanza.itertext()) == "soft!"
    assert found.stanza.get("id") == "m1"


async def test_what_came_in_the_clear_is_as_it_came(world: SecrecyWorld) -> None:
    found = await world.hears("<body>hi</body>")

    assert isinstance(found, Bare)
    assert not found.sealed


@pytest.mark.parametrize(
    "opened",
    [
        Empty(),
        NotForUs(empty=True),
        NotForUs(empty=False, tell=False),
        Failed("again", repeated=True),
    ],
)
async def test_what_is_for_nobody_is_not_shown(
    world: SecrecyWorld, opened: Opened
) -> None:
    world.cipher.opens = opened

    assert await world.hears(SECRET) is None
    assert world.around.host.warned == []


@pytest.mark.parametrize(
    "opened", [Failed("it is broken"), NotForUs(empty=False, words="it is broken")]
)
async def test_of_what_cannot_be_read_both_sides_hear(
    world: SecrecyWorld, opened: Opened
) -> None:
    world.cipher.opens = opened

    assert await world.hears(SECRET) is Refusal.UNDECIPHERABLE
    ((room, words),) = world.around.host.warned
    assert room.address == CHAT_OF_TWO
    assert "it is broken" in words


async def test_a_chat_is_answered_as_it_was_written_to(world: SecrecyWorld) -> None:
    assert b"soft &amp; low" in written(await world.writes(AS_THE_CHAT))
    world.cipher.opens = plain()
    await world.hears(SECRET)
    assert b"soft" not in written(await world.writes(AS_THE_CHAT, 2))
    await world.hears("<body>without</body>")
    assert b"soft &amp; low" in written(await world.writes(AS_THE_CHAT, 3))
    ((_, words),) = world.around.host.warned
    assert words == CLEAR_NOW


async def test_that_a_chat_is_sealed_outlives_us(world: SecrecyWorld) -> None:
    world.cipher.opens = plain()
    await world.hears(SECRET)
    world.secrecy = Secrecy(world.around.means, world.cipher)

    assert b"soft" not in written(await world.writes(AS_THE_CHAT))


async def test_what_is_guarded_is_sealed_and_on_disk_before_it_leaves(
    world: SecrecyWorld,
) -> None:
    made = await world.writes(GUARDED)

    assert b"<encrypted" in written(made)
    assert b"soft" not in written(made)
    (kept,) = await world.around.store.pending(Network.XMPP, "3", 0, 9)
    assert kept == made
    (content,) = world.cipher.content
    assert content == (node("body", None, "soft & low"),)


async def test_what_is_sealed_already_is_never_sealed_again(
    world: SecrecyWorld,
) -> None:
    first = await world.writes(GUARDED)
    assert await world.writes(GUARDED) == first
    (kept,) = await world.around.store.pending(Network.XMPP, "3", 0, 9)
    post = unpack(Post, kept.wire.data)
    assert post is not None
    assert post.guard == AS_IT_IS

    assert await Secrecy(world.around.means, world.cipher).seal(post, kept) == kept
    assert len(world.cipher.content) == 1


@pytest.mark.parametrize("guard", [GUARDED, AS_THE_CHAT])
async def test_nothing_is_written_in_the_clear_that_should_be_sealed(
    world: SecrecyWorld, guard: int
) -> None:
    world.cipher.opens = plain()
    await world.hears(SECRET)
    world.cipher.seals = Unsealable("they have no device that uses OMEMO")

    assert await world.writes(guard) == Refused(
        Refusal.WOULD_EXPOSE, "they have no device that uses OMEMO"
    )


async def test_it_is_if_somebody_has_allowed_it(world: SecrecyWorld) -> None:
    world.cipher.seals = Unsealable("they have no device that uses OMEMO")
    world.allows()

    assert b"soft &amp; low" in written(await world.writes(GUARDED))


async def test_what_may_be_sealed_later_waits(world: SecrecyWorld) -> None:
    world.cipher.seals = Unsealable("their server is away", passing=True)

    assert await world.writes(GUARDED) == Later(AGAIN_S)


async def test_without_omemo_nothing_that_is_guarded_leaves(
    world: SecrecyWorld,
) -> None:
    world.secrecy = Secrecy(world.around.means, None)

    assert await world.writes(GUARDED) == Refused(Refusal.WOULD_EXPOSE)
    assert b"soft &amp; low" in written(await world.writes(AS_THE_CHAT))


async def test_what_could_not_be_sealed_is_tried_again_once_they_seal(
    world: SecrecyWorld,
) -> None:
    world.cipher.seals = Unsealable("only their contacts can read their list")
    await world.writes(GUARDED)

    await world.hears(SECRET)
    world.cipher.seals = Sealed((CIPHERTEXT,))
    await world.secrecy.hopes.look(everywhere=False)
    assert world.around.host.retried == []

    world.cipher.opens = plain()
    await world.hears(SECRET)
    await world.secrecy.hopes.look(everywhere=False)

    assert world.around.host.retried == [Room(Network.XMPP, CHAT_OF_TWO)]


async def test_whoever_writes_in_the_clear_may_list_a_device_by_now(
    world: SecrecyWorld,
) -> None:
    world.cipher.seals = Unsealable("they have no device that uses OMEMO")
    await world.writes(GUARDED)
    world.cipher.seals = Sealed((CIPHERTEXT,))

    await world.hears("<body>hello</body>")
    await world.secrecy.hopes.look(everywhere=False)

    assert world.cipher.doubted == [JULIET]
    assert world.around.host.retried == [Room(Network.XMPP, CHAT_OF_TWO)]


async def test_of_a_device_that_waits_for_trust_it_is_told_once(
    world: SecrecyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.cipher.opens = replace(plain(), trust=Trust.WAITING)
    await world.hears(SECRET)
    await world.hears(SECRET)

    ((_, words),) = world.around.host.warned
    assert words == secrecy.NEW_DEVICE

    monkeypatch.setattr(sealed, "TOLD_MAX", 0)
    world.cipher.opens = replace(plain(), trust=Trust.WAITING, device=2)
    await world.hears(SECRET)
    assert len(world.around.host.warned) == 2


async def test_where_omemo_is_off_whoever_uses_it_is_told_so_once(
    world: SecrecyWorld,
) -> None:
    told: list[tuple[str, str]] = []

    async def farewell(account: str, peer: str) -> None:
        told.append((account, peer))

    world.secrecy = Secrecy(world.around.means, None)
    await world.hears(SECRET)
    world.secrecy = Secrecy(world.around.means, None)
    world.secrecy.farewell = farewell
    await world.hears("<body>plain</body>")
    await world.hears(SECRET)
    found = await world.hears(SECRET)

    assert isinstance(found, Bare)
    assert not found.sealed
    assert told == [(ALICE, JULIET)]
