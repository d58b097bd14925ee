"""The homeserver's admin deletes rooms that are bridged."""

import asyncio
from urllib.parse import quote
from xml.etree.ElementTree import Element

import pytest

from deploy.lab.stanzas import MUC_USER, tag
from deploy.lab.world import World
from deploy.lab.xmpp_people import XmppPerson
from tests.e2e.conftest import Company
from tests.e2e.rooms import both
from tests.e2e.test_foreign_mucs import gather

PATIENCE_S = 60.0


async def deleted(world: World, room: str, **how: bool) -> None:
    await asyncio.to_thread(world.synapse.delete, room, **how)


async def is_told(person: XmppPerson, where: str) -> None:
    """Read on until somebody is told that the Matrix room is no more."""
    while "deleted" not in (await person.hears_next(where, PATIENCE_S)).text:
        pass


def reason(presence: Element) -> str:
    part = f"{tag('x', MUC_USER)}/{tag('destroy', MUC_USER)}/{tag('reason', MUC_USER)}"
    return presence.findtext(part, "")


@pytest.mark.parametrize("how", [{"block": True}, {"purge": False}])
async def test_a_muc_is_bridged_anew_by_its_alias(
    world: World, company: Company, word: str, how: dict[str, bool]
) -> None:
    alice, old, juliet, muc = await gather(world, company, word)
    await juliet.says_in(muc, "one")
    await alice.hears("one", "Juliet", old)
    await deleted(world, old, **how)

    await juliet.says_in(muc, "to nobody")
    await is_told(juliet, muc)
    await juliet.sees_go(muc, "Matrix bridge")
    new = await alice.joins(world.muc_alias(muc))
    await juliet.sees_come(muc, "Matrix bridge")
    await juliet.says_in(muc, "two")

    await alice.hears("two", "Juliet", new)
    assert new != old


async def test_who_is_in_a_hosted_room_is_put_out_and_may_enter_the_new_one(
    world: World, company: Company, word: str
) -> None:
    alice, old, juliet, jid = await both(world, company, word)
    await juliet.says_in(jid, "one")
    await alice.hears("one", world.ghost(juliet), old)
    await juliet.hears("one", "Juliet", jid)
    await deleted(world, old)
    new = await alice.makes_room(word)

    await juliet.is_refused(await juliet.says_in(jid, "to nobody"), PATIENCE_S)
    await juliet.sees(lambda p: "deleted" in reason(p), "the end of the room")
    await juliet.joins(jid, "Juliet", history=0)
    await juliet.says_in(jid, "two")

    await alice.hears("two", world.ghost(juliet), new)
    await juliet.hears("two", "Juliet", jid)
    assert new != old


@pytest.mark.parametrize("puts_out", ["kick", "ban"])
async def test_a_room_that_lets_no_more_of_us_in_goes_on_for_those_inside(
    world: World, company: Company, word: str, puts_out: str
) -> None:
    alice, room, juliet, jid = await both(world, company, word)
    romeo = await company.on_xmpp("romeo")
    await juliet.says_in(jid, "one")
    await alice.hears("one", world.ghost(juliet), room)
    await juliet.hears("one", "Juliet", jid)
    await alice.sets(room, "m.room.join_rules", {"join_rule": "invite"})
    path = f"/rooms/{quote(room)}/{puts_out}"
    await alice.call("POST", path, {"user_id": world.bot})

    await romeo.joins(jid, "Romeo", history=0)
    await romeo.is_refused(await romeo.says_in(jid, "let me in"), PATIENCE_S)
    await juliet.says_in(jid, "two")

    await alice.hears("two", world.ghost(juliet), room)
    await alice.says(room, "three")
    await juliet.hears("two", "Juliet", jid)
    await juliet.hears("three", "Alice", jid)
