"""MUCs that put us out, or are no more; the rows of the fault matrix are named."""

from collections.abc import Awaitable, Callable
from xml.etree.ElementTree import Element, SubElement

import pytest

from deploy.lab.matrix_people import MatrixPerson
from deploy.lab.stanzas import MUC_ADMIN, MUC_OWNER
from deploy.lab.xmpp_people import XmppPerson
from tests.e2e.conftest import Company
from tests.e2e.ledger import LONG_S
from tests.faults import book
from tests.faults.scenes import Gathering
from tests.faults.town import foreign_muc, open_people
from tests.faults.world import PLACES, FaultyWorld, Ways

Unkind = Callable[[XmppPerson, str], Awaitable[object]]

FORM = "jabber:x:data"
CONFIG = "http://jabber.org/protocol/muc#roomconfig"

USUAL = PLACES[1:]


async def kicks(owner: XmppPerson, muc: str, nick: str) -> None:
    """Put somebody out of a MUC (XEP-0045 §8.2)."""
    query = Element("query", {"xmlns": MUC_ADMIN})
    SubElement(query, "item", {"nick": nick, "role": "none"})
    answer = await owner.asks(muc, query, "set")
    assert answer.get("type") == "result"


async def destroys(owner: XmppPerson, muc: str) -> None:
    """Destroy a MUC (XEP-0045 §10.9)."""
    query = Element("query", {"xmlns": MUC_OWNER})
    SubElement(query, "destroy")
    answer = await owner.asks(muc, query, "set")
    assert answer.get("type") == "result"


async def closes(owner: XmppPerson, muc: str) -> None:
    """Let only members stay in a MUC (XEP-0045 §9.6)."""
    query = Element("query", {"xmlns": MUC_OWNER})
    form = SubElement(query, "x", {"xmlns": FORM, "type": "submit"})
    answers = {"FORM_TYPE": CONFIG, "muc#roomconfig_membersonly": "1"}
    for name, value in answers.items():
        field = SubElement(form, "field", {"var": name})
        SubElement(field, "value").text = value
    answer = await owner.asks(muc, query, "set")
    assert answer.get("type") == "result"


async def is_told(alice: MatrixPerson, room: str) -> str:
    """Wait until Alice reads that she was not heard, or is shown the door."""

    def told() -> str | None:
        notices = [one.text for one in alice.all_heard(room) if "elivered" in one.text]
        gone = alice.membership(room, alice.id) in {"leave", "ban"}
        return notices[0] if notices else "she is out" if gone else None

    return await alice.until(told, "to be told", LONG_S)


@pytest.fixture
async def scene(
    world: FaultyWorld, ways: Ways, company: Company, word: str
) -> Gathering:
    """A MUC in which Juliet, its owner, and Alice have spoken."""
    assert ways.component.connections
    made = await foreign_muc(await open_people(world, company), word)
    await made.on_matrix(5)
    await made.on_xmpp(5)
    await made.observer.has_seen("matrix 0004")
    return made


async def wrong(scene: Gathering) -> list[str]:
    await scene.end()
    accounts = await scene.accounts()
    book.note(accounts)
    return [one.words for one in accounts if one.words]


async def test_when_the_listener_is_kicked_it_comes_back(scene: Gathering) -> None:
    """Row 27: what is said meanwhile is read in the archive."""
    owner, muc = scene.speaker.person, scene.speaker.room
    for _ in range(2):
        await kicks(owner, muc, "Matrix bridge")
        await scene.on_xmpp(10)
        await scene.on_matrix(10)

    assert await wrong(scene) == []


async def test_who_is_kicked_is_out_on_both_sides_and_may_return(
    scene: Gathering,
) -> None:
    """Row 27."""
    alice, owner, muc = scene.cast.alice, scene.speaker.person, scene.speaker.room
    await kicks(owner, muc, "Alice")
    await alice.until(
        lambda: alice.membership(scene.room, alice.id) == "leave" or None,
        "to be out",
        LONG_S,
    )

    await alice.joins(scene.room)
    await scene.on_matrix(10)

    assert await wrong(scene) == []


@pytest.mark.parametrize("unkind", [destroys, closes])
async def test_who_speaks_to_a_muc_that_is_shut_is_told(
    scene: Gathering, unkind: Unkind
) -> None:
    """Row 27: whether it was destroyed or is for members only now."""
    await unkind(scene.speaker.person, scene.speaker.room)

    await scene.cast.alice.says(scene.room, "is nobody here?")

    assert await is_told(scene.cast.alice, scene.room)
