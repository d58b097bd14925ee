from datetime import UTC, datetime

from bridge.model.delivery import Refusal, Route
from bridge.model.events import (
    Join,
    Leave,
    Message,
    Rank,
    Rename,
    Repictured,
    Retitled,
    Subject,
)
from bridge.model.places import Network, Person, Ref, Room
from tests.unit.xmpp.muc.vault import Vault
from tests.unit.xmpp.muc.world import (
    ALICE,
    BOB,
    JULIET,
    ROMEO,
    TEA,
    VAULT,
    MucWorld,
    codes,
    condition,
    item,
    message,
    name,
    nick,
    words,
)

CAROL = Person(Network.MATRIX, "@carol:hs.example")
MALLORY = Person(Network.XMPP, "romeo@montague.lit")
WHERE = {
    "ref": Ref(Network.MATRIX, "$state"),
    "room": Room(Network.MATRIX, "!1:hs.example"),
    "sent_at": datetime(2026, 5, 1, tzinfo=UTC),
}


def came(person: Person, called: str) -> Join:
    return Join(sender=person, name=called, rank=Rank.MEMBER, **WHERE)  # type: ignore[arg-type]


def went(person: Person, by: Person | None = None, *, banned: bool = False) -> Leave:
    return Leave(
        sender=by or person,
        person=person,
        banned=banned,
        reason="enough",
        **WHERE,  # type: ignore[arg-type]
    )


async def carol_says(world: MucWorld, words: str, number: int) -> None:
    wires = world.hosted.prepare(message(CAROL, words, "Carol", number), world.route())
    assert not isinstance(wires, Refusal)
    await world.sends(wires)


async def test_a_message_from_matrix_reaches_all_devices(world: MucWorld) -> None:
    """XEP-0045 §7.4, XEP-0359 §3.2, XEP-0421 §3."""
    await world.joins(ROMEO, "romeo")
    await world.joins(JULIET, "juliet")
    world.written()

    await world.says(ALICE, "hello & <good> day")

    seen = world.written()
    assert [s.get("to") for s in seen] == [ROMEO, JULIET]
    assert {(nick(s), s.get("id"), words(s)) for s in seen} == {
        ("Alice", "$said1", "hello & <good> day")
    }
    stanza_id = seen[0].find("{urn:xmpp:sid:0}stanza-id")
    assert stanza_id is not None
    assert stanza_id.attrib == {"by": TEA, "id": "$said1"}
    assert seen[0].find("{urn:xmpp:occupant-id:0}occupant-id") is not None
    assert seen[0].find("{urn:xmpp:hints}store") is not None


async def test_whoever_speaks_is_seen_first(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")
    world.written()

    await world.says(CAROL, "hi", "Carol \U0001f98a")
    await carol_says(world, "again", 2)

    seen = world.written()
    assert [(name(s), nick(s)) for s in seen] == [
        ("presence", "Carol"),
        ("message", "Carol"),
        ("message", "Carol"),
    ]


async def test_who_was_not_shown_is_shown_with_what_they_say_again(
    world: MucWorld,
) -> None:
    """Nothing could be written down, so the homeserver pushes it once more."""
    await world.joins(ROMEO, "romeo")
    world.written()
    world.hosted.prepare(message(CAROL, "hi", "Carol"), world.route())

    await world.says(CAROL, "hi", "Carol")
    await carol_says(world, "again", 2)

    assert [name(s) for s in world.written()] == ["presence", "message", "message"]


async def test_what_nobody_hears_is_history_all_the_same(world: MucWorld) -> None:
    """XEP-0045 §7.2.13; a bridge that was restarted has it from its archive."""
    for number, who in enumerate((ALICE, CAROL, ALICE), 1):
        said = message(who, f"words {number}", who.id[1:4].title(), number)
        wires = world.hosted.prepare(said, world.route())
        assert not isinstance(wires, Refusal)
        await world.sends(wires)

    await world.joins(ROMEO, "romeo")

    heard = [s for s in world.written() if words(s)]
    assert [words(s) for s in heard] == ["words 1", "words 2", "words 3"]
    assert [nick(s) for s in heard] == ["Ali", "Car", "Ali"]


async def test_people_of_matrix_come_and_go(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")
    world.written()

    await world.happens(came(CAROL, "Carol"))
    await world.happens(went(CAROL))
    await world.happens(went(CAROL))

    come, gone = world.written()
    assert (nick(come), come.get("type")) == ("Carol", None)
    assert (nick(gone), gone.get("type"), codes(gone)) == (
        "Carol",
        "unavailable",
        set(),
    )


async def test_a_name_of_somebody_else_is_told_apart(world: MucWorld) -> None:
    """peers.md 3c.2: equal names never do harm."""
    await world.joins(ROMEO, "Carol")
    world.written()

    await world.happens(came(CAROL, "carol"))

    (come,) = world.written()
    assert nick(come) == "carol (carol)"
    assert come.findtext("{http://jabber.org/protocol/nick}nick") == "carol"


async def test_a_new_name_is_a_new_nick(world: MucWorld) -> None:
    """XEP-0045 §7.6."""
    await world.joins(ROMEO, "romeo")
    world.written()

    for called in ("Alice B", "Alice B", "Alice B \U0001f98a"):
        renamed = Rename(sender=ALICE, name=called, **WHERE)  # type: ignore[arg-type]
        await world.happens(renamed)
    await world.happens(Rename(sender=CAROL, name="nobody", **WHERE))  # type: ignore[arg-type]

    old, new, same = world.written()
    assert (nick(old), codes(old), item(old).get("nick")) == (
        "Alice",
        {"303"},
        "Alice B",
    )
    assert nick(new) == nick(same) == "Alice B"


async def test_whoever_was_banned_on_matrix_stays_out(world: MucWorld) -> None:
    """XEP-0045 §9.1: 301, affiliation outcast; §7.2.7: "forbidden"."""
    await world.joins(ROMEO, "romeo")
    await world.joins(JULIET, "juliet")
    world.written()

    await world.happens(went(MALLORY, ALICE, banned=True))
    seen = world.written()
    await world.joins(ROMEO, "romeo")
    refused = world.written()
    await world.happens(went(MALLORY, ALICE))
    await world.joins(ROMEO, "romeo")

    assert [(s.get("to"), codes(s)) for s in seen] == [
        (ROMEO, {"301", "110"}),
        (JULIET, {"301"}),
    ]
    assert {item(s).get("affiliation") for s in seen} == {"outcast"}
    muc_user = "{http://jabber.org/protocol/muc#user}"
    assert item(seen[0]).findtext(f"{muc_user}reason") == "enough"
    assert [condition(s) for s in refused] == ["forbidden"]
    assert len(world.written(ROMEO)) > 1


async def test_whoever_was_kicked_on_matrix_is_out(world: MucWorld) -> None:
    """XEP-0045 §8.2: 307 and who did it."""
    await world.joins(ROMEO, "romeo", VAULT)
    world.written()
    kick = went(MALLORY, ALICE)

    wires = await world.hosted.apply(kick, world.route(VAULT))
    await world.hosted.send([world.parcel(wire, VAULT) for wire in wires])
    await world.joins(ROMEO, "romeo", VAULT)

    (out, refused) = world.written()
    assert codes(out) == {"307", "110"}
    actor = item(out).find("{http://jabber.org/protocol/muc#user}actor")
    assert actor is not None
    assert actor.get("nick") == "Alice"
    assert condition(refused) == "registration-required"


async def test_a_topic_is_shown(world: MucWorld) -> None:
    """XEP-0045 §8.1."""
    await world.joins(ROMEO, "romeo")
    world.written()

    await world.happens(Subject(sender=ALICE, topic="coffee", **WHERE))  # type: ignore[arg-type]
    await world.joins(JULIET, "juliet")

    shown, *_, last = world.written()
    subject = "{jabber:component:accept}subject"
    assert (shown.get("to"), nick(shown)) == (ROMEO, "Alice")
    assert (last.get("to"), nick(last)) == (JULIET, "Alice")
    assert shown.findtext(subject) == last.findtext(subject) == "coffee"
    delay = "{urn:xmpp:delay}delay"
    (since,) = last.iterfind(delay)
    assert shown.find(delay) is None
    assert since.get("stamp") == "2026-05-01T00:00:00.000Z"


async def test_a_room_with_another_name_is_shown_as_changed(world: MucWorld) -> None:
    """XEP-0045 §10.2.1: clients then ask what it is like."""
    await world.joins(ROMEO, "romeo")
    world.written()
    again = Retitled(sender=ALICE, title="Coffee", **WHERE)  # type: ignore[arg-type]

    await world.happens(again)
    await world.happens(again)

    (changed,) = world.written()
    assert (changed.get("to"), changed.get("from")) == (ROMEO, TEA)
    assert changed.get("type") == "groupchat"
    assert codes(changed) == {"104"}
    world.comes(
        f"<iq type='get' id='1' from='{ROMEO}' to='{TEA}'>"
        "<query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
    )
    (told,) = world.written()
    identity = told.find(".//{http://jabber.org/protocol/disco#info}identity")
    assert identity is not None
    assert identity.get("name") == "Coffee"


async def test_a_room_without_a_name_goes_by_its_alias(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")
    room = world.hosted._rooms.get(TEA)
    assert room is not None

    await world.happens(Retitled(sender=ALICE, title="", **WHERE))  # type: ignore[arg-type]

    assert room.name == room.portal.alias


async def test_a_room_that_nobody_is_in_needs_no_news(world: MucWorld) -> None:
    nobody = await world.hosted.apply(came(CAROL, "Carol"), world.route())
    await world.joins(ROMEO, "romeo")
    world.comes(f"<presence type='unavailable' from='{ROMEO}' to='{TEA}/romeo'/>")

    assert nobody == ()
    assert await world.hosted.apply(came(CAROL, "Carol"), world.route()) == ()
    assert await world.hosted.apply(went(BOB), world.route()) == ()


async def test_guests_of_ours_are_no_news(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")

    for event in (came(MALLORY, "x"), Rename(sender=MALLORY, name="x", **WHERE)):  # type: ignore[arg-type]
        assert await world.hosted.apply(event, world.route()) == ()


async def test_what_cannot_be_written_is_refused(world: MucWorld) -> None:
    there = world.route()
    elsewhere = Route(there.portal, Room(Network.XMPP, "#tea#hs@else.example"))
    event: Message = message(ALICE, "hello", "Alice")

    assert world.hosted.prepare(event, elsewhere) is Refusal.TOO_LARGE


async def test_members_learn_who_else_belongs_though_not_there(vault: Vault) -> None:
    """XEP-0045 §9.3, §9.4: their clients encrypt for whoever belongs."""
    news, bare = vault.around.hosted._news, "nurse@capulet.lit"

    await vault.around.sends(news.belongs(VAULT, bare, "member", "$1"), VAULT)
    await vault.around.sends(news.belongs(VAULT, bare, "none", "$2"), VAULT)

    seen = vault.around.written(ROMEO)
    assert [(item(s).get("jid"), item(s).get("affiliation")) for s in seen] == [
        (bare, "member"),
        (bare, "none"),
    ]
    assert news.belongs(VAULT, "romeo@montague.lit", "member", "$3") == ()
    assert news.belongs(TEA, bare, "member", "$4") == ()


async def test_what_somebody_looks_like_is_their_puppets_affair(
    world: MucWorld,
) -> None:
    await world.joins(ROMEO, "romeo")
    world.written()

    await world.happens(Repictured(sender=ALICE, **WHERE))  # type: ignore[arg-type]

    assert world.written() == []
