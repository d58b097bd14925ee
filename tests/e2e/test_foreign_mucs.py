"""A Matrix user enters a MUC by its alias."""

import pytest

from deploy.lab.matrix_people import MatrixPerson, MatrixRefusedError
from deploy.lab.stanzas import resource
from deploy.lab.world import World
from deploy.lab.xmpp_people import XmppPerson
from tests.e2e.conftest import Company


async def gather(
    world: World, company: Company, word: str, name: str = "Alice"
) -> tuple[MatrixPerson, str, XmppPerson, str]:
    """Let Juliet open a MUC and a Matrix user enter; return them and the rooms."""
    muc = f"{word}@{world.xmpp.muc}"
    juliet = await company.on_xmpp("juliet")
    await juliet.joins(muc, "Juliet")
    alice = await company.on_matrix(name)
    room = await alice.joins(world.muc_alias(muc))
    return alice, room, juliet, muc


async def test_both_sides_hear_each_other_once(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, muc = await gather(world, company, word)

    await juliet.says_in(muc, "one")
    await juliet.hears("one", "Juliet", muc)
    await alice.hears("one", "Juliet", room)
    await alice.says(room, "two")
    await juliet.hears("two", "Alice", muc)
    await juliet.says_in(muc, "three")
    await juliet.hears("three", "Juliet", muc)

    await alice.hears("three", "Juliet", room)


async def test_everybody_of_matrix_has_a_nick(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, muc = await gather(world, company, word)
    bob = await company.on_matrix("Bob")
    await bob.joins(world.muc_alias(muc))

    await alice.says(room, "from Alice")
    await juliet.hears("from Alice", "Alice", muc)
    await bob.says(room, "from Bob")

    await juliet.hears("from Bob", "Bob", muc)
    await bob.hears("from Alice", "Alice", room)
    await alice.hears("from Bob", "Bob", room)


async def test_a_nick_that_is_taken_is_made_different(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, muc = await gather(world, company, word, name="Juliet")

    await alice.says(room, "I am called Juliet too")
    heard = await juliet.hears_next(muc)

    assert heard.text == "I am called Juliet too"
    assert heard.sender.startswith("Juliet")
    assert heard.sender != "Juliet"


async def test_a_name_with_an_emoji_makes_a_nick(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, muc = await gather(world, company, word, name="Alice 🦊")

    await alice.says(room, "hello")
    heard = await juliet.hears_next(muc)

    assert heard.text == "hello"
    assert "Alice" in heard.sender


async def test_who_leaves_the_room_leaves_the_muc(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, muc = await gather(world, company, word)
    await alice.says(room, "a word")
    await juliet.hears("a word", "Alice", muc)
    await juliet.sees_come(muc, "Alice")

    await alice.leaves(room)

    await juliet.sees_go(muc, "Alice")


async def test_who_leaves_the_muc_while_the_bridge_is_down_leaves_the_room(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, muc = await gather(world, company, word)
    romeo = await company.on_xmpp("romeo")
    await romeo.joins(muc, "Romeo")
    await romeo.says_in(muc, "a word")
    ghost = (await alice.hears("a word", "Romeo", room)).sender
    await romeo.hears("a word", "Romeo", muc)

    await world.end_bridge(10)
    await romeo.says_in(muc, "my last")
    await romeo.hears("my last", "Romeo", muc)
    await romeo.leaves(muc, "Romeo")
    await world.start_bridge()

    await alice.hears("my last", "Romeo", room)
    await alice.sees_member(room, ghost, membership="leave", within_s=120)
    await juliet.says_in(muc, "he is gone")
    still = (await alice.hears("he is gone", "Juliet", room)).sender
    assert alice.membership(room, still) == "join"


async def test_a_muc_that_does_not_exist_is_said_so(
    world: World, company: Company
) -> None:
    alice = await company.on_matrix("Alice")

    with pytest.raises(MatrixRefusedError) as refused:
        await alice.joins(world.muc_alias("room@nowhere.localhost"))

    assert refused.value.code == "M_NOT_FOUND"


async def test_a_new_nick_is_the_same_ghost(
    world: World, company: Company, word: str
) -> None:
    """A nick change is a rename, never a second ghost (XEP-0045 §7.6, XEP-0421)."""
    if world.kind == "ejabberd":
        pytest.skip("ejabberd 23 has no occupant ids: only the nick is known")
    alice, room, juliet, muc = await gather(world, company, word)
    await juliet.says_in(muc, "as Juliet")
    before = await alice.hears("as Juliet", "Juliet", room)

    await juliet.renames(muc, "Capulet")
    await juliet.says_in(muc, "as Capulet")
    after = await alice.hears("as Capulet", "Capulet", room)

    assert after.sender == before.sender


async def test_what_was_said_before_nobody_entered_does_not_come(
    world: World, company: Company, word: str
) -> None:
    muc = f"{word}@{world.xmpp.muc}"
    juliet = await company.on_xmpp("juliet")
    await juliet.joins(muc, "Juliet")
    await juliet.says_in(muc, "among ourselves")
    await juliet.hears("among ourselves", "Juliet", muc)
    alice = await company.on_matrix("Alice")

    room = await alice.joins(world.muc_alias(muc))
    await juliet.says_in(muc, "now with guests")

    await alice.hears("now with guests", "Juliet", room)


async def test_the_subject_becomes_the_topic(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, muc = await gather(world, company, word)

    await juliet.sets_subject(muc, "Moonlight")

    await alice.until(
        lambda: alice.topic(room) == "Moonlight" or None,
        "the topic",
    )


async def test_the_listener_is_no_ghost(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, muc = await gather(world, company, word)

    await alice.says(room, "hello")
    await juliet.hears("hello", "Alice", muc)
    seen = {resource(p.get("from", "")) for p in juliet.all if muc in p.get("from", "")}

    assert {"Juliet", "Alice"} <= seen
    names = {m.get("displayname") for m in alice.members[room].values()}
    assert "Matrix bridge" not in names
