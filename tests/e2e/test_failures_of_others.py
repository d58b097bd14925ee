"""What went wrong in other bridges, as far as text is concerned, goes right here.

The numbers are those of the list of failures reproduced in Bifröst 1.0.3.
"""

from xml.etree.ElementTree import Element, SubElement

from deploy.lab.matrix_people import MatrixPerson
from deploy.lab.stanzas import SELF, statuses, tag
from deploy.lab.world import World
from deploy.lab.xmpp_people import XmppPerson
from tests.e2e.conftest import Company

HTML = "org.matrix.custom.html"
CORRECTION = "urn:xmpp:message-correct:0"
RETRACTION = "urn:xmpp:message-retract:1"
FALLBACK = "urn:xmpp:fallback:0"
STOP_S = 5.0


async def in_a_room(
    world: World, company: Company, word: str
) -> tuple[MatrixPerson, str, XmppPerson, str]:
    """Return two in a hosted room, and the room as each knows it."""
    alice = await company.on_matrix("Alice")
    room = await alice.makes_room(word, name="The name of the room")
    juliet = await company.on_xmpp("juliet")
    jid = world.hosted(word)
    await juliet.joins(jid, "Juliet")
    return alice, room, juliet, jid


async def in_a_chat(
    world: World, company: Company
) -> tuple[MatrixPerson, str, XmppPerson, str]:
    """Return two in a direct chat, the room and the puppet."""
    alice, juliet = await company.on_matrix("Alice"), await company.on_xmpp("juliet")
    room = await alice.starts_chat(world.ghost(juliet))
    await alice.sees_member(room, world.ghost(juliet))
    puppet = world.puppet(alice)
    await alice.says(room, "hello")
    await juliet.hears("hello", puppet, puppet)
    return alice, room, juliet, puppet


async def test_1_html_never_reaches_the_stream(world: World, company: Company) -> None:
    alice, room, juliet, puppet = await in_a_chat(world, company)
    forged = (
        "x</p></body></html></message><message"
        f" from='mallory@{world.xmpp.component}' to='{juliet.jid}' type='chat'>"
        "<body>forged</body></message><message><body>"
    )

    await alice.says(room, "two lines", format=HTML, formatted_body="two<br>lines")
    await alice.says(room, "sneaky", format=HTML, formatted_body=forged)
    await alice.says(room, "and on")

    await juliet.hears("two\nlines", puppet, puppet)
    await juliet.hears_next(puppet)
    await juliet.hears("and on", puppet, puppet)
    assert not [s for s in juliet.all if "mallory" in s.get("from", "")]


async def test_2_a_nick_that_is_a_display_name_does_no_harm(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, jid = await in_a_room(world, company, word)
    pid = world.bridge.pid
    romeo = await company.on_xmpp("romeo")

    number = await romeo.send(_join(f"{jid}/Alice"))
    answer = await romeo.sees(lambda p: p.get("id") == number, "an answer")
    await juliet.says_in(jid, "all well")

    assert answer.get("type") == "error"
    await alice.hears("all well", world.ghost(juliet), room)
    assert world.bridge.pid == pid
    assert world.bridge.exit_code is None


async def test_3_ids_belong_to_their_senders(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, jid = await in_a_room(world, company, word)
    romeo = await company.on_xmpp("romeo")
    await romeo.joins(jid, "Romeo")

    await juliet.says_in(jid, "mine", "aadaa")
    await alice.hears("mine", "Juliet", room)
    await romeo.says_in(jid, "mine too", "aadaa")

    await alice.hears("mine too", "Romeo", room)


async def test_3_equal_words_without_ids_are_said_twice(
    world: World, company: Company
) -> None:
    alice, room, juliet, puppet = await in_a_chat(world, company)

    for _ in range(2):
        message = Element("message", {"type": "chat", "to": puppet, "id": ""})
        SubElement(message, "body").text = "again"
        await juliet.send(message)

    await alice.hears("again", world.ghost(juliet), room)
    await alice.hears("again", world.ghost(juliet), room)


async def test_4_after_a_restart_rooms_go_on(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, jid = await in_a_room(world, company, word)

    await world.restart("bridge")
    juliet.presences.clear()
    await juliet.joins(jid, "Juliet", history=0)
    await alice.says(room, "after the restart")
    await juliet.hears("after the restart", "Alice", jid)
    await juliet.says_in(jid, "indeed")

    await alice.hears("indeed", world.ghost(juliet), room)


async def test_5_an_answer_in_a_thread_corrects_nothing(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, jid = await in_a_room(world, company, word)
    root = await alice.says(room, "the root")
    await juliet.hears("the root", "Alice", jid)
    thread = {
        "rel_type": "m.thread",
        "event_id": root,
        "is_falling_back": True,
        "m.in_reply_to": {"event_id": root},
    }

    await alice.says(room, "in the thread", **{"m.relates_to": thread})
    heard = await juliet.hears_next(jid)

    assert isinstance(heard.raw, Element)
    assert heard.text.endswith("in the thread")
    assert heard.raw.find(tag("replace", CORRECTION)) is None


async def test_6_a_ban_is_told_with_its_reason(
    world: World, company: Company, word: str
) -> None:
    """XEP-0045 §9.1."""
    alice, room, juliet, jid = await in_a_room(world, company, word)
    ghost = world.ghost(juliet)
    await alice.sees_member(room, ghost)

    path = f"/rooms/{room}/ban"
    await alice.call("POST", path, {"user_id": ghost, "reason": "noise"})
    gone = await juliet.sees_go(jid, "Juliet")

    assert statuses(gone) >= {SELF, "301"}


async def test_6_a_changed_nick_leaves_one_ghost_who_can_leave(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, jid = await in_a_room(world, company, word)
    await alice.sees_member(room, world.ghost(juliet), name="Juliet")

    await juliet.renames(jid, "Capulet")
    await alice.sees_member(room, world.ghost(juliet), name="Capulet")
    await juliet.leaves(jid, "Capulet")

    await alice.sees_member(room, world.ghost(juliet), membership="leave")
    here = [u for u, m in alice.members[room].items() if m["membership"] == "join"]
    assert "Capulet" not in [alice.name_of(room, user) for user in here]


async def test_8_the_words_beside_a_retraction_are_not_posted(
    world: World, company: Company, word: str
) -> None:
    """XEP-0424, XEP-0428."""
    alice, room, juliet, jid = await in_a_room(world, company, word)
    ghost = world.ghost(juliet)
    await juliet.says_in(jid, "oops", "oops-1")
    await alice.hears("oops", ghost, room)
    message = Element("message", {"type": "groupchat", "to": jid})
    SubElement(message, "retract", {"xmlns": RETRACTION, "id": "oops-1"})
    SubElement(message, "fallback", {"xmlns": FALLBACK, "for": RETRACTION})
    SubElement(message, "body").text = "This person attempted to retract a message."

    await juliet.send(message)
    await juliet.says_in(jid, "never mind")

    await alice.hears("never mind", ghost, room)


async def test_9_whoever_comes_again_is_let_in_again(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, jid = await in_a_room(world, company, word)

    await juliet.vanishes()
    await juliet.log_in()
    entered = await juliet.joins(jid, "Juliet")
    await alice.says(room, "there you are")

    assert "Alice" in entered.occupants
    await juliet.hears("there you are", "Alice", jid)


async def test_10_the_subject_is_the_topic_and_has_an_id(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, jid = await in_a_room(world, company, word)

    await alice.sets(room, "m.room.topic", {"topic": "Verona"})
    await juliet.until(
        lambda: juliet.subjects.get(jid) == "Verona" or None, "the subject"
    )

    stanzas = [s for s in juliet.all if s.find(tag("subject")) is not None]
    subjects = [s.findtext(tag("subject")) or "" for s in stanzas]
    assert subjects == ["", "Verona"]
    assert not [s for s in stanzas if s.get("id") in {"undefined", "None"}]


async def test_11_the_bridge_ends_when_it_is_asked_to(world: World) -> None:
    try:
        code = await world.end_bridge(STOP_S)
    finally:
        await world.start_bridge()

    assert code == 0


def _join(occupant: str) -> Element:
    presence = Element("presence", {"to": occupant})
    SubElement(presence, "x", {"xmlns": "http://jabber.org/protocol/muc"})
    return presence
