import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from xml.etree.ElementTree import Element

import pytest

from bridge.model.delivery import Parcel, Refusal, Wire
from bridge.model.places import Network, PortalId
from bridge.model.records import Cursor, Secret
from bridge.xmpp import receipts
from bridge.xmpp.codec.names import Jid, parse
from bridge.xmpp.codec.xml import node
from bridge.xmpp.packing import CHAT, Post, pack
from bridge.xmpp.receipts import (
    EARLY_MAX,
    OF_ONE_MAX,
    QUIET_S,
    Receipts,
    asks,
    received,
)
from tests.unit.xmpp.elsewhere import World, build, stanza

JULIET = "juliet@capulet.lit"
PUPPET = "alice_hs.example@bridge.example/matrix"
NOW_S = 1_800_000_000.0


class ReceiptsWorld:
    """Receipts, with a clock that is turned by hand."""

    def __init__(self, around: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.around = around
        self.now = NOW_S
        self.receipts = Receipts(around.means)
        monkeypatch.setattr(receipts, "_now", lambda: self.now)
        monkeypatch.setattr(receipts, "monotonic", lambda: self.now)

    def sent(self, name: str) -> None:
        self.receipts.sent(letter(name))

    def sent_to(self, name: str, lane: str) -> None:
        self.receipts.sent(replace(letter(name), lane=lane))

    def came(self, inside: str, kind: str = "message", more: str = "") -> None:
        text = f"<{kind} from='{JULIET}/x' to='{PUPPET}' {more}>{inside}</{kind}>"
        self.receipts.came(stanza(text), jid(f"{JULIET}/x"))

    def confirms(self, name: str) -> None:
        self.came(f"<received xmlns='urn:xmpp:receipts' id='{name}'/>")

    def reads(self, name: str) -> None:
        self.came(f"<displayed xmlns='urn:xmpp:chat-markers:0' id='{name}'/>")

    async def pass_time(self, seconds: float) -> None:
        self.now += seconds
        look: Callable[[], None] = self.receipts._look
        look()
        await self.around.settle()

    def ids_written(self) -> list[str]:
        return [one.get("id", "") for one in self.around.server.written]


def jid(text: str) -> Jid:
    read = parse(text)
    assert read is not None
    return read


def letter(name: str) -> Parcel:
    text = (
        f"<message type='chat' from='{PUPPET}' to='{JULIET}' id='{name}'>"
        "<body>a &amp; b</body><store xmlns='urn:xmpp:hints'/></message>"
    )
    wire = Wire(name, pack(CHAT, Post(JULIET, PUPPET, text.encode())))
    return Parcel(7, Network.XMPP, "3", wire, b"receipt", seq=5, portal=PortalId(3))


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ReceiptsWorld]:
    async with asyncio.TaskGroup() as tasks:
        yield ReceiptsWorld(build(tasks), monkeypatch)


async def usual(world: ReceiptsWorld) -> None:
    """Let Juliet be known for confirming."""
    await world.receipts.start()
    world.sent("$0")
    world.confirms("$0")


async def test_who_never_confirms_is_left_alone(world: ReceiptsWorld) -> None:
    """XEP-0184 §8: of a receipt that does not come, nothing may be inferred."""
    await world.receipts.start()
    world.sent("$1")
    world.came("", "presence")
    await world.pass_time(QUIET_S + 1)

    assert world.ids_written() == []


async def test_who_only_tells_what_they_have_read_is_left_alone(
    world: ReceiptsWorld,
) -> None:
    """Gajim: what is not read yet would come twice, and be shown twice."""
    await world.receipts.start()
    world.reads("$0")
    world.sent("$1")
    world.came("", "presence")
    await world.pass_time(QUIET_S + 1)

    assert world.ids_written() == []


async def test_what_is_read_is_not_sent_again_nor_what_came_before_it(
    world: ReceiptsWorld,
) -> None:
    """XEP-0333 §4.1: clients tell only which is the last that was read."""
    await usual(world)
    world.sent("$1")
    world.sent_to("$other", lane="4")
    world.sent("$2")
    world.sent("$3")
    world.reads("$2")
    world.reads("$unknown")
    world.came("", "presence")
    await world.pass_time(QUIET_S + 1)

    assert world.ids_written() == ["$other", "$3"]


async def test_what_is_confirmed_is_not_sent_again(world: ReceiptsWorld) -> None:
    await usual(world)
    world.sent("$1")
    world.confirms("$1")
    world.came("", "presence")
    await world.pass_time(QUIET_S + 1)

    assert world.ids_written() == []


@pytest.mark.parametrize("tells", [ReceiptsWorld.confirms, ReceiptsWorld.reads])
async def test_what_is_confirmed_before_we_know_that_it_was_sent_is_not_sent_again(
    world: ReceiptsWorld, tells: Callable[[ReceiptsWorld, str], None]
) -> None:
    """The answer of their server to our ping may come behind it, or be read later."""
    await usual(world)
    tells(world, "$1")
    world.sent("$1")
    world.came("", "presence")
    await world.pass_time(QUIET_S + 1)

    assert world.ids_written() == []


async def test_who_confirms_what_nobody_sent_does_not_fill_the_list_of_who_does(
    world: ReceiptsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "CONFIRMING_MAX", 1)
    await world.receipts.start()
    text = f"<message><received xmlns='{receipts.RECEIPTS}' id='$9'/></message>"
    world.receipts.came(stanza(text), jid("stranger@else.example/x"))
    await usual(world)

    world.sent("$1")
    world.came("", "presence")
    await world.pass_time(QUIET_S + 1)

    assert world.ids_written() == ["$1"]


async def test_what_is_sent_is_not_remembered_for_ever(
    world: ReceiptsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "SENT_MAX", 2)
    for number in range(10):
        world.sent(f"${number}")

    assert len(world.receipts._sent) == 2


async def test_only_so_many_are_remembered_that_come_too_early(
    world: ReceiptsWorld,
) -> None:
    await usual(world)
    for number in range(1, EARLY_MAX + 2):
        world.confirms(f"${number}")
    world.sent("$1")
    world.sent("$2")
    world.came("", "presence")
    await world.pass_time(QUIET_S + 1)

    assert world.ids_written() == ["$1"]


async def test_who_is_back_and_does_not_confirm_gets_it_once_more(
    world: ReceiptsWorld,
) -> None:
    await usual(world)
    world.sent("$1")
    await world.pass_time(3600)
    assert world.ids_written() == []  # they may simply be away

    world.came("", "presence")
    await world.pass_time(QUIET_S + 1)

    (again,) = world.around.server.written
    assert again.get("id") == "$1"
    assert _text(again, "body") == "a & b"
    delay = again.find("{urn:xmpp:delay}delay")
    assert delay is not None
    assert delay.get("stamp") == "2027-01-15T08:00:00Z"


async def test_a_message_shows_too_that_they_are_back(world: ReceiptsWorld) -> None:
    await usual(world)
    world.sent("$1")
    world.came("<body>hi</body>")
    await world.pass_time(QUIET_S + 1)

    assert world.ids_written() == ["$1"]


@pytest.mark.parametrize("more", ["type='unavailable'", "type='subscribe'"])
async def test_other_presences_do_not(world: ReceiptsWorld, more: str) -> None:
    await usual(world)
    world.sent("$1")
    world.came("", "presence", more)
    await world.pass_time(QUIET_S + 1)

    assert world.ids_written() == []


async def test_if_that_does_not_help_the_sender_is_told_and_nothing_loops(
    world: ReceiptsWorld,
) -> None:
    await usual(world)
    world.sent("$1")
    world.came("", "presence")
    await world.pass_time(QUIET_S + 1)
    await world.pass_time(QUIET_S + 1)
    world.came("", "presence")
    await world.pass_time(QUIET_S + 1)

    assert world.ids_written() == ["$1"]
    ((parcel, refused),) = world.around.host.regretted
    assert parcel.wire.key == "$1"
    assert refused.why is Refusal.UNCONFIRMED


async def test_what_is_open_survives_a_restart(world: ReceiptsWorld) -> None:
    await usual(world)
    world.sent("$1")
    await world.pass_time(QUIET_S)
    assert [s.name for s in await world.around.store.load(Secret)] == ["$1"]

    world.receipts = Receipts(world.around.means)
    await world.receipts.start()
    world.came("", "presence")
    await world.pass_time(QUIET_S + 1)

    assert world.ids_written() == ["$1"]


async def test_what_is_confirmed_is_forgotten_on_disk(world: ReceiptsWorld) -> None:
    await usual(world)
    world.sent("$1")
    await world.pass_time(QUIET_S)
    world.confirms("$1")
    await world.around.settle()

    assert await world.around.store.load(Secret) == []
    assert Cursor("confirms", JULIET, "") in await world.around.store.load(Cursor)


async def test_of_one_person_only_so_many_are_watched(world: ReceiptsWorld) -> None:
    await usual(world)
    for number in range(OF_ONE_MAX + 5):
        world.sent(f"${number}")
    world.came("", "presence")
    await world.pass_time(QUIET_S + 1)

    assert len(world.ids_written()) == OF_ONE_MAX


def test_a_receipt_names_the_message_and_is_kept_for_the_device() -> None:
    """XEP-0184 §5.3; it has no body, so that nothing is shown."""
    receipt = received(f"{JULIET}/x", PUPPET, "m1")

    assert receipt.attributes["to"] == f"{JULIET}/x"
    assert node("received", {"xmlns": "urn:xmpp:receipts", "id": "m1"}) in (
        receipt.children
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<message id='m1'><request xmlns='urn:xmpp:receipts'/></message>", True),
        ("<message><request xmlns='urn:xmpp:receipts'/></message>", False),
        ("<message id='m1'><body>hi</body></message>", False),
    ],
)
def test_a_receipt_is_sent_if_asked_for(text: str, wanted: bool) -> None:  # noqa: FBT001
    assert asks(stanza(text)) is wanted


def _text(element: Element, name: str) -> str:
    found = element.find(f"{{jabber:component:accept}}{name}")
    return "" if found is None else found.text or ""


async def test_a_clock_that_is_set_forward_makes_nobody_late(
    world: ReceiptsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 24: what is on its way would come twice."""
    await usual(world)
    world.sent("$1")
    world.came("", "presence")

    monkeypatch.setattr(receipts, "_now", lambda: world.now + 3600)
    await world.pass_time(1)

    assert world.ids_written() == []
