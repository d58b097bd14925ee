"""The newest servers that Debian has: they are spoken to in the same way.

By default only this file meets them; `tests/run --servers prosody13,ejabberd24` lets
them play in every other one.
"""

from deploy.lab.world import World
from tests.e2e.conftest import Company
from tests.e2e.ledger import Seat
from tests.e2e.rooms import both, reachable


async def test_a_hosted_room_goes_on_after_a_restart(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, jid = await both(world, company, word)
    await alice.says(room, "hello")
    await juliet.hears("hello", "Alice", jid)
    await juliet.says_in(jid, "good morning")
    await alice.hears("good morning", "Juliet", room)
    await juliet.hears("good morning", "Juliet", jid)

    await world.restart("xmpp")
    await juliet.comes_back()
    await reachable(juliet, world.puppet(alice))
    await juliet.joins(jid, "Juliet")
    await juliet.says_in(jid, "still here")

    await alice.hears("still here", "Juliet", room)


async def test_a_muc_goes_on_after_a_restart(
    world: World, company: Company, word: str
) -> None:
    alice, juliet = await company.on_matrix("Alice"), await company.on_xmpp("juliet")
    muc = f"{word}@{world.xmpp.muc}"
    seat = Seat(juliet, muc, "Juliet")
    await seat.take()
    room = await alice.joins(world.muc_alias(muc))
    await juliet.says_in(muc, "hello")
    await alice.hears("hello", "Juliet", room)
    await alice.says(room, "good morning")
    await seat.has_seen("good morning")

    await world.restart("xmpp")
    await alice.says(room, "still here")
    await juliet.comes_back()
    await seat.take()

    await seat.has_seen("still here")
    await seat.say(["so am I"])
    await alice.hears("so am I", "Juliet", room)


async def test_a_direct_chat_goes_on_after_a_restart(
    world: World, company: Company
) -> None:
    alice, juliet = await company.on_matrix("Alice"), await company.on_xmpp("juliet")
    ghost, puppet = world.ghost(juliet), world.puppet(alice)
    room = await alice.starts_chat(ghost)
    await alice.says(room, "hello")
    await juliet.hears("hello", puppet, puppet)
    await juliet.says(puppet, "good morning")
    await alice.hears("good morning", ghost, room)

    await world.restart("xmpp")
    await juliet.comes_back()
    await alice.says(room, "still here")

    await juliet.hears("still here", puppet, puppet)
