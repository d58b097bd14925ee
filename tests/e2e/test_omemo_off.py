"""Somebody wants no OMEMO any more: a person of XMPP, or the admin of the bridge."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

import pytest

from deploy.lab.world import World
from tests.e2e.omemo_client import OPTS_OUT
from tests.e2e.secret_company import Company, meet
from tests.e2e.secret_people import LEGACY, OMEMO2, PUBSUB

ON, OFF = "\nomemo = true\n", "\nomemo = false\n"


@pytest.fixture
async def company(world: World, tmp_path: Path) -> AsyncIterator[Company]:
    async with AsyncExitStack() as ends:
        yield Company(world, tmp_path, ends)


@asynccontextmanager
async def switched_off(world: World) -> AsyncIterator[None]:
    """Let the admin do without OMEMO for a while."""
    config = world.gateway.config
    before = config.read_text(encoding="utf-8")
    assert ON in before
    config.write_text(before.replace(ON, OFF), encoding="utf-8")
    try:
        await world.restart("bridge")
        yield
    finally:
        config.write_text(before, encoding="utf-8")
        await world.restart("bridge")


async def test_where_an_admin_does_without_it_that_is_said(
    world: World, company: Company
) -> None:
    """XEP-0384 §5.7."""
    alice, juliet = await company.on_matrix("alice"), await company.on_xmpp("j", "new")
    puppet = alice.puppet(world)
    await meet(world, alice, juliet)

    async with switched_off(world):
        number = await juliet.seals(puppet, "are you there?")
        words = f"{OPTS_OUT}OMEMO is switched off on this bridge"
        await juliet.opens(words, puppet, OMEMO2)
        await juliet.is_refused(number)
        query = Element("pubsub", {"xmlns": PUBSUB})
        SubElement(query, "items", {"node": f"{OMEMO2}:devices"})
        answer = await juliet.asks(puppet, query)

    assert answer.get("type") == "error"
    assert juliet.unopened == juliet.unsealed == []


async def test_whose_client_knows_no_opting_out_sees_that_nobody_is_left(
    world: World, company: Company
) -> None:
    alice, juliet = await company.on_matrix("alice"), await company.on_xmpp("juliet")
    puppet = alice.puppet(world)
    await meet(world, alice, juliet)

    async with switched_off(world):
        number = await juliet.seals(puppet, "are you there?")
        await juliet.is_refused(number)
        event = await juliet.until(lambda: emptied(juliet.all, puppet), "an event")

    assert event.get("type") == "headline"


def emptied(stanzas: list[Element], puppet: str) -> Element | None:
    """Find the word that a puppet has no device any more."""
    lists = f"{{{PUBSUB}#event}}event/*[@node='{LEGACY}.devicelist']"
    for stanza in stanzas:
        found = stanza.find(lists) if stanza.get("from") == puppet else None
        if found is not None and found.find(f".//{{{LEGACY}}}device") is None:
            return stanza
    return None


async def test_who_opts_out_gets_nothing_encrypted_any_more(
    world: World, company: Company
) -> None:
    alice, juliet = await company.on_matrix("alice"), await company.on_xmpp("j", "new")
    ghost, puppet = world.ghost(juliet), alice.puppet(world)
    room = await meet(world, alice, juliet)

    await juliet.seals(puppet, f"{OPTS_OUT}no more keys")
    told = await alice.hears_next()
    await alice.says(room, "not even this?")
    refused = await alice.hears_next()
    await juliet.seals(puppet, "on second thoughts")
    await alice.hears("on second thoughts", room, ghost)
    await alice.says(room, "welcome back")

    assert "do not want encrypted messages any more (no more keys)" in told.words
    assert "do not want encrypted messages any more" in refused.words
    heard = {(await juliet.hears_next(puppet)).text for _ in range(2)}
    assert heard == {"not even this?", "welcome back"}
