"""The servers and the clients work by themselves, without the bridge."""

from deploy.lab.world import World
from tests.e2e.conftest import Company


async def test_two_of_xmpp_meet_in_a_muc(
    world: World, company: Company, word: str
) -> None:
    juliet, romeo = await company.on_xmpp("juliet"), await company.on_xmpp("romeo")
    muc = f"{word}@{world.xmpp.muc}"

    await juliet.joins(muc, "Juliet")
    entered = await romeo.joins(muc, "Romeo")
    await romeo.says_in(muc, "<&> hello")

    assert entered.occupants == ["Juliet"]
    await juliet.hears("<&> hello", "Romeo", muc)
    await romeo.hears("<&> hello", "Romeo", muc)


async def test_two_of_matrix_meet_in_a_room(company: Company, word: str) -> None:
    alice, bob = await company.on_matrix("Alice"), await company.on_matrix("Bob")

    room = await alice.makes_room(word)
    await bob.joins(room)
    await bob.says(room, "hello")

    await alice.hears("hello", "Bob", room)
