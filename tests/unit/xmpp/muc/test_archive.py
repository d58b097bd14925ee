from collections.abc import Sequence
from xml.etree.ElementTree import Element

import pytest

from bridge.model.delivery import Parcel, Wire
from bridge.model.events import Leave
from bridge.model.places import Network, Person, Ref, Room
from bridge.xmpp.codec.xml import node
from bridge.xmpp.gate import addressed
from bridge.xmpp.muc import archive
from bridge.xmpp.muc.history import HISTORY_MAX
from bridge.xmpp.muc.packing import sheet
from bridge.xmpp.muc.paging import PAGE_MAX
from bridge.xmpp.muc.rooms import MEMBER
from tests.unit.xmpp.muc.world import (
    ALICE,
    JULIET,
    NOW,
    ROMEO,
    TEA,
    VAULT,
    FakeStore,
    MucWorld,
    condition,
    name,
    settled,
    words,
)

MAM = "{urn:xmpp:mam:2}"
FORWARD = "{urn:xmpp:forward:0}"
CLIENT = "{jabber:client}"
SID = "{urn:xmpp:sid:0}stanza-id"
ITEM = ".//{http://jabber.org/protocol/muc#user}item"
RSM = "http://jabber.org/protocol/rsm"


def ask(inside: str = "", sender: str = ROMEO, room: str = TEA) -> str:
    return (
        f"<iq type='set' id='q' from='{sender}' to='{room}'>"
        f"<query xmlns='urn:xmpp:mam:2' queryid='f&lt;27%s'>{inside}</query></iq>"
    )


def rsm(inside: str) -> str:
    return f"<set xmlns='{RSM}'>{inside}</set>"


async def read(
    world: MucWorld, inside: str = "", sender: str = ROMEO, room: str = TEA
) -> tuple[list[Element], Element]:
    """Ask, and return the results and the answer, which comes last."""
    world.written()
    world.comes(ask(inside, sender, room))
    await settled()
    *results, answer = world.written(sender)
    assert name(answer) == "iq"
    return [r for r in results if r.find(f"{MAM}result") is not None], answer


def kept(result: Element) -> Element:
    """Return the message within a result."""
    found = result.find(f"{MAM}result/{FORWARD}forwarded/{CLIENT}message")
    assert found is not None
    return found


def bodies(results: list[Element]) -> list[str]:
    return [kept(result).findtext(f"{CLIENT}body") or "" for result in results]


def archived(world: MucWorld, count: int, size: int = 0, room: str = TEA) -> None:
    """Have the store keep what was said in earlier runs."""
    for number in range(count):
        body = node("body", None, f"old {number}{' ' * size}")
        about = {"from": f"{room}/Alice", "type": "groupchat"}
        stanza = addressed(node("message", about, body), "bridge.example")
        wire = Wire(f"$old{number}", sheet(stanza, 1_000 + number), archived=True)
        world.store.archived.append(world.parcel(wire, room))


async def test_what_was_said_is_read_again_as_it_was(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")
    world.written()
    await world.says(ALICE, "from <Matrix>")
    world.comes(
        f"<message type='groupchat' id='m1' from='{ROMEO}' to='{TEA}'>"
        "<body>from XMPP</body></message>"
    )
    await world.carried()
    live = [s for s in world.written(ROMEO) if name(s) == "message"]

    results, answer = await read(world)

    assert bodies(results) == ["from <Matrix>", "from XMPP"] == [words(s) for s in live]
    for result, said in zip(results, live, strict=True):
        message, about = kept(result), result.find(f"{MAM}result")
        assert about is not None
        assert about.get("queryid") == "f<27%s"
        shown = {k: v for k, v in said.attrib.items() if k != "to"}
        assert dict(message.attrib) == shown
        assert [part.tag.rpartition("}")[2] for part in message] == [
            part.tag.rpartition("}")[2] for part in said
        ]
        mine, theirs = message.find(SID), said.find(SID)
        assert mine is not None
        assert theirs is not None
        assert dict(mine.attrib) == dict(theirs.attrib)
        assert about.get("id") == mine.get("id")
    stamp = results[0].find(f".//{FORWARD}forwarded/{{urn:xmpp:delay}}delay")
    assert stamp is not None
    assert stamp.get("stamp") == "2026-05-01T12:00:00.000Z"
    fin = answer.find(f"{MAM}fin")
    assert fin is not None
    assert fin.get("complete") == "true"
    assert fin.findtext(f".//{{{RSM}}}first") == "$said1"


async def test_more_is_kept_than_guests_are_shown(world: MucWorld) -> None:
    """And no query reads more of it than its page."""
    archived(world, HISTORY_MAX * 2)
    await world.joins(ROMEO, "romeo")

    seen: list[str] = []
    turn = ""
    while True:
        results, answer = await read(world, rsm(f"<max>999</max>{turn}"))
        seen += bodies(results)
        fin = answer.find(f"{MAM}fin")
        assert fin is not None
        if fin.get("complete") == "true":
            break
        turn = f"<after>{fin.findtext(f'.//{{{RSM}}}last')}</after>"

    assert seen == [f"old {number}" for number in range(HISTORY_MAX * 2)]
    assert max(world.store.asked[1:]) <= PAGE_MAX


async def test_the_last_page_comes_oldest_first_unless_it_is_flipped(
    world: MucWorld,
) -> None:
    archived(world, 5)
    await world.joins(ROMEO, "romeo")

    results, _ = await read(world, rsm("<max>2</max><before/>"))
    flipped, _ = await read(world, rsm("<max>2</max><before/>") + "<flip-page/>")

    assert bodies(results) == ["old 3", "old 4"] == bodies(flipped)[::-1]


@pytest.mark.parametrize("turn", ["", "<before/>"])
async def test_a_page_is_never_too_much_for_one_answer(
    world: MucWorld, turn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "PAGE_BYTES_MAX", 2500)
    archived(world, 6, size=1000)
    await world.joins(ROMEO, "romeo")

    results, answer = await read(world, rsm(turn))

    there = [4, 5] if turn else [0, 1]
    assert [body.strip() for body in bodies(results)] == [f"old {n}" for n in there]
    fin = answer.find(f"{MAM}fin")
    assert fin is not None
    assert fin.get("complete") is None
    ends = [fin.findtext(f".//{{{RSM}}}{end}") for end in ("first", "last")]
    assert ends == [f"$old{number}" for number in there]
    place = fin.find(f".//{{{RSM}}}first")
    assert place is not None
    assert place.get("index") == str(there[0])


async def test_what_is_said_meanwhile_is_in_the_archive(world: MucWorld) -> None:
    """Even before the store has marked it as sent."""
    archived(world, 2)
    await world.joins(ROMEO, "romeo")
    await read(world)
    await world.says(ALICE, "news")
    world.store.archived.clear()

    results, _ = await read(world, rsm("<after>$old1</after>"))

    assert bodies(results) == ["news"]


async def test_what_is_said_while_the_contents_are_read_is_among_them(
    world: MucWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived(world, 2)
    await world.joins(ROMEO, "romeo")
    real = FakeStore.archive

    async def slow(store: FakeStore, *about: object) -> Sequence[Parcel]:
        found = await real(store, *about)  # type: ignore[arg-type] # passed on
        await world.says(ALICE, "meanwhile")
        store.archived.pop()
        return found

    monkeypatch.setattr(FakeStore, "archive", slow)

    results, _ = await read(world)
    again, _ = await read(world, rsm("<max>1</max><before/>"))

    assert bodies(results) == ["old 0", "old 1", "meanwhile"]
    assert bodies(again) == ["meanwhile"]


@pytest.mark.parametrize(
    ("inside", "why"),
    [
        (rsm("<after>$nonsense</after>"), "item-not-found"),
        (
            "<x xmlns='jabber:x:data' type='submit'><field var='magic'/></x>",
            "feature-not-implemented",
        ),
    ],
)
async def test_what_cannot_be_answered_is_refused(
    world: MucWorld, inside: str, why: str
) -> None:
    await world.joins(ROMEO, "romeo")

    results, answer = await read(world, inside)

    assert results == []
    assert condition(answer) == why


async def test_only_those_who_were_let_in_may_read(world: MucWorld) -> None:
    """XEP-0313 §6.1.2; who was put out reads no more."""
    archived(world, 1)
    _, stranger = await read(world)
    await world.joins(ROMEO, "romeo")
    _, outside = await read(world, sender=JULIET)
    world.hosted._rooms.set_standing(TEA, "juliet@capulet.lit", MEMBER)
    results, _ = await read(world, sender=JULIET)
    juliet = Person(Network.XMPP, "juliet@capulet.lit")
    await world.happens(
        Leave(
            ref=Ref(Network.MATRIX, "$ban"),
            room=Room(Network.MATRIX, "!1:hs.example"),
            sender=ALICE,
            sent_at=NOW,
            person=juliet,
            banned=True,
        )
    )
    _, banned = await read(world, sender=JULIET)
    world.host.barred.add("romeo@montague.lit")
    _, barred = await read(world)

    assert condition(stranger) == condition(outside) == "forbidden"
    assert bodies(results) == ["old 0"]
    assert condition(banned) == condition(barred) == "forbidden"


async def test_a_member_who_is_away_has_the_room_opened(world: MucWorld) -> None:
    world.hosted._rooms.set_standing(TEA, "romeo@montague.lit", MEMBER)
    _, never_there = await read(world)
    archived(world, 3)
    assert world.hosted._rooms.get(TEA) is None

    results, _ = await read(world)

    assert condition(never_there) == "item-not-found"
    assert bodies(results) == ["old 0", "old 1", "old 2"]


async def test_where_all_are_known_the_archive_names_them(world: MucWorld) -> None:
    """XEP-0313 §6.1.2: clients need it to decrypt what was said before."""
    await world.joins(ROMEO, "romeo", VAULT)
    occupants = world.hosted._rooms.occupant_id
    world.hosted._rooms.set_standing(VAULT, "juliet@capulet.lit", MEMBER)
    senders = [ALICE.id, "romeo@montague.lit", "juliet@capulet.lit", "gone@away.lit"]
    for number, sender in enumerate(senders):
        mark = {"xmlns": "urn:xmpp:occupant-id:0", "id": occupants(VAULT, sender)}
        about = {"from": f"{VAULT}/x", "type": "groupchat"}
        stanza = node("message", about, node("occupant-id", mark))
        data = sheet(addressed(stanza, "bridge.example"), 1000)
        wire = Wire(f"${number}", data, archived=True)
        world.store.archived.append(world.parcel(wire, VAULT))

    results, _ = await read(world, room=VAULT)

    items = [kept(result).find(ITEM) for result in results]
    assert [None if item is None else item.get("jid") for item in items] == [
        "alice_hs.example@bridge.example",
        "romeo@montague.lit",
        "juliet@capulet.lit",
        None,
    ]


async def test_a_public_room_does_not_tell_who_spoke(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")
    await world.says(ALICE, "who am I")

    (result,), _ = await read(world)

    assert kept(result).find(ITEM) is None


@pytest.mark.parametrize("count", [0, 3])
async def test_the_ends_of_the_archive_are_told(world: MucWorld, count: int) -> None:
    """XEP-0313 §5."""
    archived(world, count)
    await world.joins(ROMEO, "romeo")
    world.written()
    iq = f"<iq type='get' id='q' from='{ROMEO}' to='{TEA}'>"
    world.comes(f"{iq}<metadata xmlns='urn:xmpp:mam:2'/></iq>")
    await settled()

    (answer,) = world.written()
    ends = [(e.tag, e.get("id"), e.get("timestamp")) for e in answer[0]]
    assert answer[0].tag == f"{MAM}metadata"
    assert (
        ends
        == [
            (f"{MAM}start", "$old0", "1970-01-01T00:00:01.000Z"),
            (f"{MAM}end", "$old2", "1970-01-01T00:00:01.002Z"),
        ][:count]
    )


async def test_the_fields_are_told_to_those_who_may_read(world: MucWorld) -> None:
    form = f"<iq type='get' id='q' from='{ROMEO}' to='{TEA}'>"
    form += "<query xmlns='urn:xmpp:mam:2'/></iq>"
    world.comes(form)
    await world.joins(ROMEO, "romeo")
    (refused,) = [s for s in world.written() if name(s) == "iq"]
    world.comes(form)

    (answer,) = world.written()
    assert condition(refused) == "forbidden"
    assert answer.get("type") == "result"


async def test_who_asks_too_much_has_to_wait(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")
    for _ in range(2 * archive.PER_MINUTE):
        await read(world)

    _, answer = await read(world)

    assert condition(answer) == "policy-violation"


async def test_too_many_at_once_have_to_wait(
    world: MucWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "LINE_MAX", 20)
    await world.joins(ROMEO, "romeo")
    world.written()
    senders = [f"{ROMEO}{number}" for number in range(25)]
    for sender in senders:
        world.comes(ask(sender=sender))
    refused = [s for s in world.written() if s.get("type") == "error"]
    await settled()

    assert len(refused) == len(senders) - archive.LINE_MAX
    assert {condition(answer) for answer in refused} == {"resource-constraint"}
    assert len(world.written()) == archive.LINE_MAX


async def test_a_broken_store_is_told_and_tried_again(
    world: MucWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived(world, 1)
    await world.joins(ROMEO, "romeo")

    async def broken(*_: object) -> list[Parcel]:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(FakeStore, "archive", broken)
        _, answer = await read(world)
    results, _ = await read(world)

    assert condition(answer) == "remote-server-timeout"
    assert bodies(results) == ["old 0"]


async def test_only_the_rooms_in_use_are_remembered(
    world: MucWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "IN_USE_MAX", 1)
    for room in (TEA, VAULT):
        await world.joins(ROMEO, "romeo", room)
        archived(world, 2, room=room)
        await read(world, room=room)

    found = [world.hosted._rooms.get(room) for room in (TEA, VAULT)]
    assert [r and r.history.contents is None for r in found] == [True, False]
    results, _ = await read(world)
    assert bodies(results) == ["old 0", "old 1"]
