"""One to one, from either side."""

import pytest

from deploy.lab.matrix_people import MatrixPerson
from deploy.lab.stanzas import condition
from deploy.lab.world import World
from deploy.lab.xmpp_people import XmppPerson
from tests.e2e.conftest import Company

Pair = tuple[MatrixPerson, XmppPerson]


@pytest.fixture
async def pair(company: Company) -> Pair:
    return await company.on_matrix("Alice"), await company.on_xmpp("juliet")


async def meet(world: World, pair: Pair) -> str:
    """Let Juliet begin; return the Matrix room."""
    alice, juliet = pair
    await juliet.says(world.puppet(alice), "a beginning")
    room = await alice.is_invited(world.ghost(juliet))
    await alice.joins(room)
    await alice.hears("a beginning", world.ghost(juliet), room)
    return room


async def test_somebody_of_xmpp_begins(world: World, pair: Pair) -> None:
    alice, juliet = pair
    puppet = world.puppet(alice)

    room = await meet(world, pair)
    await alice.says(room, "and an answer")
    await juliet.hears("and an answer", puppet, puppet)
    await juliet.says(puppet, "and more")

    await alice.hears("and more", world.ghost(juliet), room)


async def test_what_came_before_she_joined_is_there_in_order(
    world: World, pair: Pair
) -> None:
    alice, juliet = pair
    ghost = world.ghost(juliet)

    for number in range(5):
        await juliet.says(world.puppet(alice), f"line {number}")
    room = await alice.is_invited(ghost)
    await alice.joins(room)

    for number in range(5):
        await alice.hears(f"line {number}", ghost, room)
    assert list(alice.invites) == []


async def test_somebody_of_matrix_begins(world: World, pair: Pair) -> None:
    alice, juliet = pair
    ghost, puppet = world.ghost(juliet), world.puppet(alice)

    room = await alice.starts_chat(ghost)
    # She does not wait for the ghost to accept.
    await alice.says(room, "one")
    await alice.says(room, "two")
    await alice.sees_member(room, ghost)
    await alice.says(room, "three")

    for text in ("one", "two", "three"):
        await juliet.hears(text, puppet, puppet)
    await juliet.says(puppet, "four")
    await alice.hears("four", ghost, room)


async def test_who_was_asked_may_answer_at_once(world: World, pair: Pair) -> None:
    alice, juliet = pair
    ghost = world.ghost(juliet)

    room = await alice.starts_chat(ghost)
    await alice.sees_member(room, ghost)
    await juliet.says(world.puppet(alice), "I was first")

    await alice.hears("I was first", ghost, room)


async def test_inviting_a_ghost_into_an_empty_room_is_a_chat(
    world: World, pair: Pair
) -> None:
    alice, juliet = pair
    ghost, puppet = world.ghost(juliet), world.puppet(alice)

    room = await alice.makes_room(preset="private_chat")
    path = f"/rooms/{room}/invite"
    await alice.call("POST", path, {"user_id": ghost, "reason": "talk"})
    await alice.sees_member(room, ghost)
    await alice.says(room, "hello")

    await juliet.hears("hello", puppet, puppet)


async def test_after_leaving_she_is_asked_again(world: World, pair: Pair) -> None:
    """Bifröst #213, #217: a chat that was left could never be used again."""
    alice, juliet = pair
    ghost = world.ghost(juliet)
    room = await meet(world, pair)

    await alice.leaves(room)
    await juliet.says(world.puppet(alice), "still there?")
    again = await alice.is_invited(ghost)
    await alice.joins(again)

    await alice.hears("still there?", ghost, again)


async def test_after_leaving_she_may_begin_anew(world: World, pair: Pair) -> None:
    alice, juliet = pair
    ghost, puppet = world.ghost(juliet), world.puppet(alice)
    old = await meet(world, pair)

    await alice.leaves(old)
    room = await alice.starts_chat(ghost)
    await alice.sees_member(room, ghost)
    await alice.says(room, "me again")
    await juliet.hears("me again", puppet, puppet)
    await juliet.says(puppet, "welcome back")

    await alice.hears("welcome back", ghost, room)


async def test_a_new_chat_beside_the_old_one_takes_over(
    world: World, pair: Pair
) -> None:
    alice, juliet = pair
    ghost, puppet = world.ghost(juliet), world.puppet(alice)
    await meet(world, pair)

    room = await alice.starts_chat(ghost)
    await alice.sees_member(room, ghost)
    await alice.says(room, "over here")
    await juliet.hears("over here", puppet, puppet)
    await juliet.says(puppet, "there you are")

    await alice.hears("there you are", ghost, room)


async def test_a_ghost_that_was_put_out_asks_again(world: World, pair: Pair) -> None:
    alice, juliet = pair
    ghost, puppet = world.ghost(juliet), world.puppet(alice)
    room = await alice.makes_room(preset="private_chat")
    await alice.invites_to(room, ghost)
    await alice.sees_member(room, ghost)
    await alice.says(room, "hello")
    await juliet.hears("hello", puppet, puppet)

    await alice.call("POST", f"/rooms/{room}/kick", {"user_id": ghost})
    await alice.sees_member(room, ghost, membership="leave")
    await juliet.says(puppet, "let me in")
    again = await alice.is_invited(ghost)
    await alice.joins(again)

    await alice.hears("let me in", ghost, again)


async def test_nobody_of_that_name_on_matrix(world: World, pair: Pair) -> None:
    _, juliet = pair

    unknown = f"nobody_{world.synapse.server_name}@{world.xmpp.component}"
    number = await juliet.says(unknown, "is anybody there?")

    error = await juliet.is_refused(number)
    assert condition(error) in {"item-not-found", "service-unavailable"}


async def test_an_address_that_names_nobody(world: World, pair: Pair) -> None:
    _, juliet = pair

    number = await juliet.says(f"nobody@{world.xmpp.component}", "hello?")

    error = await juliet.is_refused(number)
    assert condition(error) in {"item-not-found", "service-unavailable"}


async def test_nobody_of_that_name_on_xmpp(world: World, pair: Pair) -> None:
    alice, _ = pair
    ghost = world.ghost(f"nobody@{world.xmpp.host}")

    room = await alice.starts_chat(ghost)
    await alice.sees_member(room, ghost)
    await alice.says(room, "is anybody there?")

    told = await alice.hears_next(room)
    assert told.raw["content"]["msgtype"] == "m.notice"  # type: ignore[index]


async def test_who_is_offline_hears_later(world: World, pair: Pair) -> None:
    alice, juliet = pair
    puppet = world.puppet(alice)
    room = await meet(world, pair)

    await juliet.log_out()
    await alice.says(room, "read this tomorrow")
    await alice.says(room, "and this")
    await juliet.log_in()

    await juliet.hears("read this tomorrow", puppet, puppet)
    await juliet.hears("and this", puppet, puppet)


async def test_a_pair_has_one_chat(world: World, company: Company) -> None:
    """Several people at once: nobody reads what is for another."""
    alice, bob = await company.on_matrix("Alice"), await company.on_matrix("Bob")
    juliet = await company.on_xmpp("juliet")
    ghost = world.ghost(juliet)

    with_alice = await meet(world, (alice, juliet))
    with_bob = await meet(world, (bob, juliet))
    await juliet.says(world.puppet(alice), "for Alice")
    await juliet.says(world.puppet(bob), "for Bob")

    await alice.hears("for Alice", ghost, with_alice)
    await bob.hears("for Bob", ghost, with_bob)
    assert with_alice != with_bob
