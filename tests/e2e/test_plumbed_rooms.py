"""An existing Matrix room and an existing MUC are linked, with everybody's consent."""

from deploy.lab.matrix_people import MatrixPerson
from deploy.lab.world import World
from deploy.lab.xmpp_people import XmppPerson
from tests.e2e.conftest import Company


async def before(
    world: World, company: Company, word: str
) -> tuple[MatrixPerson, str, XmppPerson, str]:
    """Return a Matrix room with the bot in it, and a MUC, each with its owner."""
    muc = f"{word}@{world.xmpp.muc}"
    juliet = await company.on_xmpp("juliet")
    await juliet.joins(muc, "Juliet")
    alice = await company.on_matrix("Alice")
    room = await alice.makes_room(word)
    await alice.invites_to(room, world.bot)
    await alice.sees_member(room, world.bot)
    greeting = await alice.hears_next(room)
    assert "!xmpp help" in greeting.text
    return alice, room, juliet, muc


async def ask(alice: MatrixPerson, room: str, juliet: XmppPerson, muc: str) -> None:
    """Ask for the link, in front of both sides."""
    await alice.says(room, f"!xmpp bridge {muc}")
    await alice.hears_next(room)
    await juliet.hears_next(muc)


async def accept(person: XmppPerson, nick: str, muc: str) -> str:
    """Agree; return the answer."""
    await person.says_in(muc, "!matrix accept")
    await person.hears("!matrix accept", nick, muc)
    return (await person.hears_next(muc)).text


async def link(alice: MatrixPerson, room: str, juliet: XmppPerson, muc: str) -> None:
    """Link them."""
    await ask(alice, room, juliet, muc)
    assert "linked" in await accept(juliet, "Juliet", muc)
    assert "linked" in (await alice.hears_next(room)).text


async def unlink(alice: MatrixPerson, room: str, juliet: XmppPerson, muc: str) -> None:
    """Undo it, and see the bridge go."""
    await alice.says(room, "!xmpp unbridge")
    assert "undone" in (await alice.hears_next(room)).text
    await juliet.sees_go(muc, "Matrix bridge")


async def test_a_linked_room_carries_both_ways(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, muc = await before(world, company, word)

    await link(alice, room, juliet, muc)
    await alice.says(room, "one")
    await juliet.hears("one", "Alice", muc)
    await juliet.says_in(muc, "two")
    await juliet.hears("two", "Juliet", muc)

    await alice.hears("two", "Juliet", room)


async def test_nothing_crosses_before_the_muc_has_agreed(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, muc = await before(world, company, word)

    await ask(alice, room, juliet, muc)
    await alice.says(room, "not for you")
    await juliet.says_in(muc, "nor for you")
    await juliet.hears("nor for you", "Juliet", muc)

    assert "linked" in await accept(juliet, "Juliet", muc)
    assert "linked" in (await alice.hears_next(room)).text


async def test_only_an_admin_of_the_muc_can_agree(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, muc = await before(world, company, word)
    romeo = await company.on_xmpp("romeo")
    await romeo.joins(muc, "Romeo")

    await ask(alice, room, romeo, muc)

    assert "Only owners and admins" in await accept(romeo, "Romeo", muc)
    assert juliet.all_heard(muc)


async def test_only_an_admin_of_the_matrix_room_can_ask(
    world: World, company: Company, word: str
) -> None:
    _, room, _, muc = await before(world, company, word)
    bob = await company.on_matrix("Bob")
    await bob.joins(room)

    await bob.says(room, f"!xmpp bridge {muc}")

    answer = await bob.hears_next(room)
    assert "Only admins" in answer.text


async def test_the_link_can_be_undone_from_matrix(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, muc = await before(world, company, word)
    await link(alice, room, juliet, muc)
    await alice.says(room, "together")
    await juliet.hears("together", "Alice", muc)

    await unlink(alice, room, juliet, muc)

    await juliet.sees_go(muc, "Alice")


async def test_the_link_can_be_undone_from_xmpp(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, muc = await before(world, company, word)
    await link(alice, room, juliet, muc)

    await juliet.says_in(muc, "!matrix unbridge")
    told = await alice.hears_next(room)

    assert "undone" in told.text


async def test_what_is_unbridged_can_be_bridged_again(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, muc = await before(world, company, word)
    await link(alice, room, juliet, muc)
    await unlink(alice, room, juliet, muc)
    juliet.all_heard(muc)

    await link(alice, room, juliet, muc)
    await alice.says(room, "once more")

    await juliet.hears("once more", "Alice", muc)


async def test_a_command_that_is_none_gets_help(
    world: World, company: Company, word: str
) -> None:
    alice, room, _, _ = await before(world, company, word)

    await alice.says(room, "!xmpp make coffee")

    answer = await alice.hears_next(room)
    assert "!xmpp bridge" in answer.text
